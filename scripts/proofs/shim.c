/* Lets a system call of this process fail, or the process die at it: preloaded by scripts/torture, armed through ctypes.

   Calls are counted that change a file below `torture_arm`'s folder, or read one there. At the call with the number that
   was given, the chosen thing happens; with `lasting` also at every later one. The clock can step back at a call, too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, COUNT, KILL_BEFORE, KILL_AFTER, FAIL, SHORT, CLOCK };
enum { WRITES = 1, READS = 2, NAMES = 4 };
static int what, failure, lasting, kinds;
static long when, backwards;
static atomic_long calls;
static char folder[PATH_MAX];
static __thread int die_after;

void torture_arm(int what_, long when_, int failure_, int lasting_, int kinds_, const char *folder_, long backwards_) {
    what = NOTHING;
    when = when_; failure = failure_; lasting = lasting_; kinds = kinds_; backwards = backwards_;
    snprintf(folder, sizeof folder, "%s", folder_);
    atomic_store(&calls, 0);
    what = what_;
}
long torture_calls(void) { return atomic_load(&calls); }

static void die(void) { syscall(SYS_kill, syscall(SYS_getpid), SIGKILL); for (;;) pause(); }

/* Whether the call has to fail; `failure` is in errno then. -1 asks a write to write half of it. */
static int struck(const char *path, int kind) {
    if (what == NOTHING || !(kinds & kind) || strncmp(path, folder, strlen(folder))) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (what == COUNT || what == CLOCK || (lasting ? number < when : number != when)) return 0;
    if (what == KILL_BEFORE) die();
    if (what == KILL_AFTER) { die_after = 1; return 0; }
    if (what == SHORT) return -1;
    errno = failure;
    return 1;
}
static int struck_fd(int fd, int kind) {
    char name[64], path[PATH_MAX];
    if (what == NOTHING || !(kinds & kind)) return 0;
    int before = errno;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return struck(path, kind);
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define END(result) do { __typeof__(result) r_ = (result); if (die_after) die(); return r_; } while (0)
#define WRITING(type, name, parameters, arguments, half) \
    type name parameters { int s = struck_fd(fd, WRITES); if (s > 0) return -1; if (s < 0) { half } END(REAL(name) arguments); }

WRITING(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n), if (n > 1) n /= 2;)
WRITING(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at), if (n > 1) n /= 2;)
WRITING(ssize_t, pwrite64, (int fd, const void *data, size_t n, off64_t at), (fd, data, n, at), if (n > 1) n /= 2;)
WRITING(ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n), if (n > 1) n = 1;)
WRITING(int, ftruncate, (int fd, off_t size), (fd, size), )
WRITING(int, ftruncate64, (int fd, off64_t size), (fd, size), )
WRITING(int, fsync, (int fd), (fd), )
WRITING(int, fdatasync, (int fd), (fd), )
ssize_t sendfile(int to, int from, off_t *at, size_t n) {
    int s = struck_fd(to, WRITES);
    if (s > 0) return -1;
    if (s < 0 && n > 64) n = 64;
    END(REAL(sendfile)(to, from, at, n));
}
#define NAMING(name, parameters, arguments, path) \
    int name parameters { if (struck(path, NAMES) > 0) return -1; END(REAL(name) arguments); }
NAMING(rename, (const char *from, const char *to), (from, to), to)
NAMING(unlink, (const char *path), (path), path)
NAMING(rmdir, (const char *path), (path), path)
NAMING(mkdir, (const char *path, mode_t mode), (path, mode), path)
NAMING(chmod, (const char *path, mode_t mode), (path, mode), path)

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        int kind = (flags & (O_CREAT | O_TRUNC)) ? NAMES : READS; \
        if (struck(path, kind) > 0) return -1; \
        END(REAL(name)(path, flags, mode)); }
OPENING(open)
OPENING(open64)

#define READING(name, parameters, arguments) \
    ssize_t name parameters { if (struck_fd(fd, READS) > 0) return -1; END(REAL(name) arguments); }
READING(read, (int fd, void *data, size_t n), (fd, data, n))
READING(pread, (int fd, void *data, size_t n, off_t at), (fd, data, n, at))
READING(pread64, (int fd, void *data, size_t n, off64_t at), (fd, data, n, at))

static long step(void) { return what == CLOCK && atomic_fetch_add(&calls, 1) + 1 >= when ? backwards : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME && !result) now->tv_sec -= step();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = REAL(gettimeofday)(now, zone);
    if (!result) now->tv_sec -= step();
    return result;
}
time_t time(time_t *now) {
    time_t result = REAL(time)(NULL) - step();
    if (now) *now = result;
    return result;
}
