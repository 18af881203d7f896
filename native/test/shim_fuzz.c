/* Fuzzes the shim: any environment and stdin are framed as they are, any reply and text survived. */
#include "../shim_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { entries_tried_max = 80 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct frame frame;
static struct trouble trouble;

static void require(bool condition) {
  if (!condition) abort();
}

static bool is_wanted(const char *entry) {
  return (strncmp(entry, "CNI_", 4) == 0 && strchr(entry, '=') != NULL) ||
         strncmp(entry, "TRACEPARENT=", 12) == 0 || strncmp(entry, "TRACESTATE=", 11) == 0 ||
         strncmp(entry, "BAGGAGE=", 8) == 0;
}

/* Reads the frame by the text of the format, sharing nothing with the code that wrote it. */
static void check_frame(char *const environment[], const uint8_t *input, size_t input_len) {
  const uint8_t *at = frame.bytes;
  size_t count = (size_t)at[6] * 256 + at[7], body_len = 0;
  for (int i = 8; i < 12; i += 1)
    body_len = body_len * 256 + at[i];
  require(memcmp(at, "FRLD\0\1", 6) == 0 && body_len == frame.len - 12 && body_len <= 1048576);
  at += 12;
  for (size_t i = 0; environment[i] != NULL; i += 1) {
    if (!is_wanted(environment[i])) continue;
    size_t name_len = strcspn(environment[i], "="), value_len = strlen(environment[i] + name_len + 1);
    require((size_t)at[0] * 256 + at[1] == name_len);
    require((((size_t)at[2] * 256 + at[3]) * 256 + at[4]) * 256 + at[5] == value_len);
    require(memcmp(at + 6, environment[i], name_len) == 0);
    require(memcmp(at + 6 + name_len, environment[i] + name_len + 1, value_len) == 0);
    at += 6 + name_len + value_len;
    count -= 1;
  }
  require(count == 0 && (size_t)(frame.bytes + frame.len - at) == input_len);
  require(memcmp(at, input, input_len) == 0);
}

static void frame_input(char *const environment[], const uint8_t *input, size_t input_len) {
  int pipe_ends[2];
  trouble.code = 0;
  frame_begin(&frame, environment, &trouble);
  require(frame.len <= sizeof frame.bytes);
  if (trouble.code != 0 || input_len > 4096) return;
  require(pipe(pipe_ends) == 0 && write(pipe_ends[1], input, input_len) == (ssize_t)input_len);
  close(pipe_ends[1]);
  read_stdin(pipe_ends[0], &frame, stdin_ms_max, &trouble);
  close(pipe_ends[0]);
  require(trouble.code == 0);
  frame_finish(&frame);
  check_frame(environment, input, input_len);
}

static void check_error_object(const char *text, size_t room) {
  char object[512];
  size_t len = error_object(object, room % sizeof object, 11, text);
  require(len <= room % sizeof object);
  for (size_t i = 0; i + 1 < len; i += 1)
    require((unsigned char)object[i] >= 0x20 && object[i] != 0x7f);
  require(len == 0 || (object[len - 1] == '\n' && object[len - 2] == '}' && object[len - 3] == '"'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct reply reply;
  const char *reason;
  if (size < frame_header_len) return 0;
  if (reply_decode(data, &reply, &reason))
    require(reply.body_len <= 1048576 && memcmp(data, "FRLD\0\1\0", 7) == 0);
  else
    require(reason != NULL);
  /* The rest: entries that end with a zero byte each, then an empty one, then stdin. */
  char *text = malloc(size + 1), *environment[entries_tried_max + 1];
  require(text != NULL);
  memcpy(text, data, size);
  text[size] = '\0';
  size_t at = frame_header_len, count = 0;
  while (at < size && text[at] != '\0' && count < entries_tried_max) {
    environment[count] = text + at;
    count += 1;
    at += strlen(text + at) + 1;
  }
  environment[count] = NULL;
  at = at + 1 < size ? at + 1 : size;
  check_error_object(text + frame_header_len, data[0] * 2U);
  frame_input(environment, data + at, size - at);
  free(text);
  return 0;
}
