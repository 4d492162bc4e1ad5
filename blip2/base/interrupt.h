#pragma once

namespace blip2 {

// Makes SIGINT and SIGTERM set a flag instead of ending the process, so that long work can stop at
// a safe place. A second signal ends the process at once. Call once, from main.
void catch_interrupts();

// True once a signal has come.
bool interrupted();

// Thrown by long work that stopped because interrupted() was true; becomes exit code 130.
struct Interrupted {};

}  // namespace blip2
