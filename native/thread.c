/* Owns how a thread begins (no signals, a small stack, a name) and how a descriptor is closed. */
#include "core.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { stack_len = 256 << 10, name_len_max = 16 };

struct start {
  char name[name_len_max];
  void *(*run)(void *);
  void *context;
};

static void *begin(void *argument) {
  struct start start = *(struct start *)argument;
  free(argument);
  pthread_setname_np(pthread_self(), start.name);
  return start.run(start.context);
}

struct failure thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *context) {
  struct start *start = calloc(1, sizeof *start);
  if (start == NULL) return failed(ENOMEM, "thread");
  strncpy(start->name, name, sizeof start->name - 1);
  start->run = run;
  start->context = context;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_len);
  /* The new thread inherits the mask: no signal is ever delivered to a thread that may be abroad. */
  sigset_t every, before;
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, &before);
  int code = pthread_create(thread, &attributes, begin, start);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (code == 0) return succeeded();
  free(start);
  return failed(code, "thread");
}

void close_fd(int fd) {
  /* Linux closes the descriptor even where close() is interrupted: calling it again could close somebody
   * else's. */
  (void)close(fd);
}
