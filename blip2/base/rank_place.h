#pragma once

#include <cstdint>
#include <string>

namespace blip2 {

// The rank of this process among the processes that a launcher has started together, and the
// address at which they meet.
struct RankPlace {
  int rank = 0, size = 1;
  int local_rank = 0;  // among the processes on this machine
  bool slurm = false;  // srun has started them
  std::string address;
  std::uint16_t port = 0;
  // Whether torchrun itself listens at the address; otherwise rank 0 does.
  bool launcher_meets = false;
  int attempt = 0;  // how often torchrun has started the processes again

  bool alone() const { return size == 1; }
};

// Reads the place from the environment of torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
// MASTER_PORT), Open MPI's mpirun or Slurm's srun; a process that none of these launchers has
// started is alone. Slurm's first machine is the meeting place, at port 29500, unless MASTER_ADDR
// and MASTER_PORT say otherwise. Error naming a variable that is missing or is not a number.
RankPlace rank_place_from_environment();
// Reads rank and size only, for processes that do not communicate: the variables of the address
// need not be set.
RankPlace rank_from_environment();

// The first machine of a Slurm list: "node[03-07,9],other" -> "node03".
std::string first_host(const std::string& nodes);

}  // namespace blip2
