/* Drives the shim's frames, exchanges and release files with hostile bytes and slow, broken peers. */
#include "../shim_core.h"
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct frame frame;
static uint8_t body[frame_body_len_max];
static struct trouble trouble;

static void only_wanted_entries_are_framed(void) {
  char *environment[] = {"PATH=/bin", "CNI_IFNAME=eth0", "NOEQUALS", "TRACEPARENT=00", "TRACEPARENTS=no",
                         "CNI_",      "CNI_EMPTY=",      "=x",       "XCNI_A=b",       NULL};
  static const uint8_t expected[] = "FRLD\0\1\0\3\0\0\0\x34"
                                    "\0\x0a\0\0\0\4CNI_IFNAMEeth0"
                                    "\0\x0b\0\0\0\2TRACEPARENT00"
                                    "\0\x09\0\0\0\0CNI_EMPTY{}";
  trouble.code = 0;
  frame_begin(&frame, environment, &trouble);
  check(trouble.code == 0);
  memcpy(frame.bytes + frame.len, "{}", 2);
  frame.len += 2;
  frame_finish(&frame);
  check(frame.len == sizeof expected - 1 && frame.bytes[11] == frame.len - 12);
  check(memcmp(frame.bytes, expected, 11) == 0 &&
        memcmp(frame.bytes + 12, expected + 12, frame.len - 12) == 0);
}

static void a_frame_has_limits(void) {
  static char names[frame_entries_max + 1][16];
  char *environment[frame_entries_max + 2] = {NULL};
  for (int i = 0; i <= frame_entries_max; i += 1) {
    trouble.code = 0;
    frame_begin(&frame, environment, &trouble);
    check(trouble.code == 0 && frame.bytes[7] == i);
    snprintf(names[i], sizeof names[i], "CNI_%d=x", i);
    environment[i] = names[i];
  }
  frame_begin(&frame, environment, &trouble);
  check(trouble.code == code_bad_environment);

  char *entry = malloc(frame_body_len_max + 64);
  check(entry != NULL);
  char *one[] = {entry, NULL};
  size_t value_len = frame_body_len_max - 6 - 5;
  memset(entry, 'x', frame_body_len_max + 64);
  memcpy(entry, "CNI_A=", 6);
  entry[6 + value_len] = '\0';
  trouble.code = 0;
  frame_begin(&frame, one, &trouble);
  check(trouble.code == 0 && frame_room(&frame) == 0);
  entry[6 + value_len] = 'x';
  entry[7 + value_len] = '\0';
  frame_begin(&frame, one, &trouble);
  check(trouble.code == code_bad_environment);
  memset(entry, 'x', 1 << 17); /* a name longer than its length field */
  memcpy(entry, "CNI_", 4);
  memcpy(entry + (1 << 16), "=v", 3);
  trouble.code = 0;
  frame_begin(&frame, one, &trouble);
  check(trouble.code == code_bad_environment);
  free(entry);
}

static void replies_of_another_kind_are_refused(void) {
  struct reply reply;
  const char *reason;
  uint8_t header[frame_header_len] = "FRLD\0\1\0\7\0\x10\0";
  check(reply_decode(header, &reply, &reason) && reply.exit_code == 7 &&
        reply.body_len == frame_body_len_max);
  static const struct {
    size_t at;
    uint8_t byte;
  } wrong[] = {{0, 'f'}, {3, 0}, {4, 1}, {5, 2}, {6, 1}, {8, 1}, {9, 0x20}, {11, 1}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i += 1) {
    uint8_t changed[frame_header_len];
    memcpy(changed, header, sizeof changed);
    changed[wrong[i].at] = wrong[i].byte;
    check(!reply_decode(changed, &reply, &reason) && reason != NULL);
  }
}

static void check_object(const char *text, const char *expected_msg) {
  char object[256], expected[256];
  size_t len = error_object(object, sizeof object, 5, text);
  int expected_len = snprintf(expected, sizeof expected,
                              "{\"cniVersion\":\"1.1.0\",\"code\":5,\"msg\":\"%s\"}\n", expected_msg);
  check(len == (size_t)expected_len && memcmp(object, expected, len) == 0);
}

static void error_objects_are_json_whatever_they_quote(void) {
  check_object("plain", "plain");
  check_object("a\"b\\c", "a\\\"b\\\\c");
  check_object("\n\t\x01\x1f\x7f", "\\u000a\\u0009\\u0001\\u001f\\u007f");
  check_object("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  check_object("\xff\xc3", "\\ufffd\\ufffd");
  check_object("\xc0\xaf\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd");
  char object[80];
  for (size_t room = 0; room < sizeof object; room += 1) {
    size_t len = error_object(object, room, 11, "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"");
    check(len <= room && (len == 0 || memcmp(object + len - 3, "\"}\n", 3) == 0));
  }
}

/* The other end of a connection: what it sends after it has read `read_len` bytes, how many bytes at a time,
 * and then closes. */
struct peer {
  int fd;
  size_t read_len;
  const void *bytes;
  size_t len;
  size_t step;
  bool stays;
};

static void *act(void *argument) {
  struct peer *peer = argument;
  static uint8_t received[sizeof frame.bytes];
  check(recv(peer->fd, received, peer->read_len, MSG_WAITALL) == (ssize_t)peer->read_len);
  for (size_t at = 0; at < peer->len; at += peer->step) {
    size_t left = peer->len - at;
    if (send(peer->fd, (const uint8_t *)peer->bytes + at, left < peer->step ? left : peer->step,
             MSG_NOSIGNAL) < 0)
      break;
  }
  if (!peer->stays) close(peer->fd);
  return NULL;
}

static const char *exchange_with(struct peer peer, int64_t bound_ms, struct reply *reply) {
  int fds[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  check(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
  peer.fd = fds[1];
  pthread_t thread;
  check(pthread_create(&thread, NULL, act, &peer) == 0);
  const char *reason = exchange_frames(fds[0], &frame, deadline_in(bound_ms), reply, body);
  close(fds[0]);
  pthread_join(thread, NULL);
  if (peer.stays) close(fds[1]);
  return reason;
}

static void replies_are_read_from_any_peer(void) {
  static const char good[] = "FRLD\0\1\0\3\0\0\0\5hello";
  struct reply reply;
  frame.len = sizeof frame.bytes;
  for (size_t step = 1; step < sizeof good; step += 1) {
    struct peer peer = {.read_len = frame.len, .bytes = good, .len = sizeof good - 1, .step = step};
    check(exchange_with(peer, 5000, &reply) == NULL);
    check(reply.exit_code == 3 && reply.body_len == 5 && memcmp(body, "hello", 5) == 0);
  }
  for (size_t len = 0; len < sizeof good - 1; len += 1) {
    struct peer cut = {.read_len = 1, .bytes = good, .len = len, .step = len + 1};
    check(exchange_with(cut, 5000, &reply) != NULL);
  }
  /* Refused before it was read: the answer counts all the same. */
  struct peer early = {.read_len = 12, .bytes = good, .len = sizeof good - 1, .step = 100};
  check(exchange_with(early, 5000, &reply) == NULL);
  struct peer silent = {.read_len = frame.len, .bytes = good, .len = 7, .step = 7, .stays = true};
  check(exchange_with(silent, 50, &reply) != NULL);
  struct peer stuck = {.stays = true};
  check(exchange_with(stuck, 50, &reply) != NULL);
  struct peer other = {.read_len = frame.len, .bytes = "HTTP/1.1 400", .len = 12, .step = 12};
  check(exchange_with(other, 5000, &reply) != NULL);
}

static void stdin_is_bounded(void) {
  static uint8_t junk[4096];
  char *none[] = {NULL};
  for (int extra = 0; extra <= 1; extra += 1) {
    FILE *file = tmpfile();
    check(file != NULL);
    for (int i = 0; i < frame_body_len_max / (int)sizeof junk; i += 1)
      check(fwrite(junk, sizeof junk, 1, file) == 1);
    check(fwrite(junk, (size_t)extra, 1, file) == (size_t)extra && fflush(file) == 0);
    check(lseek(fileno(file), 0, SEEK_SET) == 0);
    trouble.code = 0;
    frame_begin(&frame, none, &trouble);
    read_stdin(fileno(file), &frame, 5000, &trouble);
    check(trouble.code == (extra == 0 ? 0 : code_decode));
    check(frame.len == sizeof frame.bytes);
    fclose(file);
  }
  trouble.code = 0;
  frame_begin(&frame, none, &trouble);
  int unreadable = open("/", O_RDONLY | O_CLOEXEC);
  read_stdin(unreadable, &frame, 5000, &trouble);
  check(trouble.code == code_io_failure && strstr(trouble.text, strerror(EISDIR)) != NULL);
  close(unreadable);
  int ends[2];
  check(pipe(ends) == 0 && write(ends[1], "{", 1) == 1);
  trouble.code = 0;
  read_stdin(ends[0], &frame, 30, &trouble);
  check(trouble.code == code_io_failure && strstr(trouble.text, "30 ms") != NULL);
  close(ends[0]);
  close(ends[1]);
}

static void connecting_waits_only_for_what_may_come(const char *directory) {
  char path[PATH_MAX];
  int code = 0;
  snprintf(path, sizeof path, "%s/s", directory);
  int64_t begun = now_ns();
  check(connect_agent(path, deadline_in(60), &code) == -1 && code == ENOENT);
  check(now_ns() - begun >= 60 * 1000000);
  int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  check(file >= 0 && close(file) == 0);
  begun = now_ns();
  check(connect_agent(path, deadline_in(20), &code) == -1 && code == ECONNREFUSED);
  check(now_ns() - begun >= 20 * 1000000);
  char beyond[PATH_MAX + 8];
  snprintf(beyond, sizeof beyond, "%s/x", path);
  begun = now_ns();
  check(connect_agent(beyond, deadline_in(20000), &code) == -1 && code == ENOTDIR);
  check(now_ns() - begun < (int64_t)10000 * 1000000); /* no waiting */
  memset(beyond, 'x', 200);
  beyond[200] = '\0';
  check(connect_agent(beyond, deadline_in(20000), &code) == -1 && code == ENAMETOOLONG);
  check(unlink(path) == 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  check(strlen(path) < sizeof address.sun_path);
  memcpy(address.sun_path, path, strlen(path) + 1);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 0) == 0);
  int fd = connect_agent(path, deadline_in(1000), &code);
  check(fd >= 0);
  begun = now_ns();
  check(connect_agent(path, deadline_in(30), &code) == -1 && code == EAGAIN); /* the backlog is full */
  check(now_ns() - begun >= 30 * 1000000);
  close(fd);
  close(listener);
  check(unlink(path) == 0);
}

static void count_files(const char *directory, size_t *releases, size_t *others) {
  *releases = *others = 0;
  DIR *listing = opendir(directory);
  check(listing != NULL);
  for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
    size_t len = strlen(entry->d_name);
    if (len > 8 && strcmp(entry->d_name + len - 8, ".release") == 0)
      *releases += 1;
    else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      *others += 1;
  }
  closedir(listing);
}

static void a_release_is_left_whole_or_an_error_told(const char *directory) {
  char path[PATH_MAX], releases[PATH_MAX];
  size_t files, others;
  struct stat status;
  frame.len = sizeof frame.bytes;
  snprintf(path, sizeof path, "%s/a/b/cni.sock", directory);
  snprintf(releases, sizeof releases, "%s/a/b/releases", directory);
  umask(0777);
  for (size_t i = 1; i <= 3; i += 1) {
    trouble.code = 0;
    write_release(path, &frame, &trouble);
    check(trouble.code == 0);
    count_files(releases, &files, &others);
    check(files == i && others == 0);
  }
  check(stat(releases, &status) == 0 && (status.st_mode & 07777) == 0700);
  snprintf(path, sizeof path, "%s/file", directory);
  int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  check(file >= 0 && close(file) == 0);
  snprintf(path, sizeof path, "%s/file/cni.sock", directory);
  write_release(path, &frame, &trouble);
  check(trouble.code == code_io_failure && strstr(trouble.text, "/file/releases") != NULL);
  check(strstr(trouble.text, strerror(ENOTDIR)) != NULL);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat(int from, const char *old, int to, const char *new);
int __wrap_renameat(int from, const char *old, int to, const char *new);

/* What was done to make a release durable, in order: f a file synced, d a directory synced, r a rename. */
static char steps[64];
static char failing_step;

static int note(char step, int result) {
  size_t len = strlen(steps);
  check(len + 1 < sizeof steps);
  steps[len] = step;
  if (step != failing_step) return result;
  errno = EIO;
  return -1;
}

int __wrap_fsync(int fd) {
  struct stat status;
  check(fstat(fd, &status) == 0);
  return note(S_ISDIR(status.st_mode) ? 'd' : 'f', __real_fsync(fd));
}

int __wrap_renameat(int from, const char *old, int to, const char *new) {
  return failing_step == 'r' ? note('r', 0) : note('r', __real_renameat(from, old, to, new));
}

static void leave_release(const char *path, char failing) {
  memset(steps, 0, sizeof steps);
  failing_step = failing;
  trouble.code = 0;
  write_release(path, &frame, &trouble);
  failing_step = 0;
}

static void a_release_is_durable_before_it_counts(const char *directory) {
  char path[PATH_MAX], releases[PATH_MAX];
  size_t files, others;
  snprintf(path, sizeof path, "%s/c/d/cni.sock", directory);
  snprintf(releases, sizeof releases, "%s/c/d/releases", directory);
  leave_release(path, 0);
  check(trouble.code == 0 && strcmp(steps, "dddfrd") == 0); /* each new directory in its own parent first */
  leave_release(path, 0);
  check(trouble.code == 0 && strcmp(steps, "frd") == 0);
  static const char failing[] = "frd";
  for (size_t i = 0; i < sizeof failing - 1; i += 1) {
    leave_release(path, failing[i]);
    check(trouble.code == code_io_failure && strstr(trouble.text, strerror(EIO)) != NULL);
    count_files(releases, &files, &others);
    /* Only where the last step failed is there a file: it may be taken for a release, which is no harm. */
    check(files == (failing[i] == 'd' ? 3 : 2) && others == 0);
  }
}

int main(void) {
  begin_driver();
  char directory[] = "/tmp/fltest-shim-XXXXXX", command[64];
  check(mkdtemp(directory) != NULL);
  test(only_wanted_entries_are_framed);
  test(a_frame_has_limits);
  test(replies_of_another_kind_are_refused);
  test(error_objects_are_json_whatever_they_quote);
  test(replies_are_read_from_any_peer);
  test(stdin_is_bounded);
  test(connecting_waits_only_for_what_may_come, directory);
  test(a_release_is_left_whole_or_an_error_told, directory);
  test(a_release_is_durable_before_it_counts, directory);
  snprintf(command, sizeof command, "rm -rf %s", directory);
  check(system(command) == 0);
  printf("the shim's frames, exchanges and release files\n");
  return 0;
}
