/* Put before the C library of a tool that runs an interpreter once and keeps its memory: what that memory would hold of the
   moment is the same in every build. Random bytes are 42, and the clocks stand. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* 2026-01-01T00:00:00Z */
#define NOW 1767225600

ssize_t getrandom(void *bytes, size_t len, unsigned flags) {
  (void)flags;
  unsigned char *at = bytes;
  for (size_t i = 0; i < len; i++) at[i] = 42;
  return (ssize_t)len;
}

int getentropy(void *bytes, size_t len) {
  getrandom(bytes, len, 0);
  return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, clock, now);
  now->tv_sec = NOW;
  now->tv_nsec = 0;
  return 0;
}
