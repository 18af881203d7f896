/* Owns one netlink exchange: what wants an answer, which bytes answer it, when it is complete. */
#include "core.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Reads the header at `offset`; false where no whole message is left. Takes any bytes at any alignment. */
static bool message_at(const uint8_t *bytes, size_t len, size_t offset, struct nlmsghdr *header) {
  if (offset > len || len - offset < sizeof *header) return false;
  memcpy(header, bytes + offset, sizeof *header);
  return header->nlmsg_len >= sizeof *header && header->nlmsg_len <= len - offset;
}

/* Where the message after this one begins; the last one may lack its padding. */
static size_t message_end(size_t offset, size_t message_len, size_t len) {
  size_t padded = NLMSG_ALIGN(message_len);
  return padded > len - offset ? len : offset + padded;
}

static bool wants_answer(const struct nlmsghdr *header) {
  return (header->nlmsg_flags & NLM_F_ACK) != 0 || (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
}

struct failure exchange_begin(struct exchange *exchange, const uint8_t *request, size_t len) {
  *exchange = (struct exchange){0};
  size_t count = 0;
  struct nlmsghdr header;
  for (size_t offset = 0; offset < len; offset = message_end(offset, header.nlmsg_len, len)) {
    if (!message_at(request, len, offset, &header)) return failed(EINVAL, "request");
    count += 1;
  }
  if (count == 0) return failed(EINVAL, "request");
  if (count > request_messages_max) return failed(E2BIG, "request");
  exchange->messages = calloc(count, sizeof *exchange->messages);
  if (exchange->messages == NULL) return failed(ENOMEM, "request");
  for (size_t offset = 0; offset < len; offset = message_end(offset, header.nlmsg_len, len)) {
    if (!message_at(request, len, offset, &header)) break;
    bool wanted = wants_answer(&header);
    exchange->messages[exchange->message_count] = (struct expectation){header.nlmsg_seq, wanted, false};
    exchange->message_count += 1;
    exchange->wanted_left += wanted;
  }
  return succeeded();
}

void exchange_free(struct exchange *exchange) {
  free(exchange->messages);
  free(exchange->answer);
  *exchange = (struct exchange){0};
}

bool exchange_complete(const struct exchange *exchange) {
  return exchange->wanted_left == 0 || exchange->refused;
}

/* The message that `seq` belongs to; of several with one number the next whose turn it is. */
static struct expectation *expectation_of(struct exchange *exchange, uint32_t seq) {
  for (size_t step = 0; step < exchange->message_count; step += 1) {
    size_t index = (exchange->cursor + step) % exchange->message_count;
    if (exchange->messages[index].seq != seq) continue;
    exchange->cursor = index;
    return &exchange->messages[index];
  }
  return NULL;
}

static struct failure keep_message(struct exchange *exchange, const uint8_t *bytes, size_t len) {
  size_t padded = NLMSG_ALIGN(len);
  if (padded > answer_len_max - exchange->answer_len) return failed(EMSGSIZE, "answer");
  size_t needed = exchange->answer_len + padded;
  if (needed > exchange->answer_capacity) {
    size_t capacity = exchange->answer_capacity * 2 > needed ? exchange->answer_capacity * 2 : needed + 4096;
    uint8_t *grown = realloc(exchange->answer, capacity);
    if (grown == NULL) return failed(ENOMEM, "answer");
    exchange->answer = grown;
    exchange->answer_capacity = capacity;
  }
  memcpy(exchange->answer + exchange->answer_len, bytes, len);
  memset(exchange->answer + exchange->answer_len + len, 0, padded - len);
  exchange->answer_len = needed;
  return succeeded();
}

/* Notes that `message` has had its last answer. */
static void settle(struct exchange *exchange, struct expectation *message, bool is_error) {
  if (message->answered) return;
  if (!message->wanted) {
    exchange->refused = exchange->refused || is_error;
    return;
  }
  message->answered = true;
  exchange->wanted_left -= 1;
  exchange->cursor = (exchange->cursor + 1) % exchange->message_count;
}

static struct failure take_message(struct exchange *exchange, const struct nlmsghdr *header,
                                   const uint8_t *bytes) {
  if (header->nlmsg_type == NLMSG_OVERRUN) return failed(ENOBUFS, "answer");
  struct expectation *message = expectation_of(exchange, header->nlmsg_seq);
  if (message == NULL || header->nlmsg_type == NLMSG_NOOP) return succeeded();
  int32_t code = 0;
  if (header->nlmsg_type == NLMSG_ERROR) {
    if (header->nlmsg_len < NLMSG_HDRLEN + sizeof code) return failed(EBADMSG, "answer");
    memcpy(&code, bytes + NLMSG_HDRLEN, sizeof code);
  }
  struct failure failure = keep_message(exchange, bytes, header->nlmsg_len);
  if (failure.code == 0 && (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE))
    settle(exchange, message, code != 0);
  return failure;
}

struct failure exchange_take(struct exchange *exchange, const uint8_t *datagram, size_t len) {
  struct nlmsghdr header;
  for (size_t offset = 0; offset < len; offset = message_end(offset, header.nlmsg_len, len)) {
    if (!message_at(datagram, len, offset, &header)) return failed(EBADMSG, "answer");
    struct failure failure = take_message(exchange, &header, datagram + offset);
    if (failure.code != 0) return failure;
  }
  return succeeded();
}

struct failure netlink_receive(int fd, uint8_t *buffer, size_t len, size_t *received) {
  struct sockaddr_nl sender = {0};
  struct iovec part = {.iov_base = buffer, .iov_len = len};
  struct msghdr message = {
      .msg_name = &sender, .msg_namelen = sizeof sender, .msg_iov = &part, .msg_iovlen = 1};
  ssize_t got;
  do
    got = recvmsg(fd, &message, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got < 0) return failed(errno, "recvmsg");
  /* Other processes can send to our port; only the kernel's word counts. */
  bool from_kernel =
      message.msg_namelen == sizeof sender && sender.nl_family == AF_NETLINK && sender.nl_pid == 0;
  *received = from_kernel ? (size_t)got : 0;
  if (from_kernel && (message.msg_flags & MSG_TRUNC) != 0) return failed(EMSGSIZE, "recvmsg");
  return succeeded();
}

/* Takes away what an earlier call left: late answers, the rest of a dump, the note that answers were lost. */
static struct failure drop_stale(int fd, const struct lane_tools *tools) {
  for (size_t count = 0; count < stale_datagrams_max; count += 1) {
    size_t received;
    struct failure failure = netlink_receive(fd, tools->scratch, tools->scratch_len, &received);
    if (failure.code == EAGAIN) return succeeded();
    if (failure.code != 0 && failure.code != ENOBUFS && failure.code != EMSGSIZE) return failure;
  }
  return failed(EBUSY, "recvmsg");
}

static struct failure send_request(int fd, const uint8_t *request, size_t len) {
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  struct iovec part = {.iov_base = (void *)request, .iov_len = len};
  struct msghdr message = {
      .msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = &part, .msg_iovlen = 1};
  ssize_t sent;
  do
    sent = sendmsg(fd, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return failed(errno, "sendmsg");
  return (size_t)sent == len ? succeeded() : failed(EIO, "sendmsg");
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until `fd` can be read; ETIMEDOUT at `deadline_ms`, ECANCELED when the lane stops. */
static struct failure wait_readable(int fd, int cancel_fd, int64_t deadline_ms) {
  struct pollfd watched[2] = {{.fd = fd, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
  for (;;) {
    int64_t left_ms = deadline_ms - now_ms();
    int ready = poll(watched, 2, left_ms > 0 ? (int)left_ms : 0);
    if (ready < 0 && errno != EINTR) return failed(errno, "poll");
    if (ready < 0) continue;
    if (watched[1].revents != 0) return failed(ECANCELED, "poll");
    if (watched[0].revents != 0) return succeeded();
    if (left_ms <= 0) return failed(ETIMEDOUT, "poll");
  }
}

/* Receives until the exchange is complete and nothing more has arrived: a refused batch is followed by more
 * answers. Or until `enough_len` bytes are there: the kernel makes the rest of a dump only as it is read. */
static struct failure collect(int fd, size_t enough_len, int timeout_ms, const struct lane_tools *tools,
                              struct exchange *exchange) {
  int64_t deadline_ms = now_ms() + timeout_ms;
  for (;;) {
    if (exchange->answer_len >= enough_len && !exchange_complete(exchange)) return succeeded();
    size_t received = 0;
    struct failure failure = netlink_receive(fd, tools->scratch, tools->scratch_len, &received);
    if (failure.code == EAGAIN && exchange_complete(exchange)) return succeeded();
    if (failure.code == EAGAIN) {
      failure = wait_readable(fd, tools->cancel_fd, deadline_ms);
    } else if (failure.code == 0 && received > 0) {
      failure = exchange_take(exchange, tools->scratch, received);
      deadline_ms = now_ms() + timeout_ms;
    } else if (failure.code == 0 && now_ms() > deadline_ms) {
      failure = failed(ETIMEDOUT, "recvmsg"); /* strangers' datagrams do not count as the kernel's word */
    }
    if (failure.code != 0) return failure;
  }
}

struct failure netlink_call(int fd, enum portion portion, const uint8_t *request, size_t len, int timeout_ms,
                            const struct lane_tools *tools, struct exchange *exchange) {
  struct failure failure = exchange_begin(exchange, request, len);
  bool sends = portion != portion_next;
  if (failure.code == 0 && sends) failure = drop_stale(fd, tools);
  if (failure.code == 0 && sends) failure = send_request(fd, request, len);
  size_t enough_len = portion == portion_whole ? SIZE_MAX : part_len_min;
  if (failure.code == 0) failure = collect(fd, enough_len, timeout_ms, tools, exchange);
  return failure;
}
