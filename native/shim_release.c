/* Owns release files: a DEL that no agent took is left on disk, whole and durable, for its next start. */
#include "shim_core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { release_write_ms_max = 20000 };

static void close_keeping_errno(int fd) {
  int code = errno;
  close(fd);
  errno = code;
}

static bool sync_directory(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  bool synced = fsync(fd) == 0;
  close_keeping_errno(fd);
  return synced;
}

/* Makes `path` and its parents, each durable in its own parent; errno says why where it fails. */
static bool make_directories(char *path) {
  char *last = strrchr(path, '/');
  if (mkdir(path, 0700) != 0) {
    if (errno == EEXIST) return true;
    if (errno != ENOENT || last == NULL || last == path) return false;
    *last = '\0';
    bool made = make_directories(path);
    *last = '/';
    if (!made || (mkdir(path, 0700) != 0 && errno != EEXIST)) return false;
  }
  if (last == NULL) return sync_directory(".");
  char kept = last[1];
  last[1] = '\0';
  bool synced = sync_directory(path);
  last[1] = kept;
  return synced;
}

static bool write_durably(int directory, const char *name, const struct frame *request) {
  int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool written =
      write_fully(fd, request->bytes, request->len, deadline_in(release_write_ms_max)) && fsync(fd) == 0;
  close_keeping_errno(fd);
  return written;
}

void write_release(const char *socket_path, const struct frame *request, struct trouble *trouble) {
  char path[PATH_MAX], draft[64], final[64];
  const char *slash = strrchr(socket_path, '/');
  int parent_len = slash == NULL ? 0 : (int)(slash - socket_path) + 1;
  int len = snprintf(path, sizeof path, "%.*sreleases", parent_len, socket_path);
  if (len < 0 || len >= PATH_MAX)
    return trouble_set(trouble, code_io_failure, "the path of the release directory is too long");
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  long long stamp_ns = (long long)now.tv_sec * 1000000000 + now.tv_nsec;
  snprintf(draft, sizeof draft, ".tmp-%d-%lld", (int)getpid(), stamp_ns);
  snprintf(final, sizeof final, "%lld-%d.release", stamp_ns, (int)getpid());
  /* Modes are what they are here, whatever mask the runtime runs under. */
  umask(0);
  int directory = make_directories(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (directory < 0)
    return trouble_set(trouble, code_io_failure,
                       "the agent is away and %.512s cannot be made to leave this DEL in: %s", path,
                       strerror(errno));
  bool left = write_durably(directory, draft, request) && renameat(directory, draft, directory, final) == 0 &&
              fsync(directory) == 0;
  if (!left) {
    trouble_set(trouble, code_io_failure,
                "the agent is away and the release file %.512s/%s cannot be written: %s", path, final,
                strerror(errno));
    (void)unlinkat(directory, draft, 0);
  }
  close(directory);
}
