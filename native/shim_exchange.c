/* Owns how the shim talks: every read, write and connect is bounded by a deadline. */
#include "shim_core.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
  retry_first_ms = 2,
  /* A pipe that can be written takes so much without waiting (PIPE_BUF). */
  write_len_max = 4096,
};

int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t deadline_in(int64_t ms) {
  return now_ns() + ms * 1000000;
}

bool rest(int64_t ms, int64_t deadline_ns) {
  int64_t left_ns = deadline_ns - now_ns();
  if (left_ns <= 0) return false;
  int64_t pause_ns = ms * 1000000 < left_ns ? ms * 1000000 : left_ns;
  struct timespec pause = {.tv_sec = pause_ns / 1000000000, .tv_nsec = pause_ns % 1000000000};
  nanosleep(&pause, NULL);
  return true;
}

/* Waits for `events`; false at the deadline. */
static bool wait_for(int fd, short events, int64_t deadline_ns) {
  struct pollfd watched = {.fd = fd, .events = events};
  for (;;) {
    int64_t left_ns = deadline_ns - now_ns();
    if (left_ns <= 0) {
      errno = ETIMEDOUT;
      return false;
    }
    /* Rounded up: a poll of 0 ms near the deadline would spin. */
    int ready = poll(&watched, 1, (int)((left_ns + 999999) / 1000000));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

void read_stdin(int fd, struct frame *frame, int64_t bound_ms, struct trouble *trouble) {
  int64_t deadline_ns = deadline_in(bound_ms);
  size_t limit = frame_room(frame);
  for (;;) {
    if (!wait_for(fd, POLLIN, deadline_ns)) {
      trouble_set(trouble, code_io_failure, "stdin was not closed within %lld ms", (long long)bound_ms);
      return;
    }
    /* A full frame still asks for one byte more: only then is it known whether stdin fitted. */
    uint8_t beyond;
    size_t room = frame_room(frame);
    ssize_t got = read(fd, room > 0 ? frame->bytes + frame->len : &beyond, room > 0 ? room : 1);
    if (got == 0) return;
    if (got > 0 && room == 0) {
      trouble_set(trouble, code_decode,
                  "the network configuration on stdin is longer than the limit of %zu bytes (%d less the "
                  "environment)",
                  limit, frame_body_len_max);
      return;
    }
    if (got > 0)
      frame->len += (size_t)got;
    else if (errno != EINTR && errno != EAGAIN) {
      trouble_set(trouble, code_io_failure, "cannot read stdin: %s", strerror(errno));
      return;
    }
  }
}

static int try_connect(const struct sockaddr_un *address, int *code) {
  /* Not blocking: a hung agent's full backlog must not hold us either. */
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) return fd;
  *code = errno;
  if (fd >= 0) close(fd);
  return -1;
}

int connect_agent(const char *path, int64_t deadline_ns, int *code) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    *code = ENAMETOOLONG;
    return -1;
  }
  strcpy(address.sun_path, path);
  int64_t wait_ms = retry_first_ms;
  for (;;) {
    int fd = try_connect(&address, code);
    if (fd >= 0) return fd;
    bool may_come = *code == ENOENT || *code == ECONNREFUSED || *code == EAGAIN || *code == EINTR;
    if (!may_come || !rest(wait_ms, deadline_ns)) return -1;
    wait_ms = wait_ms * 2 < retry_most_ms ? wait_ms * 2 : retry_most_ms;
  }
}

bool write_fully(int fd, const void *bytes, size_t len, int64_t deadline_ns) {
  const uint8_t *at = bytes;
  while (len > 0) {
    /* A blocking pipe is asked first: write() would wait for its reader beyond any deadline. */
    if (!wait_for(fd, POLLOUT, deadline_ns)) return false;
    ssize_t written = write(fd, at, len < write_len_max ? len : write_len_max);
    if (written < 0 && errno != EINTR && errno != EAGAIN) return false;
    if (written > 0) {
      at += written;
      len -= (size_t)written;
    }
  }
  return true;
}

static void send_request(int socket, const struct frame *request, int64_t deadline_ns) {
  for (size_t sent = 0; sent < request->len;) {
    ssize_t taken = send(socket, request->bytes + sent, request->len - sent, MSG_NOSIGNAL);
    if (taken > 0)
      sent += (size_t)taken;
    else if (errno == EAGAIN ? !wait_for(socket, POLLOUT, deadline_ns) : errno != EINTR)
      return;
  }
}

/* Reads exactly `len` bytes; NULL or the reason, and whether the other end is gone. */
static const char *read_exactly(int socket, uint8_t *into, size_t len, int64_t deadline_ns, bool *is_cut) {
  while (len > 0) {
    ssize_t got = recv(socket, into, len, 0);
    *is_cut = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    if (got == 0) return "it closed the connection before its answer was complete";
    if (got > 0) {
      into += got;
      len -= (size_t)got;
    } else if (errno == EAGAIN) {
      if (!wait_for(socket, POLLIN, deadline_ns)) return "it did not answer in time";
    } else if (errno != EINTR) {
      return "it broke the connection";
    }
  }
  return NULL;
}

const char *exchange_frames(int socket, const struct frame *request, int64_t deadline_ns, struct reply *reply,
                            uint8_t *body) {
  /* An agent may answer and close before it has read all of a request that it refuses: its answer is read
   * even where sending fails. */
  send_request(socket, request, deadline_ns);
  (void)shutdown(socket, SHUT_WR);
  uint8_t header[frame_header_len];
  bool is_cut = false;
  const char *reason = read_exactly(socket, header, sizeof header, deadline_ns, &is_cut);
  if (reason == NULL && reply_decode(header, reply, &reason))
    reason = read_exactly(socket, body, reply->body_len, deadline_ns, &is_cut);
  reply->is_cut = is_cut;
  return reason;
}
