/* Drives lanes, monitors and descriptors with many threads: order, bounds, stops, closes, told losses; and
 * the release of pages of code. */
#include "../core.h"
#include "fake_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <string.h>

enum { producer_count = 4, jobs_each = 2000, request_len = 16, release_rounds = 100 };

struct counted_job {
  struct job job;
  unsigned producer;
  unsigned number;
};

/* What the owner of a lane keeps in these tests. */
struct owner {
  struct lane *lane;
  atomic_uint finished;
  unsigned next_of[producer_count]; /* written on the lane's thread only, read after it has ended */
  bool in_order;
};

static void run_nothing(struct job *job, const struct lane_tools *tools) {
  (void)job;
  check(tools->scratch_len == datagram_len_max);
}

static void count_finished(struct job *job, void *context) {
  struct owner *owner = context;
  struct counted_job *counted = (struct counted_job *)job;
  owner->in_order = owner->in_order && counted->number == owner->next_of[counted->producer];
  owner->next_of[counted->producer] = counted->number + 1;
  free(counted);
  lane_collected(owner->lane);
  atomic_fetch_add(&owner->finished, 1);
}

struct producer {
  struct owner *owner;
  unsigned index;
};

static void *produce(void *argument) {
  struct producer *producer = argument;
  for (unsigned number = 0; number < jobs_each; number += 1) {
    struct counted_job *job = calloc(1, sizeof *job);
    check(job != NULL);
    *job = (struct counted_job){.job.run = run_nothing, .producer = producer->index, .number = number};
    while (lane_push(producer->owner->lane, &job->job).code == EAGAIN)
      sched_yield();
  }
  return NULL;
}

static void jobs_run_in_the_order_of_each_producer(void) {
  struct owner owner = {.in_order = true};
  struct producer producers[producer_count];
  pthread_t threads[producer_count];
  check(lane_start(&owner.lane, "fl-test", count_finished, &owner).code == 0);
  for (unsigned i = 0; i < producer_count; i += 1) {
    producers[i] = (struct producer){&owner, i};
    check(pthread_create(&threads[i], NULL, produce, &producers[i]) == 0);
  }
  for (unsigned i = 0; i < producer_count; i += 1)
    pthread_join(threads[i], NULL);
  while (atomic_load(&owner.finished) < producer_count * jobs_each)
    usleep(1000);
  check(lane_stop(owner.lane) == NULL);
  check(owner.in_order);
}

/* A job that waits for an answer on a socket where none comes. */
struct waiting_job {
  struct job job;
  struct descriptor *descriptor;
  sem_t *begun;
  int code;
  bool fd_was_open;
};

static void run_waiting(struct job *job, const struct lane_tools *tools) {
  struct waiting_job *waiting = (struct waiting_job *)job;
  int fd = descriptor_fd(waiting->descriptor);
  uint8_t request[request_len];
  struct exchange exchange;
  put_message(request, 0x10, NLM_F_REQUEST | NLM_F_ACK, 1, NULL, 0);
  sem_post(waiting->begun);
  waiting->code =
      netlink_call(fd, portion_whole, request, sizeof request, timeout_ms_max, tools, &exchange).code;
  exchange_free(&exchange);
  waiting->fd_was_open = fcntl(fd, F_GETFD) >= 0;
  descriptor_release(waiting->descriptor);
}

static void leave_uncollected(struct job *job, void *context) {
  (void)job;
  (void)context;
}

static void a_full_lane_refuses_and_a_stopped_one_cancels(void) {
  struct fake_pair pair = fake_open();
  struct lane *lane;
  sem_t begun;
  sem_init(&begun, 0, 0);
  struct waiting_job *jobs = calloc(lane_outstanding_max + 1, sizeof *jobs);
  check(jobs != NULL && lane_start(&lane, "fl-test", leave_uncollected, NULL).code == 0);
  struct descriptor *descriptor = descriptor_new(descriptor_netlink, pair.ours);
  for (size_t i = 0; i <= lane_outstanding_max; i += 1) {
    jobs[i] = (struct waiting_job){.job.run = run_waiting, .descriptor = descriptor, .begun = &begun};
    descriptor_retain(descriptor);
    check(lane_push(lane, &jobs[i].job).code == (i < lane_outstanding_max ? 0 : EAGAIN));
  }
  descriptor_release(descriptor); /* the one that was refused */
  sem_wait(&begun);
  descriptor_release(descriptor); /* closed by its owner while a call is under way and others are queued */
  size_t never_begun = 0;
  for (struct job *job = lane_stop(lane); job != NULL; job = job->next) {
    check(job == &jobs[never_begun + 1].job);
    never_begun += 1;
    descriptor_release(((struct waiting_job *)job)->descriptor);
  }
  check(never_begun == lane_outstanding_max - 1);
  check(jobs[0].code == ECANCELED && jobs[0].fd_was_open);
  check(fcntl(pair.ours, F_GETFD) < 0 && errno == EBADF);
  sem_destroy(&begun);
  free(jobs);
  close(pair.kernel);
}

/* Keeps what a monitor delivers, up to `room` datagrams. */
struct sink {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  size_t room;
  size_t count;
  size_t refused;
  bool deaf_to_losses;
  uint8_t first_bytes[64]; /* 0 stands for a loss */
};

static bool keep(void *context, uint8_t *bytes, size_t len) {
  struct sink *sink = context;
  pthread_mutex_lock(&sink->mutex);
  bool kept = sink->count < sink->room && (bytes != NULL || !sink->deaf_to_losses);
  if (kept) {
    check(sink->count < sizeof sink->first_bytes && (bytes == NULL) == (len == 0));
    sink->first_bytes[sink->count] = bytes == NULL ? 0 : bytes[0];
    sink->count += 1;
    free(bytes);
  }
  sink->refused += !kept;
  pthread_cond_signal(&sink->changed);
  pthread_mutex_unlock(&sink->mutex);
  return kept;
}

static void wait_for(struct sink *sink, size_t count, size_t refused) {
  pthread_mutex_lock(&sink->mutex);
  while (sink->count < count || sink->refused < refused)
    pthread_cond_wait(&sink->changed, &sink->mutex);
  pthread_mutex_unlock(&sink->mutex);
}

static void give_room(struct sink *sink, size_t room, bool deaf_to_losses) {
  pthread_mutex_lock(&sink->mutex);
  sink->room = room;
  sink->deaf_to_losses = deaf_to_losses;
  pthread_mutex_unlock(&sink->mutex);
}

static size_t sink_refused(struct sink *sink) {
  pthread_mutex_lock(&sink->mutex);
  size_t refused = sink->refused;
  pthread_mutex_unlock(&sink->mutex);
  return refused;
}

static void send_byte(struct fake_pair pair, uint8_t byte) {
  uint8_t bytes[20] = {byte};
  fake_send(pair.kernel, bytes, sizeof bytes);
}

static void a_monitor_tells_events_and_losses_in_order(void) {
  struct fake_pair pair = fake_open();
  struct sink sink = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .room = 2};
  struct monitor *monitor;
  uint32_t groups[] = {1, 2};
  check(monitor_start(&monitor, pair.ours, monitor_groups_max + 1, groups, keep, &sink).code == EINVAL);
  check(monitor_start(&monitor, pair.ours, 2, groups, keep, &sink).code == 0);
  send_byte(pair, 1);
  send_byte(pair, fake_stranger);
  send_byte(pair, 2);
  wait_for(&sink, 2, 0);
  send_byte(pair, 3); /* no room: lost */
  wait_for(&sink, 2, 1);
  give_room(&sink, 60, true);
  size_t refused = sink_refused(&sink);
  send_byte(pair, 9); /* room, but the loss before it could not be told yet: lost too */
  wait_for(&sink, 2, refused + 3);
  give_room(&sink, 60, false);
  wait_for(&sink, 3, 0);
  send_byte(pair, 4);
  send_byte(pair, fake_overrun);
  wait_for(&sink, 5, 0);
  send_byte(pair, 5);
  wait_for(&sink, 6, 0);
  for (uint8_t byte = 6; byte < 40; byte += 1)
    send_byte(pair, byte);
  monitor_stop(monitor); /* while events are under way */
  size_t count = sink.count;
  send_byte(pair, 41);
  usleep(5000);
  check(sink.count == count);
  check(memcmp(sink.first_bytes, "\1\2\0\4\0\5", 6) == 0);
  fake_close(pair);
}

static void an_oversized_event_is_a_loss(void) {
  struct fake_pair pair = fake_open();
  struct sink sink = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .room = 60};
  struct monitor *monitor;
  uint32_t group = 1;
  check(monitor_start(&monitor, pair.ours, 1, &group, keep, &sink).code == 0);
  size_t len = (128 << 10) + 1;
  uint8_t *bytes = calloc(1, len);
  check(bytes != NULL);
  bytes[0] = 7;
  fake_send(pair.kernel, bytes, len);
  free(bytes);
  wait_for(&sink, 1, 0);
  check(sink.first_bytes[0] == 0);
  monitor_stop(monitor);
  fake_close(pair);
}

/* Code that runs, here and on other threads, goes on without its pages. */
static void *release_often(void *context) {
  for (size_t round = 0; round < release_rounds; round += 1)
    check(program_release(0, 1) > 0);
  return context;
}

static void a_program_goes_on_without_its_pages(void) {
  pthread_t threads[producer_count];
  for (size_t i = 0; i < producer_count; i += 1)
    check(thread_start(&threads[i], "release", release_often, NULL).code == 0);
  for (size_t i = 0; i < producer_count; i += 1)
    pthread_join(threads[i], NULL);
}

int main(void) {
  begin_driver();
  test(jobs_run_in_the_order_of_each_producer);
  for (int i = 0; i < 10; i += 1)
    test(a_full_lane_refuses_and_a_stopped_one_cancels);
  for (int i = 0; i < 10; i += 1)
    test(a_monitor_tells_events_and_losses_in_order);
  test(an_oversized_event_is_a_loss);
  test(a_program_goes_on_without_its_pages);
  printf("lanes, monitors, descriptors, the own program\n");
  return 0;
}
