/* What the addon does without Node-API: namespaces, netlink, lanes, monitors. test/ drives it too. */
#ifndef FAIRLEAD_CORE_H
#define FAIRLEAD_CORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

enum {
  /* Calls of one lane that are queued, under way, or finished and not yet collected by their owner. */
  lane_outstanding_max = 1024,
  request_len_max = 32 << 20,
  request_messages_max = 1 << 16,
  answer_len_max = 64 << 20,
  /* An answer taken in parts: one ends with the datagram that makes it this long, or with the answer. */
  part_len_min = 256 << 10,
  /* The kernel makes dump parts of at most 32 KiB; a single answer (one link with hundreds of functions) may
     be larger. */
  datagram_len_max = 1 << 20,
  /* Left by an earlier call that gave up; more than this and the socket is useless. */
  stale_datagrams_max = 1 << 16,
  socket_buffer_len = 32 << 20,
  sysctl_count_max = 1024,
  sysctl_key_len_max = 256,
  sysctl_value_len_max = 1 << 16,
  tcx_links_max = 1 << 14,
  monitor_groups_max = 64,
  timeout_ms_max = 600000,
  backlog_max = 4096,
  program_parts_max = 1 << 16,
  /* Of a caller's request, read as it comes in; a longer one is read by whoever takes the connection over. */
  first_bytes_max = 64 << 10,
};

#define no_index SIZE_MAX

/* What went wrong: code is an errno, 0 for success; step names the act that failed; index says at which item
 * of a list, if there is one. */
struct failure {
  int code;
  const char *step;
  size_t index;
};

static inline struct failure failed(int code, const char *step) {
  return (struct failure){.code = code, .step = step, .index = no_index};
}
static inline struct failure succeeded(void) {
  return (struct failure){.index = no_index};
}

/* --- netns.c: each function leaves the calling thread in the namespace where it found it, or aborts the
 * process. --- */

/* Opens `path`; EINVAL where it is no network namespace. Never waits, whatever the path is. */
struct failure netns_open(const char *path, int *fd);
struct failure netns_id(int netns, dev_t *device, ino_t *inode);
/* A bound netlink socket that lives in `netns` for good; not blocking. */
struct failure netlink_open(int netns, int protocol, int *fd);
/* Keys are paths below /proc/sys/net. The first that fails stops the rest and is named by failure.index. */
struct failure sysctls_write(int netns, size_t count, char *const keys[], char *const values[]);
/* Fills `values` with strings to free(), NULL for files that do not exist. One trailing line break is taken
 * off. */
struct failure sysctls_read(int netns, size_t count, char *const keys[], char *values[]);
/* How many eBPF programs are attached to a link by tcx. */
struct tcx_programs {
  uint32_t ingress;
  uint32_t egress;
};
/* Counts those of each link, by its index. A link that is gone has none, nor has any where the kernel has no
 * tcx (before Linux 6.6). EPERM or ENOSYS where this program may not ask; `programs` say nothing then. */
struct failure tcx_query(int netns, size_t count, const uint32_t links[], struct tcx_programs programs[]);
struct failure peer_cred(int fd, struct ucred *peer);

/* --- program.c --- */

/* Unmaps one of `parts` (at least 1) of the pages of the running program's code and constants; gives their
 * length. What is needed again is mapped again from the page cache when it is touched. Other threads may run
 * that code meanwhile. */
size_t program_release(size_t part, size_t parts);

/* --- netlink.c --- */

/* One message of a request: which sequence number, whether an answer is due, and whether it came. */
struct expectation {
  uint32_t seq;
  bool wanted;
  bool answered;
};

/* One request and its answers so far. */
struct exchange {
  struct expectation *messages;
  size_t message_count;
  size_t wanted_left;
  size_t cursor; /* answers come in order, so the next one is looked for here first */
  bool refused;  /* a message that wants no answer got an error: the whole batch is off */
  uint8_t *answer;
  size_t answer_len;
  size_t answer_capacity;
};

/* Reads the request's headers. EINVAL where they do not fill `len` exactly, E2BIG beyond
 * request_messages_max. */
struct failure exchange_begin(struct exchange *exchange, const uint8_t *request, size_t len);
/* Keeps the messages of `datagram` that answer the request. EBADMSG where its framing is broken. */
struct failure exchange_take(struct exchange *exchange, const uint8_t *datagram, size_t len);
bool exchange_complete(const struct exchange *exchange);
void exchange_free(struct exchange *exchange);

/* What a lane lends to the job it runs. */
struct lane_tools {
  int cancel_fd; /* readable once the lane is being stopped */
  uint8_t *scratch;
  size_t scratch_len;
};

/* What a call does of an exchange: all of it; the sending and the first part of the answer; the next part of
 * it. */
enum portion { portion_whole, portion_first, portion_next };

/* Sends and receives until that portion of the exchange is complete. `request` is the same for every part of
 * one answer. `exchange` must be exchange_free()d whatever the outcome. */
struct failure netlink_call(int fd, enum portion portion, const uint8_t *request, size_t len, int timeout_ms,
                            const struct lane_tools *tools, struct exchange *exchange);
/* One datagram from the kernel, without waiting: its length, 0 for one to ignore, or a failure (EAGAIN: none
 * there). */
struct failure netlink_receive(int fd, uint8_t *buffer, size_t len, size_t *received);

/* --- door.c: none of these waits. --- */

/* Who called, and how many bytes of its request had arrived when it was let in. */
struct caller {
  int fd;
  struct ucred peer;
  size_t len;
};

/* A listening unix socket at `path`, which must not exist, with mode 0600. */
struct failure door_open(const char *path, int backlog, int *fd);
/* A descriptor to give up when there are no others: see door_accept. -1 where there is none. */
int door_spare(void);
/* The next caller; its first bytes, as far as they are there, into `bytes`. EAGAIN: nobody waits. EMFILE: one
 * was turned away for want of a descriptor. */
struct failure door_accept(int door, int *spare, uint8_t *bytes, size_t bytes_len, struct caller *caller);
/* Sends what the socket takes; `*sent` may be less than `len`, and 0. */
struct failure connection_send(int fd, const uint8_t *bytes, size_t len, size_t *sent);

/* --- descriptor.c: a file descriptor with a count of its users; closed when the last one lets go. --- */

enum descriptor_kind { descriptor_netns, descriptor_netlink, descriptor_door, descriptor_connection };

struct descriptor;

struct descriptor *descriptor_new(enum descriptor_kind kind, int fd);
void descriptor_retain(struct descriptor *descriptor);
void descriptor_release(struct descriptor *descriptor);
/* Gives the number of a descriptor that nobody else holds to the caller, who closes it; frees the rest. */
int descriptor_take(struct descriptor *descriptor);
int descriptor_fd(const struct descriptor *descriptor);
enum descriptor_kind descriptor_kind(const struct descriptor *descriptor);
/* Notes a call by `user`; false where calls of another user are under way: each would take the other's
 * answers for stale. These two are for one thread, that of the owner. */
bool descriptor_claim(struct descriptor *descriptor, size_t user);
void descriptor_unclaim(struct descriptor *descriptor);
/* True where nobody but the caller holds it. */
bool descriptor_is_sole(const struct descriptor *descriptor);

/* --- lane.c: one thread that runs jobs in order. --- */

/* First member of whatever the owner wants to run. `run` is called on the lane's thread. */
struct job {
  struct job *next;
  void (*run)(struct job *job, const struct lane_tools *tools);
};

struct lane;

/* `finished` is called on the lane's thread after each job that was run; it hands the job back to its owner.
 */
struct failure lane_start(struct lane **lane, const char *thread_name,
                          void (*finished)(struct job *job, void *context), void *context);
/* EAGAIN where lane_outstanding_max jobs are outstanding; the job stays the caller's then. */
struct failure lane_push(struct lane *lane, struct job *job);
/* The owner has dealt with one finished job: its place is free again. */
void lane_collected(struct lane *lane);
/* Interrupts the job under way (ECANCELED), ends and joins the thread, frees the lane; gives the jobs never
 * begun. */
struct job *lane_stop(struct lane *lane);

/* --- monitor.c: one thread that reads what the kernel sends unasked. --- */

/* Called on the monitor's thread. Takes over `bytes` and returns true, or returns false: no room now, `bytes`
 * stay the monitor's. NULL bytes say that events were lost. */
typedef bool monitor_deliver(void *context, uint8_t *bytes, size_t len);

struct monitor;

/* Joins the groups of `fd`, which must stay open until monitor_stop returns; none: the kernel sends to that
 * socket alone, as it was told before. */
struct failure monitor_start(struct monitor **monitor, int fd, size_t group_count, const uint32_t groups[],
                             monitor_deliver *deliver, void *context);
/* Ends and joins the thread; nothing is delivered afterwards. */
void monitor_stop(struct monitor *monitor);

/* --- thread.c --- */

/* Starts a thread with every signal blocked, a small stack and a name of at most 15 bytes. */
struct failure thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *context);
void close_fd(int fd);

#endif
