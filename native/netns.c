/* Owns what happens inside a network namespace: enter, one act, come home. */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

/* enum bpf_attach_type, and what BPF_PROG_QUERY reads and writes of union bpf_attr, as of Linux 6.6: the
 * headers may be older. Of a longer attribute than its own a kernel wants the rest to be 0. */
enum { tcx_ingress = 46, tcx_egress = 47 };
struct program_query {
  uint32_t link;
  uint32_t attach_type;
  uint32_t query_flags;
  uint32_t attach_flags;
  uint64_t program_ids;
  uint32_t count;
  uint32_t reserved;
  uint64_t program_attach_flags;
  uint64_t link_ids;
  uint64_t link_attach_flags;
  uint64_t revision;
};

static int open_retrying(const char *path, int flags) {
  int fd;
  do
    fd = open(path, flags | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  return fd;
}

struct failure netns_open(const char *path, int *fd) {
  int opened = open_retrying(path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
  if (opened < 0) return failed(errno, "open");
  struct statfs filesystem;
  if (fstatfs(opened, &filesystem) != 0 || (unsigned long)filesystem.f_type != NSFS_MAGIC ||
      ioctl(opened, NS_GET_NSTYPE) != CLONE_NEWNET) {
    close_fd(opened);
    return failed(EINVAL, "not a network namespace");
  }
  *fd = opened;
  return succeeded();
}

struct failure netns_id(int netns, dev_t *device, ino_t *inode) {
  struct stat status;
  if (fstat(netns, &status) != 0) return failed(errno, "fstat");
  *device = status.st_dev;
  *inode = status.st_ino;
  return succeeded();
}

/* Every thread of the process lives where the process was when it first went abroad: opened once, for good.
 */
static int home = -1;
static int home_errno;

static void open_home(void) {
  home = open_retrying("/proc/thread-self/ns/net", O_RDONLY);
  home_errno = errno;
}

/* Between enter and leave the thread is abroad: nothing there may start a thread, a process or a callback. */
static struct failure netns_enter(int netns) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_home);
  if (home < 0) return failed(home_errno, "open own namespace");
  return setns(netns, CLONE_NEWNET) == 0 ? succeeded() : failed(errno, "setns");
}

static void netns_leave(void) {
  if (setns(home, CLONE_NEWNET) != 0) {
    /* A thread abroad poisons every later file access and socket of the process: dying is better. */
    static const char message[] = "fairlead: a thread cannot return to its network namespace\n";
    ssize_t ignored = write(STDERR_FILENO, message, sizeof message - 1);
    (void)ignored;
    abort();
  }
}

static void try_option(int fd, int level, int option, int value) {
  /* Older kernels lack some; the answers are only less precise then. */
  (void)setsockopt(fd, level, option, &value, sizeof value);
}

static void grow_buffer(int fd, int force_option, int option) {
  int len = socket_buffer_len;
  if (setsockopt(fd, SOL_SOCKET, force_option, &len, sizeof len) != 0)
    try_option(fd, SOL_SOCKET, option, len);
}

struct failure netlink_open(int netns, int protocol, int *fd) {
  struct failure failure = netns_enter(netns);
  if (failure.code != 0) return failure;
  int opened = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  int code = errno;
  netns_leave();
  if (opened < 0) return failed(code, "socket");
  try_option(opened, SOL_NETLINK, NETLINK_EXT_ACK, 1);
  try_option(opened, SOL_NETLINK, NETLINK_CAP_ACK, 1);
  try_option(opened, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
  grow_buffer(opened, SO_RCVBUFFORCE, SO_RCVBUF);
  grow_buffer(opened, SO_SNDBUFFORCE, SO_SNDBUF);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  if (bind(opened, (struct sockaddr *)&address, sizeof address) != 0) {
    code = errno;
    close_fd(opened);
    return failed(code, "bind");
  }
  *fd = opened;
  return succeeded();
}

/* Path of a sysctl, or a failure where `key` could lead outside /proc/sys/net. Dots inside names are fine
 * (eth0.100). */
static struct failure sysctl_path(const char *key, char *path, size_t path_len) {
  if (key[0] == '\0' || key[0] == '/' || strlen(key) > sysctl_key_len_max)
    return failed(EINVAL, "sysctl key");
  for (const char *step = key; step != NULL; step = strchr(step, '/')) {
    if (*step == '/') step += 1;
    if (strncmp(step, "..", 2) == 0 && (step[2] == '/' || step[2] == '\0'))
      return failed(EINVAL, "sysctl key");
  }
  snprintf(path, path_len, "/proc/sys/net/%s", key);
  return succeeded();
}

/* A container's own /proc/sys is read-only. Where the host's part for the network is mounted below /host,
 * that one shows the same: the namespace of the thread that looks. */
static int sysctl_open_to_write(const char *path) {
  int fd = open_retrying(path, O_WRONLY | O_NOFOLLOW);
  if (fd >= 0 || errno != EROFS) return fd;
  char mounted[sizeof "/host/proc/sys/net/" + sysctl_key_len_max];
  snprintf(mounted, sizeof mounted, "/host%s", path);
  fd = open_retrying(mounted, O_WRONLY | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) errno = EROFS;
  return fd;
}

static struct failure sysctl_write(const char *path, const char *value) {
  int fd = sysctl_open_to_write(path);
  if (fd < 0) return failed(errno, "open sysctl");
  size_t len = strlen(value);
  ssize_t written;
  do
    written = write(fd, value, len);
  while (written < 0 && errno == EINTR);
  int code = errno;
  close_fd(fd);
  if (written < 0) return failed(code, "write sysctl");
  /* The kernel parses what one write brings; a rest would be a second value. */
  return (size_t)written == len ? succeeded() : failed(EIO, "write sysctl");
}

static struct failure sysctl_read(const char *path, char **value) {
  *value = NULL;
  int fd = open_retrying(path, O_RDONLY | O_NOFOLLOW);
  if (fd < 0) return errno == ENOENT ? succeeded() : failed(errno, "open sysctl");
  size_t capacity = 256, len = 0;
  char *text = malloc(capacity);
  struct failure failure = succeeded();
  while (text != NULL) {
    ssize_t got = read(fd, text + len, capacity - len - 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) failure = failed(errno, "read sysctl");
    if (got <= 0) break;
    len += (size_t)got;
    if (len + 1 < capacity) continue;
    if (capacity >= sysctl_value_len_max) {
      failure = failed(EMSGSIZE, "read sysctl");
      break;
    }
    capacity *= 2;
    char *grown = realloc(text, capacity);
    if (grown == NULL) failure = failed(ENOMEM, "read sysctl");
    if (grown == NULL) break;
    text = grown;
  }
  close_fd(fd);
  if (text == NULL) return failed(ENOMEM, "read sysctl");
  if (failure.code != 0) {
    free(text);
    return failure;
  }
  if (len > 0 && text[len - 1] == '\n') len -= 1;
  text[len] = '\0';
  *value = text;
  return succeeded();
}

/* Writes where `read_values` is NULL, reads otherwise. */
static struct failure sysctls_visit(int netns, size_t count, char *const keys[], char *const values[],
                                    char *read_values[]) {
  char path[sizeof "/proc/sys/net/" + sysctl_key_len_max];
  for (size_t i = 0; i < count; i += 1) {
    struct failure failure = sysctl_path(keys[i], path, sizeof path);
    failure.index = i;
    if (failure.code != 0) return failure;
  }
  struct failure failure = netns_enter(netns);
  if (failure.code != 0) return failure;
  for (size_t i = 0; failure.code == 0 && i < count; i += 1) {
    (void)sysctl_path(keys[i], path, sizeof path);
    failure = read_values == NULL ? sysctl_write(path, values[i]) : sysctl_read(path, &read_values[i]);
    failure.index = i;
  }
  netns_leave();
  return failure;
}

struct failure sysctls_write(int netns, size_t count, char *const keys[], char *const values[]) {
  return sysctls_visit(netns, count, keys, values, NULL);
}

struct failure sysctls_read(int netns, size_t count, char *const keys[], char *values[]) {
  return sysctls_visit(netns, count, keys, NULL, values);
}

/* The kernel looks for the link in the namespace of the thread. With no room for ids it gives their count. */
static struct failure tcx_count(uint32_t link, uint32_t attach_type, uint32_t *count) {
  struct program_query query = {.link = link, .attach_type = attach_type};
  bool answered = syscall(SYS_bpf, BPF_PROG_QUERY, &query, sizeof query) == 0;
  *count = answered ? query.count : 0;
  /* ENOENT is what some kernels say of a link that never had a program. */
  return answered || errno == ENODEV || errno == ENOENT ? succeeded() : failed(errno, "bpf");
}

struct failure tcx_query(int netns, size_t count, const uint32_t links[], struct tcx_programs programs[]) {
  memset(programs, 0, count * sizeof *programs);
  struct failure failure = netns_enter(netns);
  if (failure.code != 0) return failure;
  for (size_t i = 0; failure.code == 0 && i < count; i += 1) {
    failure = tcx_count(links[i], tcx_ingress, &programs[i].ingress);
    if (failure.code == 0) failure = tcx_count(links[i], tcx_egress, &programs[i].egress);
  }
  netns_leave();
  /* A kernel that has no tcx says so of the first link as of all. */
  return failure.code == EINVAL ? succeeded() : failure;
}

struct failure peer_cred(int fd, struct ucred *peer) {
  int domain;
  socklen_t len = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0) return failed(errno, "getsockopt");
  if (domain != AF_UNIX) return failed(EINVAL, "not a unix socket");
  len = sizeof *peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len) != 0) return failed(errno, "getsockopt");
  /* The pid may be 0 for a peer of another pid namespace; a user is there whenever a peer is. */
  return peer->uid == (uid_t)-1 ? failed(ENOTCONN, "getsockopt") : succeeded();
}
