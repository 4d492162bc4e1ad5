#pragma once

namespace blip2 {

// Starts the program with LibTorch in place of this one, in the same process and with the same
// arguments. It lies beside this program's file (as built) or in the folder for programs that
// others start (as installed). Returns only if it cannot be started: the exit code, after one
// message.
//
// The environment that it gets says how long the threads of LibTorch's OpenMP runtime (GNU's
// libgomp) look for work at full speed before they let go of the processor, unless it says so
// already: the runtime's own bound of 300,000 looks takes the core from whatever the others wait
// for as soon as another program runs beside. The runtime reads the bound when it is loaded, and
// there is no other way to set it.
int become_torch_program(char** arguments);

}  // namespace blip2
