// Preloaded before a program: the FAULT_AT-th call that writes, syncs, makes or renames something
// under a path that holds FAULT_FOLDER fails with FAULT_ERRNO, or sends the program FAULT_SIGNAL
// first and then goes its way. The number of such calls is left in the file FAULT_COUNT. With
// FAULT_NO_LINKS there are no hard links, as between file systems. With FAULT_ALL the calls that a
// database makes count too: writes at a place, syncs of data, cuts and deletions. With FAULT_STAYS
// the disk is full from then on: every later call that writes fails as well. With FAULT_TORN the
// signal comes when half of what is written is there.
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

// Whether this is the call; `writes`: it takes room on the disk.
static int is_due(const char* path, int writes) {
  const char* folder = getenv("FAULT_FOLDER");
  if (!folder || !strstr(path, folder)) return 0;
  ++calls;
  const long at = atol(getenv("FAULT_AT"));
  return calls == at || (writes && at > 0 && calls > at && getenv("FAULT_STAYS"));
}

// Sends the signal if that is the fault; whether the call fails instead.
static int strike(void) {
  const char* signal = getenv("FAULT_SIGNAL");
  if (signal) {
    kill(getpid(), atoi(signal));
    return 0;
  }
  errno = atoi(getenv("FAULT_ERRNO"));
  return 1;
}

static int fails(const char* path) {
  return is_due(path, 0) && strike();
}

static int descriptor_is_due(int descriptor, int writes) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_due(path, writes);
}

static int descriptor_fails(int descriptor) {
  return descriptor_is_due(descriptor, 0) && strike();
}
#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int descriptor, const void* bytes, size_t count) {
  REAL(write);
  if (!descriptor_is_due(descriptor, 1)) return real(descriptor, bytes, count);
  const int half = count > 1 && (!getenv("FAULT_SIGNAL") || getenv("FAULT_TORN"));
  if (half) real(descriptor, bytes, count / 2);  // as a full disk: some of it is there
  return strike() ? -1 : real(descriptor, bytes, count);
}

static ssize_t write_at(int descriptor, const void* bytes, size_t count, off_t place,
                        __typeof__(&pwrite) real) {
  if (!getenv("FAULT_ALL") || !descriptor_is_due(descriptor, 1)) {
    return real(descriptor, bytes, count, place);
  }
  const int half = count > 1 && (!getenv("FAULT_SIGNAL") || getenv("FAULT_TORN"));
  if (half) real(descriptor, bytes, count / 2, place);
  return strike() ? -1 : real(descriptor, bytes, count, place);
}

ssize_t pwrite(int descriptor, const void* bytes, size_t count, off_t place) {
  REAL(pwrite);
  return write_at(descriptor, bytes, count, place, real);
}

ssize_t pwrite64(int descriptor, const void* bytes, size_t count, off64_t place) {
  REAL(pwrite64);
  return write_at(descriptor, bytes, count, place, (__typeof__(&pwrite))real);
}

int fdatasync(int descriptor) {
  REAL(fdatasync);
  return getenv("FAULT_ALL") && descriptor_fails(descriptor) ? -1 : real(descriptor);
}

int ftruncate(int descriptor, off_t length) {
  REAL(ftruncate);
  return getenv("FAULT_ALL") && descriptor_fails(descriptor) ? -1 : real(descriptor, length);
}

int ftruncate64(int descriptor, off64_t length) {
  REAL(ftruncate64);
  return getenv("FAULT_ALL") && descriptor_fails(descriptor) ? -1 : real(descriptor, length);
}

int unlink(const char* path) {
  REAL(unlink);
  return getenv("FAULT_ALL") && fails(path) ? -1 : real(path);
}

int remove(const char* path) {
  REAL(remove);
  return getenv("FAULT_ALL") && fails(path) ? -1 : real(path);
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

int open64(const char* path, int flags, ...) {
  REAL(open64);
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
    if (getenv("FAULT_ALL") && fails(path)) return -1;
  }
  return real(path, flags, mode);
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
