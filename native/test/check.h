/* What the C test drivers share: a check that names its place, and a bound on the whole run. */
#ifndef FAIRLEAD_CHECK_H
#define FAIRLEAD_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { driver_seconds_max = 30 };

#define check(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                \
      exit(1);                                                                                               \
    }                                                                                                        \
  } while (0)

/* A driver that hangs is killed by SIGALRM, and its caller sees that. */
static inline void begin_driver(void) {
  alarm(driver_seconds_max);
}

#endif
