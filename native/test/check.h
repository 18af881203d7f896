/* What the C test drivers share: tests by name, a check that names its place, and a bound on the whole run.
 */
#ifndef FAIRLEAD_CHECK_H
#define FAIRLEAD_CHECK_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { driver_seconds_max = 30 };

/* One for all files of a driver. */
__attribute__((weak)) const char *running_test = "begin";

/* Calls a test by its name, which is told where it fails. */
#define test(function, ...) (running_test = #function, function(__VA_ARGS__))

#define check(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, running_test, #condition);              \
      exit(1);                                                                                               \
    }                                                                                                        \
  } while (0)

static inline void end_late(int signal) {
  (void)signal;
  char text[256];
  snprintf(text, sizeof text, "%s: not so: it ends within %d s\n", running_test, driver_seconds_max);
  ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  (void)ignored;
  _exit(1);
}

/* A driver that hangs ends by SIGALRM, and says where. */
static inline void begin_driver(void) {
  (void)signal(SIGALRM, end_late);
  alarm(driver_seconds_max);
}

#endif
