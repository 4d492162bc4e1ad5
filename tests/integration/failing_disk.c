// Preloaded before a program: the FAULT_AT-th call that writes, syncs, makes or renames something
// under a path that holds FAULT_FOLDER fails with FAULT_ERRNO, or sends the program FAULT_SIGNAL
// first and then goes its way. The number of such calls is left in the file FAULT_COUNT. With
// FAULT_NO_LINKS there are no hard links, as between file systems.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long calls;

static int fails(const char* path) {
  const char* folder = getenv("FAULT_FOLDER");
  if (!folder || !strstr(path, folder)) return 0;
  ++calls;
  if (calls != atol(getenv("FAULT_AT"))) return 0;
  const char* signal = getenv("FAULT_SIGNAL");
  if (signal) {
    kill(getpid(), atoi(signal));
    return 0;
  }
  errno = atoi(getenv("FAULT_ERRNO"));
  return 1;
}

static int descriptor_fails(int descriptor) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int descriptor, const void* bytes, size_t count) {
  REAL(write);
  if (!descriptor_fails(descriptor)) return real(descriptor, bytes, count);
  if (count > 1) real(descriptor, bytes, count / 2);  // as a full disk: some of it is there
  errno = atoi(getenv("FAULT_ERRNO"));
  return -1;
}

int fsync(int descriptor) {
  REAL(fsync);
  return descriptor_fails(descriptor) ? -1 : real(descriptor);
}

int posix_fallocate(int descriptor, off_t begin, off_t length) {
  REAL(posix_fallocate);
  return descriptor_fails(descriptor) ? atoi(getenv("FAULT_ERRNO")) : real(descriptor, begin, length);
}

int rename(const char* from, const char* to) {
  REAL(rename);
  return fails(from) ? -1 : real(from, to);
}

int link(const char* from, const char* to) {
  REAL(link);
  if (!getenv("FAULT_NO_LINKS")) return real(from, to);
  errno = EXDEV;
  return -1;
}

int mkdir(const char* path, mode_t mode) {
  REAL(mkdir);
  return fails(path) ? -1 : real(path, mode);
}

int open(const char* path, int flags, ...) {
  REAL(open);
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
    if (fails(path)) return -1;
  }
  return real(path, flags, mode);
}

__attribute__((destructor)) static void report(void) {
  const char* path = getenv("FAULT_COUNT");
  FILE* file = path ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "%ld", calls);
  fclose(file);
}
