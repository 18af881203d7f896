/* Runs programs one after another and says how long each took, so that the cost of starting them from Node is
 * in no figure. */

/*
 * Standard input, one instruction a line:
 *   arg TEXT        the next argument; the first one is the program's path
 *   env NAME=VALUE  one variable of its environment, which has no others
 *   in PATH         its standard input, /dev/null if absent
 *   out PATH        its standard output, emptied first, /dev/null if absent
 *   go              run it
 * After each go, one line on standard output: "EXIT NANOSECONDS". EXIT is 128 + the signal for a program that
 * one ended. The time is from just before posix_spawn to the return of waitpid. Anything unknown ends this
 * program with 2.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { words_max = 64, run_s_max = 60 };

struct run {
  char *args[words_max + 1];
  char *env[words_max + 1];
  size_t arg_count;
  size_t env_count;
  int in;
  int out;
};

static volatile sig_atomic_t running;

static void fail(const char *format, ...) {
  va_list values;
  va_start(values, format);
  fputs("bench spawn: ", stderr);
  vfprintf(stderr, format, values);
  fputc('\n', stderr);
  va_end(values);
  exit(2);
}

static void end_running(int signal_number) {
  (void)signal_number;
  if (running > 0) kill((pid_t)running, SIGKILL);
}

static char *copy(const char *text) {
  char *made = strdup(text);
  if (made == NULL) fail("out of memory");
  return made;
}

static void add_word(char **words, size_t *count, const char *text) {
  if (*count == words_max) fail("more than %d words", words_max);
  words[(*count)++] = copy(text);
}

/* Opened before the clock runs; close-on-exec, so that only the copies at 0 and 1 reach the program. */
static void open_as(int *fd, const char *path, int flags) {
  if (*fd >= 0) close(*fd);
  *fd = open(path, flags | O_CLOEXEC, 0600);
  if (*fd < 0) fail("%s: %s", path, strerror(errno));
}

static int exit_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void go(struct run *run) {
  if (run->arg_count == 0) fail("go without a program");
  if (run->in < 0) open_as(&run->in, "/dev/null", O_RDONLY);
  if (run->out < 0) open_as(&run->out, "/dev/null", O_WRONLY);
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0 ||
      posix_spawn_file_actions_adddup2(&actions, run->in, 0) != 0 ||
      posix_spawn_file_actions_adddup2(&actions, run->out, 1) != 0)
    fail("out of memory");

  pid_t pid;
  int status = 0;
  pid_t ended;
  const int64_t started_ns = now_ns();
  const int error = posix_spawn(&pid, run->args[0], &actions, NULL, run->args, run->env);
  if (error != 0) fail("%s: %s", run->args[0], strerror(error));
  running = pid;
  alarm(run_s_max);
  do
    ended = waitpid(pid, &status, 0);
  while (ended < 0 && errno == EINTR);
  const int64_t took_ns = now_ns() - started_ns;
  running = 0;
  alarm(0);
  if (ended < 0) fail("waitpid: %s", strerror(errno));
  posix_spawn_file_actions_destroy(&actions);
  printf("%d %lld\n", exit_of(status), (long long)took_ns);
  fflush(stdout);
}

static void forget(struct run *run) {
  while (run->arg_count > 0)
    free(run->args[--run->arg_count]);
  while (run->env_count > 0)
    free(run->env[--run->env_count]);
  if (run->in >= 0) close(run->in);
  if (run->out >= 0) close(run->out);
  *run = (struct run){.in = -1, .out = -1};
}

int main(void) {
  struct run run = {.in = -1, .out = -1};
  char *line = NULL;
  size_t size = 0;
  struct sigaction on_alarm = {.sa_handler = end_running};
  sigaction(SIGALRM, &on_alarm, NULL);
  while (getline(&line, &size, stdin) >= 0) {
    line[strcspn(line, "\n")] = '\0';
    char *text = strchr(line, ' ');
    if (text != NULL) *text++ = '\0';
    if (strcmp(line, "go") == 0) {
      go(&run);
      forget(&run);
    } else if (text == NULL) {
      fail("'%s' is no instruction, or lacks its text", line);
    } else if (strcmp(line, "arg") == 0) {
      add_word(run.args, &run.arg_count, text);
    } else if (strcmp(line, "env") == 0) {
      add_word(run.env, &run.env_count, text);
    } else if (strcmp(line, "in") == 0) {
      open_as(&run.in, text, O_RDONLY);
    } else if (strcmp(line, "out") == 0) {
      open_as(&run.out, text, O_WRONLY | O_CREAT | O_TRUNC);
    } else {
      fail("'%s' is no instruction", line);
    }
  }
  forget(&run);
  free(line);
  return 0;
}
