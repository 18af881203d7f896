/* The shim without its flow: frames, error objects, exchanges, release files. test/ drives it too. */
#ifndef FAIRLEAD_SHIM_CORE_H
#define FAIRLEAD_SHIM_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  frame_header_len = 12,
  frame_version = 1,
  frame_body_len_max = 1 << 20,
  frame_entries_max = 64,
  error_text_len_max = 1024,

  connect_ms_max = 5000, /* an agent's upgrade takes less */
  /* An error makes the node NotReady and takes its pods out of Services, which run well: an agent that died
     twice is started again after 10 s. A kubelet gives a node up whose runtime has not answered for 30 s. */
  status_connect_ms_max = 20000,
  status_ms_max = 28000, /* with the answer, however often an agent dies over it */
  retry_most_ms = 50,    /* between two tries to reach an agent */
  stdin_ms_max = 10000,
  add_ms_max = 60000, /* the pool wait and the work, far within the runtime's limit of minutes */
  other_ms_max = 20000,
  stdout_ms_max = 20000,

  code_bad_environment = 4,
  code_io_failure = 5,
  code_decode = 6,
  code_try_again = 11,
  code_not_available = 50,
};

#define cni_version "1.1.0"
#define supported_versions "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""

/* A request frame while it is being made. */
struct frame {
  size_t len; /* header included */
  uint8_t bytes[frame_header_len + frame_body_len_max];
};

/* What went wrong, for the caller of the plugin; code 0 is success. */
struct trouble {
  unsigned code;
  char text[error_text_len_max];
};

struct reply {
  uint8_t exit_code;
  size_t body_len;
  bool is_cut; /* the agent was gone before its answer was complete */
};

/* --- shim_frame.c: pure --- */

/* Begins a request with the CNI and trace entries of `environment`. */
void frame_begin(struct frame *frame, char *const environment[], struct trouble *trouble);
/* Room that is left for stdin. */
size_t frame_room(const struct frame *frame);
/* Writes the header's length; stdin has been put at bytes + len and counted in len. */
void frame_finish(struct frame *frame);
/* Reads the header of a reply; false with a reason where it is none of ours. */
bool reply_decode(const uint8_t header[frame_header_len], struct reply *reply, const char **reason);
/* Writes one CNI error object and a line break; gives its length. `text` may be any bytes; it is cut to fit.
 */
size_t error_object(char *out, size_t out_len, unsigned code, const char *text);
void trouble_set(struct trouble *trouble, unsigned code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- shim_exchange.c: descriptors with a deadline --- */

int64_t now_ns(void);
int64_t deadline_in(int64_t ms);
/* Sleeps for `ms`, less where the deadline is nearer; false at the deadline. */
bool rest(int64_t ms, int64_t deadline_ns);
/* Reads stdin to its end into the frame. */
void read_stdin(int fd, struct frame *frame, int64_t bound_ms, struct trouble *trouble);
/* Connects to the agent; retries while it is not there yet. Gives the socket, or -1 with the errno in *code.
 */
int connect_agent(const char *path, int64_t deadline_ns, int *code);
/* Sends the request, half-closes, reads the reply: its header into *reply, its body into `body`. NULL or the
 * reason of failure. */
const char *exchange_frames(int socket, const struct frame *request, int64_t deadline_ns, struct reply *reply,
                            uint8_t *body);
/* True when every byte is written. */
bool write_fully(int fd, const void *bytes, size_t len, int64_t deadline_ns);

/* --- shim_release.c --- */

/* Leaves a DEL for the agent's next start: a durable file in the directory `releases` beside the socket. */
void write_release(const char *socket_path, const struct frame *request, struct trouble *trouble);

#endif
