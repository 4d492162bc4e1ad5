#pragma once

namespace blip2 {

// Starts the program with LibTorch in place of this one, in the same process and with the same
// arguments. It lies beside this program's file (as built) or in libexec (as installed). Returns
// only if it cannot be started: then it prints one message and returns the exit code.
//
// It sets in the environment how long threads of LibTorch's OpenMP runtime (GNU's libgomp) spin
// before they yield the processor, unless the environment has a value already. With the runtime's
// default of 300,000 checks for work, spinning threads take the core from threads that work as soon
// as another program runs beside. The runtime reads the value when it is loaded, and there is no
// other way to set it.
int become_torch_program(char** arguments);

}  // namespace blip2
