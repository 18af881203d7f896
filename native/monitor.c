/* Owns one monitor: a thread that reads what the kernel sends unasked and hands it on, losses included. */
#include "core.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
  /* Events come in datagrams of a few KiB; a larger one is told as a loss, and its receiver reads the state
     anew. */
  event_len_max = 128 << 10,
  /* While a loss could not be told because the receiver has no room, how often to try again. */
  retry_ms = 20,
};

struct monitor {
  pthread_t thread;
  int fd;
  int stop_fd;
  bool loss_untold;
  monitor_deliver *deliver;
  void *context;
  uint8_t scratch[event_len_max];
};

static void tell_loss(struct monitor *monitor) {
  monitor->loss_untold = !monitor->deliver(monitor->context, NULL, 0);
}

static void hand_on(struct monitor *monitor, size_t len) {
  /* A loss is told before whatever came after it. */
  uint8_t *bytes = monitor->loss_untold ? NULL : malloc(len);
  if (bytes != NULL) memcpy(bytes, monitor->scratch, len);
  if (bytes == NULL || !monitor->deliver(monitor->context, bytes, len)) {
    free(bytes);
    monitor->loss_untold = true;
  }
}

/* Reads one datagram; false where the socket fails in a way that may last. */
static bool read_event(struct monitor *monitor) {
  size_t len = 0;
  struct failure failure = netlink_receive(monitor->fd, monitor->scratch, sizeof monitor->scratch, &len);
  if (failure.code == EAGAIN) return true;
  if (failure.code != 0)
    monitor->loss_untold = true;
  else if (len > 0)
    hand_on(monitor, len);
  return failure.code == 0 || failure.code == ENOBUFS || failure.code == EMSGSIZE;
}

static void *run_monitor(void *argument) {
  struct monitor *monitor = argument;
  bool resting = false;
  for (;;) {
    struct pollfd watched[2] = {{.fd = monitor->stop_fd, .events = POLLIN},
                                {.fd = monitor->fd, .events = POLLIN}};
    int ready = poll(watched, resting ? 1 : 2, resting || monitor->loss_untold ? retry_ms : -1);
    if (ready > 0 && watched[0].revents != 0) return NULL;
    if (monitor->loss_untold) tell_loss(monitor);
    resting = ready > 0 && watched[1].revents != 0 && !read_event(monitor);
  }
}

static struct failure join_groups(int fd, size_t group_count, const uint32_t groups[]) {
  if (group_count > monitor_groups_max) return failed(EINVAL, "groups");
  for (size_t i = 0; i < group_count; i += 1)
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) != 0)
      return failed(errno, "join group");
  return succeeded();
}

struct failure monitor_start(struct monitor **started, int fd, size_t group_count, const uint32_t groups[],
                             monitor_deliver *deliver, void *context) {
  struct monitor *monitor = calloc(1, sizeof *monitor);
  if (monitor == NULL) return failed(ENOMEM, "monitor");
  monitor->fd = fd;
  monitor->deliver = deliver;
  monitor->context = context;
  monitor->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct failure failure = succeeded();
  if (monitor->stop_fd < 0) failure = failed(errno, "eventfd");
  if (failure.code == 0) failure = join_groups(fd, group_count, groups);
  if (failure.code == 0) failure = thread_start(&monitor->thread, "fl-monitor", run_monitor, monitor);
  if (failure.code == 0) {
    *started = monitor;
    return succeeded();
  }
  if (monitor->stop_fd >= 0) close_fd(monitor->stop_fd);
  free(monitor);
  return failure;
}

void monitor_stop(struct monitor *monitor) {
  (void)eventfd_write(monitor->stop_fd, 1);
  pthread_join(monitor->thread, NULL);
  close_fd(monitor->stop_fd);
  free(monitor);
}
