/* Measures what the shim costs a runtime, spawn to exit, against a program that does nothing. */
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

enum { rounds = 1000, warm_up = 100 };

static char *const nothing[] = {NULL};

/* Answers every connection with a short success, as fast as can be. Ends with its parent. */
static void serve(int listener) {
  static const char reply[] = "FRLD\0\1\0\0\0\0\0\2{}";
  static char request[1 << 16];
  check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    check(fd >= 0);
    while (read(fd, request, sizeof request) > 0)
      ;
    check(write(fd, reply, sizeof reply - 1) == sizeof reply - 1);
    close(fd);
  }
}

static double spawn_us(const char *program, char *const environment[],
                       const posix_spawn_file_actions_t *actions) {
  char *const arguments[] = {(char *)program, NULL};
  struct timespec begun, ended;
  pid_t child;
  int status;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  check(posix_spawn(&child, program, actions, NULL, arguments, environment) == 0);
  check(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  clock_gettime(CLOCK_MONOTONIC, &ended);
  return (double)(ended.tv_sec - begun.tv_sec) * 1e6 + (double)(ended.tv_nsec - begun.tv_nsec) / 1e3;
}

static int by_size(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return (difference > 0) - (difference < 0);
}

static void print_quantiles(const char *name, double us[rounds]) {
  qsort(us, rounds, sizeof *us, by_size);
  printf("%-22s p50 %7.0f us   p90 %7.0f us   p99 %7.0f us\n", name, us[rounds / 2], us[rounds * 9 / 10],
         us[rounds * 99 / 100]);
}

int main(int count, char **arguments) {
  check(count == 2);
  alarm(120);
  char directory[] = "/tmp/fltest-bench-XXXXXX", variable[128];
  check(mkdtemp(directory) != NULL);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/cni.sock", directory);
  snprintf(variable, sizeof variable, "FAIRLEAD_SOCKET=%s", address.sun_path);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 64) == 0);
  pid_t server = fork();
  check(server >= 0);
  if (server == 0) serve(listener);
  char *environment[] = {
      "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/x", variable, NULL};
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDIN_FILENO, "/dev/null", 0, 0);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", 1, 0);
  static double idle[rounds], version[rounds], added[rounds];
  char *ask_version[] = {"CNI_COMMAND=VERSION", NULL};
  for (int i = -warm_up; i < rounds; i += 1) {
    /* In turns: whatever else the machine does meets all three alike. */
    int at = i < 0 ? 0 : i;
    idle[at] = spawn_us("/bin/true", nothing, &quiet);
    version[at] = spawn_us(arguments[1], ask_version, &quiet);
    added[at] = spawn_us(arguments[1], environment, &quiet);
  }
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
  unlink(address.sun_path);
  rmdir(directory);
  print_quantiles("/bin/true", idle);
  print_quantiles("fairlead-cni VERSION", version);
  print_quantiles("fairlead-cni ADD", added);
  return 0;
}
