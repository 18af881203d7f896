/* Owns one lane: a thread that runs jobs in order, and the bound on how many are outstanding. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lane {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t work;
  struct job *first; /* queued, oldest first */
  struct job **last;
  size_t outstanding;
  bool stopping;
  struct lane_tools tools;
  void (*finished)(struct job *job, void *context);
  void *context;
};

/* The next job, waiting for one; NULL once the lane is being stopped. */
static struct job *take_job(struct lane *lane) {
  pthread_mutex_lock(&lane->mutex);
  while (lane->first == NULL && !lane->stopping)
    pthread_cond_wait(&lane->work, &lane->mutex);
  struct job *job = lane->stopping ? NULL : lane->first;
  if (job != NULL) {
    lane->first = job->next;
    if (lane->first == NULL) lane->last = &lane->first;
    job->next = NULL;
  }
  pthread_mutex_unlock(&lane->mutex);
  return job;
}

static void *run_lane(void *argument) {
  struct lane *lane = argument;
  for (struct job *job = take_job(lane); job != NULL; job = take_job(lane)) {
    job->run(job, &lane->tools);
    lane->finished(job, lane->context);
  }
  return NULL;
}

static void free_lane(struct lane *lane) {
  if (lane->tools.cancel_fd >= 0) close_fd(lane->tools.cancel_fd);
  free(lane->tools.scratch);
  pthread_mutex_destroy(&lane->mutex);
  pthread_cond_destroy(&lane->work);
  free(lane);
}

struct failure lane_start(struct lane **started, const char *thread_name,
                          void (*finished)(struct job *job, void *context), void *context) {
  struct lane *lane = calloc(1, sizeof *lane);
  if (lane == NULL) return failed(ENOMEM, "lane");
  pthread_mutex_init(&lane->mutex, NULL);
  pthread_cond_init(&lane->work, NULL);
  lane->last = &lane->first;
  lane->finished = finished;
  lane->context = context;
  lane->tools.scratch_len = datagram_len_max;
  lane->tools.scratch = malloc(datagram_len_max); /* pages that no answer ever reaches are never made */
  lane->tools.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct failure failure = succeeded();
  if (lane->tools.scratch == NULL)
    failure = failed(ENOMEM, "lane");
  else if (lane->tools.cancel_fd < 0)
    failure = failed(errno, "eventfd");
  else
    failure = thread_start(&lane->thread, thread_name, run_lane, lane);
  if (failure.code != 0) {
    free_lane(lane);
    return failure;
  }
  *started = lane;
  return succeeded();
}

struct failure lane_push(struct lane *lane, struct job *job) {
  pthread_mutex_lock(&lane->mutex);
  bool full = lane->outstanding >= lane_outstanding_max;
  if (!full) {
    lane->outstanding += 1;
    job->next = NULL;
    *lane->last = job;
    lane->last = &job->next;
    pthread_cond_signal(&lane->work);
  }
  pthread_mutex_unlock(&lane->mutex);
  return full ? failed(EAGAIN, "queue full") : succeeded();
}

void lane_collected(struct lane *lane) {
  pthread_mutex_lock(&lane->mutex);
  lane->outstanding -= 1;
  pthread_mutex_unlock(&lane->mutex);
}

struct job *lane_stop(struct lane *lane) {
  pthread_mutex_lock(&lane->mutex);
  lane->stopping = true;
  pthread_cond_signal(&lane->work);
  pthread_mutex_unlock(&lane->mutex);
  (void)eventfd_write(lane->tools.cancel_fd, 1);
  pthread_join(lane->thread, NULL);
  struct job *never_begun = lane->first;
  free_lane(lane);
  return never_begun;
}
