/* Owns the agent's listening socket: root's alone from birth; accepts callers with what they have sent so
 * far. */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct failure door_open(const char *path, int backlog, int *fd) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return failed(ENAMETOOLONG, "socket path");
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int opened = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (opened < 0) return failed(errno, "socket");
  /* The file gets the mode that the socket has when it is bound (unix_bind in the kernel): it is never open
   * to others, whatever the umask. */
  const char *step = NULL;
  if (fchmod(opened, 0600) != 0)
    step = "fchmod";
  else if (bind(opened, (struct sockaddr *)&address, sizeof address) != 0)
    step = "bind";
  else if (listen(opened, backlog) != 0)
    step = "listen";
  if (step != NULL) {
    int code = errno;
    close_fd(opened);
    return failed(code, step);
  }
  *fd = opened;
  return succeeded();
}

int door_spare(void) {
  return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int accept_retrying(int door) {
  int fd;
  do
    fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  return fd;
}

/* No descriptor is left for the caller: the spare one serves to turn it away, so that it hears at once and
 * the door does not stay ready for ever. */
static struct failure turn_away(int door, int *spare) {
  if (*spare < 0) *spare = door_spare(); /* another thread may have taken its place for a while */
  if (*spare < 0) return failed(EMFILE, "accept");
  close_fd(*spare);
  int fd = accept_retrying(door);
  int code = errno;
  if (fd >= 0) close_fd(fd);
  *spare = door_spare();
  return failed(fd < 0 && code == EAGAIN ? EAGAIN : EMFILE, "accept");
}

struct failure door_accept(int door, int *spare, uint8_t *bytes, size_t bytes_len, struct caller *caller) {
  int fd = accept_retrying(door);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE)) return turn_away(door, spare);
  if (fd < 0) return failed(errno, "accept");
  *caller = (struct caller){.fd = fd};
  struct failure failure = peer_cred(fd, &caller->peer);
  if (failure.code != 0) {
    close_fd(fd);
    return failure;
  }
  ssize_t got;
  do
    got = recv(fd, bytes, bytes_len, 0);
  while (got < 0 && errno == EINTR);
  /* Nothing there yet, or a caller that has gone already: whoever reads on will see. */
  caller->len = got > 0 ? (size_t)got : 0;
  return succeeded();
}

struct failure connection_send(int fd, const uint8_t *bytes, size_t len, size_t *sent) {
  ssize_t taken;
  do
    taken = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (taken < 0 && errno == EINTR);
  if (taken < 0 && errno != EAGAIN) return failed(errno, "send");
  *sent = taken > 0 ? (size_t)taken : 0;
  return succeeded();
}
