/* Runs programs, one after another or many at once, and says how long each took, so that the cost of starting
 * them from Node is in no figure. */

/*
 * Standard input, one instruction a line:
 *   arg TEXT        the next argument; the first one is the program's path
 *   env NAME=VALUE  one variable of its environment, which has no others
 *   in PATH         its standard input, /dev/null if absent
 *   out PATH        its standard output, emptied first, /dev/null if absent
 *   go              run it
 *   keep -          do not run it yet
 *   burst -         run all that were kept at once, and forget them
 *   cycle N MS      of those that were kept, the 1st and 2nd are a pair, the 3rd and 4th the next: N pairs
 * run at a time, each its second program after its first, one after another and from the beginning again,
 * until that time is over. Then all are forgotten
 *
 * On standard output, one line for each run in the order in which they were kept (go, burst) or ended
 * (cycle): "EXIT NANOSECONDS", with " INDEX" behind it after cycle, whose last line has no index and the time
 * of all of it. EXIT is 128 + the signal for a program that one ended. The time is from just before
 * posix_spawn to the return of waitpid; after burst, from just before the first of all. Anything unknown ends
 * this program with 2.
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

enum { words_max = 64, run_s_max = 60, kept_max = 512 };

struct run {
  char *args[words_max + 1];
  char *env[words_max + 1];
  size_t arg_count;
  size_t env_count;
  int in;
  int out;
  pid_t pid;
  int64_t started_ns;
  int64_t took_ns;
  int exit;
};

/* Those that run; what the alarm ends. */
static volatile pid_t running[kept_max];

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
  for (size_t at = 0; at < kept_max; at++)
    if (running[at] > 0) kill(running[at], SIGKILL);
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

/* Reads and writes its files from their beginning, also where it ran before. */
static void start(struct run *run, size_t at) {
  if (run->arg_count == 0) fail("nothing to run: no program was named");
  if (run->in < 0) open_as(&run->in, "/dev/null", O_RDONLY);
  if (run->out < 0) open_as(&run->out, "/dev/null", O_WRONLY);
  lseek(run->in, 0, SEEK_SET);
  lseek(run->out, 0, SEEK_SET);
  if (ftruncate(run->out, 0) != 0 && errno != EINVAL) fail("standard output: %s", strerror(errno));
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0 ||
      posix_spawn_file_actions_adddup2(&actions, run->in, 0) != 0 ||
      posix_spawn_file_actions_adddup2(&actions, run->out, 1) != 0)
    fail("out of memory");
  run->started_ns = now_ns();
  const int error = posix_spawn(&run->pid, run->args[0], &actions, NULL, run->args, run->env);
  if (error != 0) fail("%s: %s", run->args[0], strerror(error));
  running[at] = run->pid;
  posix_spawn_file_actions_destroy(&actions);
}

/* Waits for whichever of them ends next; gives its place. */
static size_t reap(struct run *runs, size_t count) {
  int status = 0;
  pid_t ended;
  do
    ended = waitpid(-1, &status, 0);
  while (ended < 0 && errno == EINTR);
  const int64_t ended_ns = now_ns();
  if (ended < 0) fail("waitpid: %s", strerror(errno));
  for (size_t at = 0; at < count; at++) {
    if (running[at] != ended) continue;
    running[at] = 0;
    runs[at].took_ns = ended_ns - runs[at].started_ns;
    runs[at].exit = exit_of(status);
    return at;
  }
  fail("process %d is none of ours", (int)ended);
  return 0;
}

static void tell(const struct run *run) {
  printf("%d %lld\n", run->exit, (long long)run->took_ns);
}

static void go(struct run *run) {
  alarm(run_s_max);
  start(run, 0);
  reap(run, 1);
  alarm(0);
  tell(run);
}

static void burst(struct run *runs, size_t count) {
  alarm(run_s_max);
  const int64_t started_ns = now_ns();
  for (size_t at = 0; at < count; at++) {
    start(&runs[at], at);
    runs[at].started_ns = started_ns;
  }
  for (size_t left = count; left > 0; left--)
    reap(runs, count);
  alarm(0);
  for (size_t at = 0; at < count; at++)
    tell(&runs[at]);
}

static void cycle(struct run *runs, size_t count, const char *text) {
  char *rest;
  const long at_a_time = strtol(text, &rest, 10);
  const long ms = *rest == ' ' ? strtol(rest + 1, &rest, 10) : 0;
  if (*rest != '\0' || ms <= 0 || ms > 600000) fail("'cycle %s' has no time in ms up to 600000", text);
  if (count % 2 != 0) fail("cycle needs pairs, not %zu programs", count);
  const size_t pairs = count / 2;
  /* One to spare: the pair that comes next must not be under way still. */
  if (at_a_time < 1 || (size_t)at_a_time >= pairs)
    fail("%zu pairs cannot run %ld at a time", pairs, at_a_time);
  const int64_t started_ns = now_ns();
  const int64_t until_ns = started_ns + (int64_t)ms * 1000000;
  size_t next = 0;
  size_t left = 0;
  for (; left < (size_t)at_a_time; left++, next++)
    start(&runs[2 * next], 2 * next);
  while (left > 0) {
    alarm(run_s_max);
    const size_t at = reap(runs, count);
    printf("%d %lld %zu\n", runs[at].exit, (long long)runs[at].took_ns, at);
    if (at % 2 == 0) {
      start(&runs[at + 1], at + 1);
      continue;
    }
    if (now_ns() >= until_ns) {
      left--;
      continue;
    }
    while (running[2 * (next % pairs)] > 0 || running[2 * (next % pairs) + 1] > 0)
      next++;
    start(&runs[2 * (next % pairs)], 2 * (next % pairs));
    next++;
  }
  alarm(0);
  printf("0 %lld\n", (long long)(now_ns() - started_ns));
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
  static struct run kept[kept_max];
  size_t kept_count = 0;
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
      fflush(stdout);
    } else if (text == NULL) {
      fail("'%s' is no instruction, or lacks its text", line);
    } else if (strcmp(line, "arg") == 0) {
      add_word(run.args, &run.arg_count, text);
    } else if (strcmp(line, "env") == 0) {
      add_word(run.env, &run.env_count, text);
    } else if (strcmp(line, "keep") == 0) {
      if (kept_count == kept_max) fail("more than %d programs are kept", kept_max);
      kept[kept_count++] = run;
      run = (struct run){.in = -1, .out = -1};
    } else if (strcmp(line, "burst") == 0 || strcmp(line, "cycle") == 0) {
      if (line[0] == 'b')
        burst(kept, kept_count);
      else
        cycle(kept, kept_count, text);
      while (kept_count > 0)
        forget(&kept[--kept_count]);
      fflush(stdout);
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
