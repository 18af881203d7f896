/* Drives the listening socket: its mode, callers with and without a request, descriptors run out, sends. */
#include "../core.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char path[108];

static int open_door(void) {
  snprintf(path, sizeof path, "/tmp/fltest-door-%d", (int)getpid());
  unlink(path);
  int door = -1;
  check(door_open(path, 8, &door).code == 0);
  return door;
}

static int call_door(const char *text) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  check(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
  check(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  return fd;
}

static void the_file_is_the_owners_alone(void) {
  mode_t before = umask(0);
  int door = open_door();
  umask(before);
  struct stat status;
  check(stat(path, &status) == 0 && (status.st_mode & 0777) == 0600);
  int second = -1;
  check(door_open(path, 8, &second).code == EADDRINUSE && second == -1);
  char long_path[200];
  memset(long_path, 'x', sizeof long_path);
  long_path[199] = '\0';
  check(door_open(long_path, 8, &second).code == ENAMETOOLONG);
  close(door);
}

static void callers_come_with_what_they_sent(void) {
  int door = open_door(), spare = door_spare();
  uint8_t bytes[8];
  struct caller caller;
  check(door_accept(door, &spare, bytes, sizeof bytes, &caller).code == EAGAIN);
  const struct {
    const char *text;
    size_t len;
  } cases[] = {{"", 0}, {"short", 5}, {"longer than there is room", 8}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i += 1) {
    int client = call_door(cases[i].text);
    check(door_accept(door, &spare, bytes, sizeof bytes, &caller).code == 0);
    check(caller.len == cases[i].len && memcmp(bytes, cases[i].text, caller.len) == 0);
    check(caller.peer.pid == getpid() && caller.peer.uid == getuid() && caller.peer.gid == getgid());
    check((fcntl(caller.fd, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(caller.fd, F_GETFD) & FD_CLOEXEC) != 0);
    close(client);
    close(caller.fd);
  }
  int gone = call_door("sent and left");
  close(gone);
  check(door_accept(door, &spare, bytes, sizeof bytes, &caller).code == 0 && caller.len == sizeof bytes);
  close(caller.fd);
  close(spare);
  close(door);
}

/* No further descriptor can be opened until setrlimit is called with what this gives. */
static struct rlimit forbid_more(int any_fd) {
  struct rlimit before;
  int lowest_free = dup(any_fd);
  close(lowest_free);
  check(getrlimit(RLIMIT_NOFILE, &before) == 0);
  struct rlimit tight = {.rlim_cur = (rlim_t)lowest_free, .rlim_max = before.rlim_max};
  check(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  return before;
}

static void without_descriptors_callers_are_turned_away(void) {
  int door = open_door(), spare = door_spare();
  int clients[3];
  for (int i = 0; i < 3; i += 1)
    clients[i] = call_door("x");
  struct rlimit before = forbid_more(door);
  uint8_t bytes[8];
  struct caller caller;
  for (int i = 0; i < 3; i += 1)
    check(door_accept(door, &spare, bytes, sizeof bytes, &caller).code == EMFILE && spare >= 0);
  check(door_accept(door, &spare, bytes, sizeof bytes, &caller).code == EAGAIN);
  check(setrlimit(RLIMIT_NOFILE, &before) == 0);
  for (int i = 0; i < 3; i += 1) {
    check(read(clients[i], bytes, sizeof bytes) <= 0); /* it hears the end */
    close(clients[i]);
  }
  int spent = -1;
  int client = call_door("x");
  before = forbid_more(door);
  check(door_accept(door, &spent, bytes, sizeof bytes, &caller).code ==
        EMFILE); /* without a spare: no harm */
  check(setrlimit(RLIMIT_NOFILE, &before) == 0);
  check(door_accept(door, &spare, bytes, sizeof bytes, &caller).code == 0);
  close(caller.fd);
  close(client);
  close(spare);
  close(door);
}

static void sends_take_what_fits(void) {
  static uint8_t much[4 << 20];
  int door = open_door(), spare = door_spare();
  int client = call_door("x");
  uint8_t bytes[8];
  struct caller caller;
  check(door_accept(door, &spare, bytes, sizeof bytes, &caller).code == 0);
  size_t sent = 0;
  check(connection_send(caller.fd, bytes, 1, &sent).code == 0 && sent == 1);
  check(connection_send(caller.fd, much, sizeof much, &sent).code == 0 && sent > 0 && sent < sizeof much);
  check(connection_send(caller.fd, much, sizeof much, &sent).code == 0 && sent == 0);
  close(client);
  check(connection_send(caller.fd, much, 1, &sent).code == EPIPE);
  close(caller.fd);
  close(spare);
  close(door);
}

int main(void) {
  begin_driver();
  test(the_file_is_the_owners_alone);
  test(callers_come_with_what_they_sent);
  test(without_descriptors_callers_are_turned_away);
  test(sends_take_what_fits);
  unlink(path);
  puts("the agent's door");
  return 0;
}
