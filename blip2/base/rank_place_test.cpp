#include "blip2/base/rank_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// Sets variables for a test's time and hides those of a launcher that runs the test.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& variables) {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_RANK",
          "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_PROCID",
          "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NODELIST",
          "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT"}) {
      const char* value = std::getenv(name);
      if (value) before_[name] = value;
      unsetenv(name);
    }
    for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
    set_ = variables;
  }
  ~Environment() {
    for (const auto& [name, value] : set_) unsetenv(name.c_str());
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::map<std::string, std::string> before_, set_;
};

std::string message() {
  try {
    rank_place_from_environment();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(RankPlaceTest, AProcessThatNobodyStartedIsAlone) {
  const Environment none({});
  EXPECT_TRUE(rank_place_from_environment().alone());
  const Environment one({{"RANK", "0"}, {"WORLD_SIZE", "1"}});
  EXPECT_TRUE(rank_place_from_environment().alone());
  // A batch script of Slurm that starts the program without srun.
  const Environment batch({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}});
  EXPECT_TRUE(rank_place_from_environment().alone());
}

TEST(RankPlaceTest, ReadsTorchrunsVariables) {
  const Environment set({{"RANK", "3"},
                         {"WORLD_SIZE", "4"},
                         {"LOCAL_RANK", "1"},
                         {"MASTER_ADDR", "node1"},
                         {"MASTER_PORT", "1234"},
                         {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                         {"TORCHELASTIC_RESTART_COUNT", "2"}});
  const RankPlace place = rank_place_from_environment();
  EXPECT_EQ(place.rank, 3);
  EXPECT_EQ(place.size, 4);
  EXPECT_EQ(place.local_rank, 1);
  EXPECT_EQ(place.address, "node1");
  EXPECT_EQ(place.port, 1234);
  EXPECT_TRUE(place.launcher_meets);
  EXPECT_EQ(place.attempt, 2);
}

TEST(RankPlaceTest, ReadsOpenMpisAndSlurmsVariables) {
  {
    const Environment mpi({{"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "a"},
                           {"MASTER_PORT", "5"}});
    EXPECT_EQ(rank_place_from_environment().rank, 1);
    EXPECT_FALSE(rank_place_from_environment().launcher_meets);
  }
  const Environment slurm({{"SLURM_PROCID", "5"},
                           {"SLURM_STEP_NUM_TASKS", "8"},
                           {"SLURM_LOCALID", "1"},
                           {"SLURM_STEP_NODELIST", "gpu[07-09,11],cpu1"}});
  const RankPlace place = rank_place_from_environment();
  EXPECT_EQ(place.rank, 5);
  EXPECT_EQ(place.address, "gpu07");
  EXPECT_EQ(place.port, 29500);
}

TEST(RankPlaceTest, NamesWhatIsMissingOrWrong) {
  {
    const Environment set({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}});
    EXPECT_THAT(message(), testing::HasSubstr("environment variable MASTER_PORT: not set"));
  }
  {
    const Environment set({{"RANK", "2"}, {"WORLD_SIZE", "2"}});
    EXPECT_THAT(message(), testing::HasSubstr("RANK: expected a number of 0 to 1, got \"2\""));
  }
  {
    const Environment set(std::map<std::string, std::string>{{"RANK", "1"}});
    EXPECT_THAT(message(), testing::HasSubstr("WORLD_SIZE: not set, though RANK is"));
  }
  const Environment set({{"RANK", "0x"}, {"WORLD_SIZE", "two"}});
  EXPECT_THAT(message(), testing::HasSubstr("WORLD_SIZE: expected a number"));
}

TEST(RankPlaceTest, ProcessesThatDoNotMeetNeedNoPlace) {
  const Environment set({{"OMPI_COMM_WORLD_RANK", "1"},
                         {"OMPI_COMM_WORLD_SIZE", "3"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});
  EXPECT_EQ(rank_from_environment().rank, 1);
  EXPECT_EQ(rank_from_environment().size, 3);
  EXPECT_THAT(message(), testing::HasSubstr("MASTER_ADDR: not set"));
}

TEST(RankPlaceTest, FindsTheFirstHostOfAList) {
  EXPECT_EQ(first_host("a"), "a");
  EXPECT_EQ(first_host("a,b[1-2]"), "a");
  EXPECT_EQ(first_host("node[003-007],x"), "node003");
  EXPECT_EQ(first_host("node[3,5]"), "node3");
}

}  // namespace
}  // namespace blip2
