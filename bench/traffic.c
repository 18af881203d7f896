/* Traffic of a bench: a server, a caller that measures, and one that knocks until it is let in, or out. */

/*
 * serve PORT
 *   Answers on this port, by both families: what comes is sent back. A TCP caller whose first byte is "s"
 *   is only read.
 *
 * call
 *   Reads lines "WHAT ADDRESS PORT MS", and answers each when its time is over: "COUNT NANOSECONDS".
 *   crr     counts connections, each with one byte there and back, and reset then
 *   rr      counts round trips of one byte over one connection
 *   stream  counts bytes over one connection, until the other end has read all of them
 *
 * knock PORT MICROSECONDS ADDRESS...
 *   Sends each address a datagram every so often, and says what changes.
 *   ADDRESS up NS    the first answer after silence came at that time
 *   ADDRESS down NS  nothing came for silence_ms; the last answer came at that time
 *   What cannot be sent is not told: where nobody can be reached yet, it goes on.
 *
 * "ready" on standard output comes first. Each ends when its input does. Times are of CLOCK_MONOTONIC. What
 * cannot be ends it with 2.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { events_max = 64, fds_max = 4096, targets_max = 64, silence_ms = 400, block_len = 128 * 1024 };

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static void fail(const char *format, ...) {
  va_list values;
  va_start(values, format);
  fputs("bench traffic: ", stderr);
  vfprintf(stderr, format, values);
  fputc('\n', stderr);
  va_end(values);
  exit(2);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static long number(const char *text, long max) {
  char *end = NULL;
  const long value = strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < 1 || value > max)
    fail("%s is no number from 1 to %ld", text, max);
  return value;
}

static union address address_of(const char *text, const char *port) {
  union address made;
  memset(&made, 0, sizeof made);
  const in_port_t to = htons((uint16_t)number(port, 65535));
  if (inet_pton(AF_INET, text, &made.v4.sin_addr) == 1) {
    made.v4.sin_family = AF_INET;
    made.v4.sin_port = to;
  } else if (inet_pton(AF_INET6, text, &made.v6.sin6_addr) == 1) {
    made.v6.sin6_family = AF_INET6;
    made.v6.sin6_port = to;
  } else {
    fail("%s is no address", text);
  }
  return made;
}

static socklen_t length_of(const union address *address) {
  return address->any.sa_family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}

static void set_option(int fd, int level, int name, int value) {
  if (setsockopt(fd, level, name, &value, sizeof value) != 0) fail("setsockopt: %s", strerror(errno));
}

static void say_ready(void) {
  puts("ready");
  fflush(stdout);
}

/* Caller and server share the last processor, ahead of all that is not of real time: what else the machine
 * does takes neither of them off it, and no wake-up crosses processors, which takes now this long, now that
 * long. */
static void take_processor(void) {
  cpu_set_t last;
  CPU_ZERO(&last);
  CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
  const struct sched_param priority = {.sched_priority = 1};
  if (sched_setaffinity(0, sizeof last, &last) != 0 || sched_setscheduler(0, SCHED_FIFO, &priority) != 0)
    fail("real-time priority on one processor: %s", strerror(errno));
}

/* ---- serve ---- */

/* Of each descriptor: our input, a listener, datagrams, a caller of whom nothing has come yet, an echo, a
 * sink. */
enum kind { input, listener, datagrams, fresh, echo, sink };
static enum kind kinds[fds_max];

static void follow(int epoll, int fd, enum kind kind) {
  if (fd >= fds_max) fail("more than %d connections at once", fds_max);
  kinds[fd] = kind;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll: %s", strerror(errno));
}

static int bound(int type, const char *port) {
  const int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket: %s", strerror(errno));
  set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  const union address all = address_of("::", port);
  if (bind(fd, &all.any, sizeof all.v6) != 0) fail("port %s: %s", port, strerror(errno));
  return fd;
}

static void answer_datagrams(int fd, char *buffer) {
  for (int count = 0; count < events_max; count++) {
    union address from;
    socklen_t length = sizeof from;
    const ssize_t got = recvfrom(fd, buffer, block_len, 0, &from.any, &length);
    if (got < 0) return;
    sendto(fd, buffer, (size_t)got, 0, &from.any, length); /* one that is lost is the caller's loss */
  }
}

static void answer_caller(int fd, char *buffer) {
  const ssize_t got = recv(fd, buffer, block_len, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    close(fd);
    return;
  }
  if (kinds[fd] == fresh) kinds[fd] = buffer[0] == 's' ? sink : echo;
  if (kinds[fd] == echo) send(fd, buffer, (size_t)got, MSG_NOSIGNAL);
}

static void serve(const char *port) {
  static char buffer[block_len];
  take_processor();
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int listening = bound(SOCK_STREAM, port);
  if (listen(listening, 1024) != 0) fail("listen: %s", strerror(errno));
  follow(epoll, listening, listener);
  follow(epoll, bound(SOCK_DGRAM, port), datagrams);
  follow(epoll, STDIN_FILENO, input);
  say_ready();
  for (;;) {
    struct epoll_event events[events_max];
    const int count = epoll_wait(epoll, events, events_max, -1);
    for (int at = 0; at < count; at++) {
      const int fd = events[at].data.fd;
      if (kinds[fd] == input) return;
      if (kinds[fd] == datagrams) {
        answer_datagrams(fd, buffer);
      } else if (kinds[fd] != listener) {
        answer_caller(fd, buffer);
      } else {
        for (int one; (one = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
          set_option(one, IPPROTO_TCP, TCP_NODELAY, 1);
          follow(epoll, one, fresh);
        }
      }
    }
  }
}

/* ---- call ---- */

static int connected(const union address *to) {
  const int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket: %s", strerror(errno));
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (connect(fd, &to->any, length_of(to)) != 0) fail("connect: %s", strerror(errno));
  return fd;
}

static void there_and_back(int fd) {
  char byte = 'r';
  if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
    fail("no answer: %s", strerror(errno));
}

/* Without a socket and an entry of connection tracking that rest for minutes: the next time would meet them.
 */
static void reset(int fd) {
  const struct linger now = {.l_onoff = 1, .l_linger = 0};
  if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) != 0) fail("setsockopt: %s", strerror(errno));
  close(fd);
}

static long count_connections(const union address *to, int64_t end_ns) {
  long count = 0;
  for (; now_ns() < end_ns; count++) {
    const int fd = connected(to);
    there_and_back(fd);
    reset(fd);
  }
  return count;
}

static long count_round_trips(int fd, int64_t end_ns) {
  long count = 0;
  for (; now_ns() < end_ns; count++)
    there_and_back(fd);
  return count;
}

static long count_bytes(int fd, int64_t end_ns) {
  static char block[block_len];
  long count = 0;
  memset(block, 's', sizeof block);
  while (now_ns() < end_ns) {
    const ssize_t sent = send(fd, block, sizeof block, MSG_NOSIGNAL);
    if (sent < 0) fail("send: %s", strerror(errno));
    count += sent;
  }
  if (shutdown(fd, SHUT_WR) != 0 || recv(fd, block, 1, 0) != 0) fail("the other end did not read all");
  return count;
}

static void call(void) {
  char line[256];
  char what[16];
  char where[64];
  char port[16];
  char ms[16];
  take_processor();
  say_ready();
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (sscanf(line, "%15s %63s %15s %15s", what, where, port, ms) != 4)
      fail("not WHAT ADDRESS PORT MS: %s", line);
    const union address to = address_of(where, port);
    const int64_t for_ns = number(ms, 60000) * 1000000;
    const bool is_crr = strcmp(what, "crr") == 0;
    const int fd = is_crr ? -1 : connected(&to);
    long count = 0;
    if (fd >= 0 && strcmp(what, "rr") == 0) there_and_back(fd);
    const int64_t started_ns = now_ns();
    if (is_crr) {
      count = count_connections(&to, started_ns + for_ns);
    } else if (strcmp(what, "rr") == 0) {
      count = count_round_trips(fd, started_ns + for_ns);
    } else if (strcmp(what, "stream") == 0) {
      count = count_bytes(fd, started_ns + for_ns);
    } else {
      fail("%s is nothing that can be counted", what);
    }
    const int64_t took_ns = now_ns() - started_ns;
    if (fd >= 0) close(fd);
    printf("%ld %lld\n", count, (long long)took_ns);
    fflush(stdout);
  }
}

/* ---- knock ---- */

struct target {
  const char *name;
  union address address;
  int fd;
  int64_t last_ns; /* 0: silent */
};

/* When the kernel got what was just read: this program may have been kept from reading it. */
static int64_t arrived_ns(int fd) {
  struct timespec stamp, wall;
  const int64_t read_ns = now_ns();
  clock_gettime(CLOCK_REALTIME, &wall);
  if (ioctl(fd, SIOCGSTAMPNS, &stamp) != 0) return read_ns; /* stamps begin with this question */
  return read_ns - ((int64_t)(wall.tv_sec - stamp.tv_sec) * 1000000000 + wall.tv_nsec - stamp.tv_nsec);
}

static void hear(struct target *target) {
  char byte;
  while (recv(target->fd, &byte, 1, MSG_DONTWAIT) >= 0) {
    const int64_t at_ns = arrived_ns(target->fd);
    if (target->last_ns == 0) printf("%s up %lld\n", target->name, (long long)at_ns);
    target->last_ns = at_ns;
  }
}

static void knock(const char *port, const char *every_us, char **names, int count) {
  static struct target targets[targets_max];
  static struct pollfd waits[targets_max + 1];
  if (count < 1 || count > targets_max) fail("1 to %d addresses", targets_max);
  for (int at = 0; at < count; at++) {
    targets[at] = (struct target){.name = names[at], .address = address_of(names[at], port)};
    targets[at].fd = socket(targets[at].address.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (targets[at].fd < 0) fail("socket: %s", strerror(errno));
    arrived_ns(targets[at].fd);
    waits[at] = (struct pollfd){.fd = targets[at].fd, .events = POLLIN};
  }
  waits[count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
  const int64_t every_ns = number(every_us, 1000000) * 1000;
  say_ready();
  for (int64_t next_ns = now_ns();; next_ns += every_ns) {
    const int64_t late_ns = now_ns();
    if (late_ns > next_ns + every_ns) next_ns = late_ns; /* what was missed is not made up for */
    for (int at = 0; at < count; at++) {
      struct target *target = &targets[at];
      sendto(target->fd, "k", 1, 0, &target->address.any,
             length_of(&target->address)); /* denied is what it looks for */
      if (target->last_ns != 0 && late_ns - target->last_ns > (int64_t)silence_ms * 1000000) {
        printf("%s down %lld\n", target->name, (long long)target->last_ns);
        target->last_ns = 0;
      }
    }
    for (int64_t left_ns; (left_ns = next_ns + every_ns - now_ns()) > 0;) {
      const struct timespec left = {.tv_nsec = left_ns % 1000000000, .tv_sec = left_ns / 1000000000};
      if (ppoll(waits, (nfds_t)count + 1, &left, NULL) <= 0) break;
      for (int at = 0; at < count; at++)
        if (waits[at].revents != 0) hear(&targets[at]);
      if (waits[count].revents != 0) return;
    }
    fflush(stdout);
  }
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "serve") == 0) {
    serve(argv[2]);
  } else if (argc == 2 && strcmp(argv[1], "call") == 0) {
    call();
  } else if (argc >= 5 && strcmp(argv[1], "knock") == 0) {
    knock(argv[2], argv[3], argv + 4, argc - 4);
  } else {
    fail("serve PORT | call | knock PORT MICROSECONDS ADDRESS...");
  }
  return 0;
}
