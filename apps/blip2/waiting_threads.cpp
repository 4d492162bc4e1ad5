// How long the threads of LibTorch's OpenMP runtime (GNU's libgomp) look for work at full speed
// before they let go of the processor. Its own bound of 300,000 looks takes the core from whatever
// the others wait for as soon as another program runs beside. The runtime reads the bound from the
// environment when it is loaded, and there is no other way to set it: so the program starts itself
// again, in the same process, before any library's own code has run.

#include <sys/auxv.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstddef>
#include <string_view>

namespace blip2 {
namespace {

constexpr std::size_t kMostVariables = 4096;
char spin_count[] = "GOMP_SPINCOUNT=3000";  // bench/busy.py measures what it costs

bool says_how_to_wait(std::string_view variable) {
  return variable.starts_with("GOMP_SPINCOUNT=") || variable.starts_with("OMP_WAIT_POLICY=");
}

// Of this program's file; empty if there is none, or if the dynamic loader was started by hand.
std::array<char, PATH_MAX> own_path() {
  std::array<char, PATH_MAX> path{};
  if (getauxval(AT_BASE) == 0) return path;
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (length < 0) path[0] = '\0';
  return path;
}

// Returns where the environment says how to wait, and where the program cannot be started again:
// threads wait as the runtime has it then. Uses system calls alone, as libc is not set up yet.
void start_again_with_spin_count(int, char** arguments, char** environment) {
  std::array<char*, kMostVariables + 2> variables{};
  std::size_t count = 0;
  for (; environment[count] != nullptr; ++count) {
    if (count == kMostVariables || says_how_to_wait(environment[count])) return;
    variables[count] = environment[count];
  }
  variables[count] = spin_count;
  const auto path = own_path();
  if (path[0] != '\0') execve(path.data(), arguments, variables.data());
}

// What stands in this section runs before the constructors of shared libraries.
[[gnu::section(".preinit_array"),
  gnu::used]] void (*const before_libraries)(int, char**, char**) = start_again_with_spin_count;

}  // namespace
}  // namespace blip2
