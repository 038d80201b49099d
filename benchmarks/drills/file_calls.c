/* Breaks the n-th call of a process that changes a file below a folder; loaded with LD_PRELOAD, armed by file_calls.py.
   Calls through the C library are counted, which Python, TensorStore and HDF5 make. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[4096];
static long at;
/* 0: SIGKILL before the call; -1: SIGSTOP; ENOSPC: no room from this call on; else: this call fails. */
static int error;
static atomic_long calls;

void drill_arm(const char *folder, long number, int what) {
  strncpy(root, folder, sizeof root - 1);
  at = number;
  error = what;
  atomic_store(&calls, 0);
}
long drill_calls(void) { return atomic_load(&calls); }

static int below(const char *path) {
  size_t length = strlen(root);
  return length && !strncmp(path, root, length);
}
static int named(int folder, const char *path) {
  char link[64], found[4096];
  if (!root[0] || !path) return 0;
  if (path[0] == '/') return below(path);
  snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
  ssize_t length = readlink(link, found, sizeof found - 1);
  if (length < 0) return 0;
  snprintf(found + length, sizeof found - length, path[0] ? "/%s" : "", path);
  return below(found);
}
static int opened(int file) { return named(file, ""); }

/* Returns whether the call must fail, with errno set. */
static int strike(int needs_room) {
  long number = atomic_fetch_add(&calls, 1) + 1;
  if (!at || number < at) return 0;
  if (!error && number == at) kill(getpid(), SIGKILL);
  if (error == -1) {
    if (number == at) kill(getpid(), SIGSTOP);
    return 0;
  }
  if ((error == ENOSPC && needs_room) || (error && error != ENOSPC && number == at)) {
    errno = error;
    return 1;
  }
  return 0;
}

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = dlsym(RTLD_NEXT, name)

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(int, #name, const char *, int, ...); \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if ((flags & (O_CREAT | O_TRUNC)) && named(AT_FDCWD, path) && strike(1)) return -1; \
    return real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    REAL(int, #name, int, const char *, int, ...); \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if ((flags & (O_CREAT | O_TRUNC)) && named(folder, path) && strike(1)) return -1; \
    return real(folder, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  return named(AT_FDCWD, path) && strike(1) ? -1 : real(path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
  REAL(int, "mkdirat", int, const char *, mode_t);
  return named(folder, path) && strike(1) ? -1 : real(folder, path, mode);
}
ssize_t write(int file, const void *data, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  return opened(file) && strike(1) ? -1 : real(file, data, size);
}
ssize_t writev(int file, const struct iovec *data, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  return opened(file) && strike(1) ? -1 : real(file, data, count);
}
#define PWRITE(name, offset_type) \
  ssize_t name(int file, const void *data, size_t size, offset_type offset) { \
    REAL(ssize_t, #name, int, const void *, size_t, offset_type); \
    return opened(file) && strike(1) ? -1 : real(file, data, size, offset); \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
#define FTRUNCATE(name, offset_type) \
  int name(int file, offset_type size) { \
    REAL(int, #name, int, offset_type); \
    return opened(file) && strike(size > 0) ? -1 : real(file, size); \
  }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)
int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  return named(AT_FDCWD, to) && strike(0) ? -1 : real(from, to);
}
int renameat(int one, const char *from, int other, const char *to) {
  REAL(int, "renameat", int, const char *, int, const char *);
  return named(other, to) && strike(0) ? -1 : real(one, from, other, to);
}
int unlink(const char *path) {
  REAL(int, "unlink", const char *);
  return named(AT_FDCWD, path) && strike(0) ? -1 : real(path);
}
int unlinkat(int folder, const char *path, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  return named(folder, path) && strike(0) ? -1 : real(folder, path, flags);
}
int rmdir(const char *path) {
  REAL(int, "rmdir", const char *);
  return named(AT_FDCWD, path) && strike(0) ? -1 : real(path);
}
