/* fairlead-cni, the CNI binary: hands one call to the node's agent and gives its answer back. */
#include "shim_core.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static struct frame request;
static uint8_t body[frame_body_len_max];

/* An empty variable counts as absent, as for other plugins. */
static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value == NULL || *value == '\0' ? NULL : value;
}

static int print(const void *bytes, size_t len, int exit_code) {
  bool written = write_fully(STDOUT_FILENO, bytes, len, deadline_in(stdout_ms_max));
  return written || exit_code != 0 ? exit_code : 1;
}

static int fail(unsigned code, const char *text) {
  char object[error_text_len_max + 256];
  return print(object, error_object(object, sizeof object, code, text), 1);
}

static int usage(void) {
  static const char text[] =
      "fairlead-cni: the CNI plugin of Fairlead. A container runtime runs it with CNI_COMMAND and the other "
      "CNI_\n"
      "variables set and the network configuration on stdin; it passes the call to the agent of this node.\n"
      "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n";
  (void)write_fully(STDERR_FILENO, text, sizeof text - 1, deadline_in(stdout_ms_max));
  return 0;
}

static int version(void) {
  static const char text[] =
      "{\"cniVersion\":\"" cni_version "\",\"supportedVersions\":[" supported_versions "]}\n";
  return print(text, sizeof text - 1, 0);
}

/* The bound in ms: `most`, or less where the variable says so (for tests and impatient operators). */
static int64_t bound_ms(const char *name, int64_t most) {
  const char *text = variable(name);
  if (text == NULL) return most;
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  return errno == 0 && *end == '\0' && value >= 0 && value < most ? value : most;
}

/* The agent cannot take the call: a DEL is left for it, anything else is told to the runtime. */
static int without_agent(const char *command, const char *socket_path, const char *reason) {
  struct trouble trouble = {0};
  if (strcmp(command, "DEL") != 0) {
    trouble_set(&trouble, strcmp(command, "STATUS") == 0 ? code_not_available : code_try_again,
                "the Fairlead agent of this node cannot be reached at %.128s: %s; see the log of the "
                "Fairlead agent on this node",
                socket_path, reason);
    return fail(trouble.code, trouble.text);
  }
  bool has_id = variable("CNI_CONTAINERID") != NULL, has_name = variable("CNI_IFNAME") != NULL;
  if (!has_id || !has_name) {
    trouble_set(&trouble, code_bad_environment, "required variables are missing: %s%s%s",
                has_id ? "" : "CNI_CONTAINERID", !has_id && !has_name ? ", " : "",
                has_name ? "" : "CNI_IFNAME");
    return fail(trouble.code, trouble.text);
  }
  write_release(socket_path, &request, &trouble);
  return trouble.code == 0 ? 0 : fail(trouble.code, trouble.text);
}

/* Connects and asks once; NULL or the reason why there is no answer. */
static const char *ask(const char *socket_path, int64_t connect_deadline_ns, int64_t reply_ms,
                       int64_t last_ns, struct reply *reply) {
  *reply = (struct reply){0};
  int code = 0;
  int fd = connect_agent(socket_path, connect_deadline_ns, &code);
  if (fd < 0) return strerror(code);
  int64_t deadline_ns = deadline_in(reply_ms);
  const char *reason =
      exchange_frames(fd, &request, deadline_ns < last_ns ? deadline_ns : last_ns, reply, body);
  close(fd);
  return reason;
}

static int forward(const char *command, const char *socket_path) {
  bool is_status = strcmp(command, "STATUS") == 0;
  int64_t deadline_ns =
      deadline_in(bound_ms("FAIRLEAD_CONNECT_MS", is_status ? status_connect_ms_max : connect_ms_max));
  int64_t reply_ms = bound_ms("FAIRLEAD_REPLY_MS", strcmp(command, "ADD") == 0 ? add_ms_max : other_ms_max);
  int64_t last_ns = is_status ? deadline_in(status_ms_max) : INT64_MAX;
  struct reply reply;
  const char *reason = ask(socket_path, deadline_ns, reply_ms, last_ns, &reply);
  /* STATUS changes nothing: where an agent dies over it, the next one is asked. */
  while (is_status && reply.is_cut && rest(retry_most_ms, deadline_ns))
    reason = ask(socket_path, deadline_ns, reply_ms, last_ns, &reply);
  return reason != NULL ? without_agent(command, socket_path, reason)
                        : print(body, reply.body_len, reply.exit_code);
}

/* A caller may start us with 0, 1 or 2 closed; the agent's socket must not become one of them. */
static bool fill_standard_descriptors(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd += 1)
    /* For reading only: stdin is empty then, and writing to stdout fails, as it should. */
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd) return false;
  return true;
}

int main(void) {
  (void)signal(SIGPIPE, SIG_IGN);
  const char *command = variable("CNI_COMMAND");
  if (command == NULL) return usage();
  if (!fill_standard_descriptors()) return 1;
  if (strcmp(command, "VERSION") == 0) return version();
  const char *socket_path = variable("FAIRLEAD_SOCKET");
  if (socket_path == NULL) socket_path = "/run/fairlead/cni.sock";
  struct trouble trouble = {0};
  if (strlen(socket_path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
    trouble_set(&trouble, code_bad_environment,
                "FAIRLEAD_SOCKET is %zu bytes long, a socket path at most %zu", strlen(socket_path),
                sizeof((struct sockaddr_un *)NULL)->sun_path - 1);
  if (trouble.code == 0) frame_begin(&request, environ, &trouble);
  if (trouble.code == 0) read_stdin(STDIN_FILENO, &request, stdin_ms_max, &trouble);
  if (trouble.code != 0) return fail(trouble.code, trouble.text);
  frame_finish(&request);
  return forward(command, socket_path);
}
