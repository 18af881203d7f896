/* Drives netlink.c and netns.c: what whole, malformed, foreign, late and lost answers do. */
#include "../core.h"
#include "fake_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

enum { plain = 0x10, silence_ms = 50 };

static uint8_t buffer[1 << 16];
static uint8_t scratch[1 << 15];

static void requests_must_be_whole_messages(void) {
  struct exchange exchange;
  static const struct {
    uint32_t nlmsg_len;
    size_t len;
    int code;
  } cases[] = {
      {16, 0, EINVAL},  {16, 1, EINVAL},  {16, 15, EINVAL}, {0, 16, EINVAL},          {15, 16, EINVAL},
      {17, 16, EINVAL}, {16, 17, EINVAL}, {16, 20, EINVAL}, {UINT32_MAX, 32, EINVAL}, {20, 32, EINVAL},
      {16, 16, 0},      {17, 17, 0},      {17, 20, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i += 1) {
    memset(buffer, 0, 64);
    memcpy(buffer, &cases[i].nlmsg_len, 4);
    check(exchange_begin(&exchange, buffer, cases[i].len).code == cases[i].code);
    exchange_free(&exchange);
  }
  size_t len = ((size_t)request_messages_max + 1) * NLMSG_HDRLEN;
  uint8_t *many = calloc(1, len);
  check(many != NULL);
  for (size_t i = 0; i <= request_messages_max; i += 1)
    put_message(many + i * NLMSG_HDRLEN, plain, 0, (uint32_t)i, NULL, 0);
  check(exchange_begin(&exchange, many, len).code == E2BIG);
  exchange_free(&exchange);
  check(exchange_begin(&exchange, many, len - NLMSG_HDRLEN).code == 0);
  exchange_free(&exchange);
  free(many);
}

/* Begins a request of three messages: 10 wants an ack, 11 nothing, 12 is a dump. */
static size_t begin_three(struct exchange *exchange) {
  size_t len = put_message(buffer, plain, NLM_F_REQUEST | NLM_F_ACK, 10, NULL, 0);
  len += put_message(buffer + len, plain, NLM_F_REQUEST, 11, "abc", 3);
  len += put_message(buffer + len, plain, NLM_F_REQUEST | NLM_F_DUMP, 12, NULL, 0);
  check(exchange_begin(exchange, buffer, len).code == 0);
  check(!exchange_complete(exchange));
  return len;
}

static void take(struct exchange *exchange, size_t len, int code) {
  check(exchange_take(exchange, buffer, len).code == code);
}

static void an_exchange_is_complete_when_each_wanted_answer_came(void) {
  struct exchange exchange;
  begin_three(&exchange);
  take(&exchange, put_message(buffer, plain, NLM_F_MULTI, 12, "part", 4), 0);
  take(&exchange, put_error(buffer, 10, 0), 0);
  take(&exchange, put_error(buffer, 10, 0), 0); /* a second ack of the same number counts for nothing */
  take(&exchange, put_error(buffer, 11, 0), 0);
  take(&exchange, put_error(buffer, 99, -EPERM), 0);
  take(&exchange, put_message(buffer, NLMSG_NOOP, 0, 12, NULL, 0), 0);
  check(!exchange_complete(&exchange));
  size_t before = exchange.answer_len;
  take(&exchange, put_message(buffer, NLMSG_DONE, NLM_F_MULTI, 12, "\0\0\0\0", 4), 0);
  check(exchange_complete(&exchange) && !exchange.refused);
  check(before == 20 + 3 * 36 && exchange.answer_len == before + 20);
  exchange_free(&exchange);
}

static void an_error_for_a_message_that_wants_no_answer_ends_a_batch(void) {
  struct exchange exchange;
  begin_three(&exchange);
  take(&exchange, put_error(buffer, 11, -EPERM), 0);
  check(exchange_complete(&exchange) && exchange.refused);
  exchange_free(&exchange);
}

static void equal_numbers_are_counted_one_by_one(void) {
  struct exchange exchange;
  size_t len = 0;
  for (int i = 0; i < 3; i += 1)
    len += put_message(buffer + len, plain, NLM_F_REQUEST | NLM_F_ACK, 7, NULL, 0);
  check(exchange_begin(&exchange, buffer, len).code == 0);
  for (int i = 0; i < 3; i += 1) {
    check(!exchange_complete(&exchange));
    take(&exchange, put_error(buffer, 7, 0), 0);
  }
  check(exchange_complete(&exchange));
  exchange_free(&exchange);
}

static void broken_answers_are_refused(void) {
  struct exchange exchange;
  begin_three(&exchange);
  size_t len = put_error(buffer, 10, 0);
  for (size_t cut = 1; cut < len; cut += 1)
    check(exchange_take(&exchange, buffer, cut).code == EBADMSG);
  buffer[0] = 15;
  take(&exchange, len, EBADMSG);
  take(&exchange, put_message(buffer, NLMSG_ERROR, 0, 10, "abc", 3), EBADMSG);
  take(&exchange, put_message(buffer, NLMSG_OVERRUN, 0, 10, NULL, 0), ENOBUFS);
  check(exchange.answer_len == 0);
  exchange_free(&exchange);
}

static void an_answer_has_a_longest_length(void) {
  struct exchange exchange;
  begin_three(&exchange);
  size_t len = put_message(buffer, plain, NLM_F_MULTI, 12, scratch, 16384);
  int code = 0;
  for (size_t i = 0; code == 0 && i <= answer_len_max / len; i += 1)
    code = exchange_take(&exchange, buffer, len).code;
  check(code == EMSGSIZE && exchange.answer_len <= answer_len_max &&
        exchange.answer_len > answer_len_max - len);
  exchange_free(&exchange);
}

static int call_three(struct fake_pair pair, const struct lane_tools *tools, struct exchange *exchange) {
  size_t len = begin_three(exchange);
  exchange_free(exchange);
  return netlink_call(pair.ours, portion_whole, buffer, len, silence_ms, tools, exchange).code;
}

/* Plays the kernel: waits for the request, then sends the datagrams that the test prepared, each with its
 * length before it. */
struct script {
  int kernel;
  size_t len;
  uint8_t bytes[4096];
};

static void add_datagram(struct script *script, size_t len) {
  uint16_t prefix = (uint16_t)len;
  memcpy(script->bytes + script->len, &prefix, 2);
  memcpy(script->bytes + script->len + 2, buffer, len);
  script->len += 2 + len;
}

static void *play(void *argument) {
  struct script *script = argument;
  uint8_t request[1024];
  check(recv(script->kernel, request, sizeof request, 0) > 0);
  for (size_t at = 0; at < script->len;) {
    uint16_t len;
    memcpy(&len, script->bytes + at, 2);
    fake_send(script->kernel, script->bytes + at + 2, len);
    at += 2 + (size_t)len;
  }
  return NULL;
}

static int call_with(struct script *script, const struct lane_tools *tools, struct exchange *exchange) {
  struct fake_pair pair = fake_open();
  script->kernel = pair.kernel;
  pthread_t thread;
  check(pthread_create(&thread, NULL, play, script) == 0);
  int code = call_three(pair, tools, exchange);
  pthread_join(thread, NULL);
  fake_close(pair);
  return code;
}

static void add_all_answers(struct script *script) {
  add_datagram(script, put_error(buffer, 10, 0));
  size_t len = put_message(buffer, plain, NLM_F_MULTI, 12, "part", 4);
  len += put_message(buffer + len, NLMSG_DONE, NLM_F_MULTI, 12, "\0\0\0\0", 4);
  add_datagram(script, len);
}

static void calls_end_as_the_answers_say(const struct lane_tools *tools) {
  static struct script script;
  struct exchange exchange;
  add_all_answers(&script);
  check(call_with(&script, tools, &exchange) == 0 && exchange.answer_len == 36 + 20 + 20);
  exchange_free(&exchange);

  script.len = 0; /* nothing but a stranger's words: the kernel is silent */
  memset(buffer, fake_stranger, 32);
  add_datagram(&script, 32);
  check(call_with(&script, tools, &exchange) == ETIMEDOUT && exchange.answer_len == 0);
  exchange_free(&exchange);

  add_all_answers(&script); /* and in spite of them */
  check(call_with(&script, tools, &exchange) == 0);
  exchange_free(&exchange);

  script.len = 0;
  memset(buffer, fake_overrun, 32);
  add_datagram(&script, 32);
  check(call_with(&script, tools, &exchange) == ENOBUFS);
  exchange_free(&exchange);

  script.len = 0;
  memset(buffer, 0x41, 32);
  add_datagram(&script, 32);
  check(call_with(&script, tools, &exchange) == EBADMSG);
  exchange_free(&exchange);

  script.len = 0;
  add_datagram(&script, put_error(buffer, 10, 0));
  check(call_with(&script, tools, &exchange) == ETIMEDOUT);
  exchange_free(&exchange);

  struct lane_tools small = *tools;
  small.scratch_len = 35;
  check(call_with(&script, &small, &exchange) == EMSGSIZE);
  exchange_free(&exchange);
}

enum { dump_payload_len = 16 << 10, dump_datagrams = 40 };

static void *play_long_dump(void *argument) {
  int kernel = *(int *)argument;
  static uint8_t datagram[dump_payload_len + NLMSG_HDRLEN], payload[dump_payload_len];
  uint8_t request[1024];
  check(recv(kernel, request, sizeof request, 0) > 0);
  for (uint32_t i = 0; i < dump_datagrams; i += 1)
    fake_send(kernel, datagram, put_message(datagram, plain, NLM_F_MULTI, 12, payload, dump_payload_len));
  fake_send(kernel, datagram, put_message(datagram, NLMSG_DONE, NLM_F_MULTI, 12, "\0\0\0\0", 4));
  return NULL;
}

/* 40 datagrams of 16 KiB come as three parts: twice what exceeds 256 KiB by less than a datagram, then the
 * rest. */
static void an_answer_comes_in_parts(const struct lane_tools *tools) {
  struct fake_pair pair = fake_open();
  struct exchange exchange;
  size_t datagram_len = NLMSG_HDRLEN + dump_payload_len, done_len = NLMSG_HDRLEN + 4;
  size_t datagrams_a_part = part_len_min / datagram_len + 1;
  size_t len = put_message(buffer, plain, NLM_F_REQUEST | NLM_F_DUMP, 12, NULL, 0);
  pthread_t thread;
  check(pthread_create(&thread, NULL, play_long_dump, &pair.kernel) == 0);
  for (int part = 0; part < 3; part += 1) {
    enum portion portion = part == 0 ? portion_first : portion_next;
    check(netlink_call(pair.ours, portion, buffer, len, 1000, tools, &exchange).code == 0);
    size_t expected = part < 2 ? datagrams_a_part * datagram_len
                               : (dump_datagrams - 2 * datagrams_a_part) * datagram_len + done_len;
    check(exchange.answer_len == expected && exchange_complete(&exchange) == (part == 2));
    exchange_free(&exchange);
  }
  pthread_join(thread, NULL);
  check(recv(pair.kernel, buffer, sizeof buffer, MSG_DONTWAIT) < 0 && errno == EAGAIN); /* asked but once */
  check(netlink_call(pair.ours, portion_next, buffer, len, silence_ms, tools, &exchange).code == ETIMEDOUT);
  exchange_free(&exchange);
  fake_close(pair);
}

static void *flood(void *argument) {
  uint8_t request[1024];
  check(recv(*(int *)argument, request, sizeof request, 0) > 0);
  atomic_store(&fake_flooding, true);
  fake_send(*(int *)argument, request,
            NLMSG_HDRLEN); /* wakes the call, which then never finds the socket empty */
  return NULL;
}

static void strangers_cannot_hold_a_call(const struct lane_tools *tools) {
  struct fake_pair pair = fake_open();
  struct exchange exchange;
  pthread_t thread;
  check(pthread_create(&thread, NULL, flood, &pair.kernel) == 0);
  check(call_three(pair, tools, &exchange) == ETIMEDOUT);
  atomic_store(&fake_flooding, false);
  pthread_join(thread, NULL);
  exchange_free(&exchange);
  fake_close(pair);
}

static void a_call_drops_what_an_earlier_one_left(const struct lane_tools *tools) {
  struct fake_pair pair = fake_open();
  struct exchange exchange;
  fake_send(pair.kernel, buffer, put_error(buffer, 11, -EPERM)); /* would end the call, were it not stale */
  memset(buffer, fake_overrun, 32);
  fake_send(pair.kernel, buffer, 32);
  check(call_three(pair, tools, &exchange) == ETIMEDOUT && exchange.answer_len == 0);
  exchange_free(&exchange);
  fake_close(pair);
}

static void *cancel_soon(void *argument) {
  usleep(5000);
  check(eventfd_write(*(int *)argument, 1) == 0);
  return NULL;
}

static void a_call_ends_when_its_lane_stops(struct lane_tools tools) {
  struct fake_pair pair = fake_open();
  struct exchange exchange;
  size_t len = begin_three(&exchange);
  exchange_free(&exchange);
  pthread_t thread;
  check(pthread_create(&thread, NULL, cancel_soon, &tools.cancel_fd) == 0);
  check(netlink_call(pair.ours, portion_whole, buffer, len, timeout_ms_max, &tools, &exchange).code ==
        ECANCELED);
  pthread_join(thread, NULL);
  exchange_free(&exchange);
  fake_close(pair);
}

static void own_namespace(char name[64]) {
  ssize_t len = readlink("/proc/thread-self/ns/net", name, 63);
  check(len > 0);
  name[len] = '\0';
}

static void *make_namespace(void *fd) {
  check(unshare(CLONE_NEWNET) == 0);
  check(netns_open("/proc/thread-self/ns/net", fd).code == 0);
  return NULL;
}

static void read_loopback(int netns, const struct lane_tools *tools) {
  int fd;
  check(netlink_open(netns, NETLINK_ROUTE, &fd).code == 0);
  struct exchange exchange;
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
  size_t len = put_message(buffer, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, &link, sizeof link);
  check(netlink_call(fd, portion_whole, buffer, len, 1000, tools, &exchange).code == 0);
  struct nlmsghdr first;
  memcpy(&first, exchange.answer, sizeof first);
  check(first.nlmsg_type == RTM_NEWLINK && first.nlmsg_seq == 1);
  exchange_free(&exchange);
  link.ifi_index = 4242;
  len = put_message(buffer, RTM_GETLINK, NLM_F_REQUEST, 2, &link,
                    sizeof link); /* no ack asked: refused at once */
  check(netlink_call(fd, portion_whole, buffer, len, 1000, tools, &exchange).code == 0);
  check(exchange.refused && exchange.answer_len >= 36);
  exchange_free(&exchange);
  close(fd);
}

static void a_namespace_is_visited_and_left(const struct lane_tools *tools) {
  char before[64], after[64];
  own_namespace(before);
  pthread_t thread;
  int netns = -1;
  check(pthread_create(&thread, NULL, make_namespace, &netns) == 0);
  pthread_join(thread, NULL);
  read_loopback(netns, tools);
  char *keys[] = {"ipv4/ip_forward", "ipv4/nothing_such"}, *values[] = {"1", "1"}, *found[2] = {NULL, NULL};
  struct failure failure = sysctls_write(netns, 2, keys, values);
  check(failure.code == ENOENT && failure.index == 1);
  check(sysctls_read(netns, 2, keys, found).code == 0);
  check(found[0] != NULL && strcmp(found[0], "1") == 0 && found[1] == NULL);
  free(found[0]);
  static const char *const wrong[] = {"", "/ipv4/ip_forward", "..", "../x", "ipv4/../x", "ipv4/.."};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i += 1) {
    char *key[] = {(char *)wrong[i]};
    check(sysctls_read(netns, 1, key, found).code == EINVAL);
  }
  uint32_t links[] = {1, INT32_MAX};
  struct tcx_programs programs[2] = {{7, 7}, {7, 7}};
  check(tcx_query(netns, 2, links, programs).code == 0);
  check(programs[0].ingress == 0 && programs[0].egress == 0 && programs[1].ingress == 0);
  int fd;
  check(netlink_open(netns, 10000, &fd).code == EPROTONOSUPPORT);
  close(netns);
  check(netlink_open(-1, NETLINK_ROUTE, &fd).code == EBADF);
  check(tcx_query(-1, 2, links, programs).code == EBADF);
  check(netns_open("/proc/self/ns/mnt", &fd).code == EINVAL);
  check(netns_open("/dev/null", &fd).code == EINVAL);
  check(netns_open("/", &fd).code == EINVAL);
  own_namespace(after);
  check(strcmp(before, after) == 0);
}

int main(void) {
  begin_driver();
  test(requests_must_be_whole_messages);
  test(an_exchange_is_complete_when_each_wanted_answer_came);
  test(an_error_for_a_message_that_wants_no_answer_ends_a_batch);
  test(equal_numbers_are_counted_one_by_one);
  test(broken_answers_are_refused);
  test(an_answer_has_a_longest_length);
  struct lane_tools tools = {
      .cancel_fd = eventfd(0, EFD_CLOEXEC), .scratch = scratch, .scratch_len = sizeof scratch};
  test(calls_end_as_the_answers_say, &tools);
  test(an_answer_comes_in_parts, &tools);
  test(strangers_cannot_hold_a_call, &tools);
  test(a_call_drops_what_an_earlier_one_left, &tools);
  test(a_call_ends_when_its_lane_stops, tools);
  close(tools.cancel_fd);
  tools.cancel_fd = eventfd(0, EFD_CLOEXEC);
  if (geteuid() == 0) test(a_namespace_is_visited_and_left, &tools);
  close(tools.cancel_fd);
  printf("netlink exchanges%s\n", geteuid() == 0 ? " and namespaces" : "; namespaces need root");
  return 0;
}
