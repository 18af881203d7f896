/* Owns the wire format between shim and agent, and the CNI error object: pure functions over buffers. */
#include "shim_core.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const trace_names[] = {"TRACEPARENT", "TRACESTATE", "BAGGAGE"};

static void put_u16(uint8_t *at, uint16_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static void put_u32(uint8_t *at, uint32_t value) {
  put_u16(at, (uint16_t)(value >> 16));
  put_u16(at + 2, (uint16_t)value);
}

static uint16_t get_u16(const uint8_t *at) {
  return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get_u32(const uint8_t *at) {
  return (uint32_t)get_u16(at) << 16 | get_u16(at + 2);
}

void trouble_set(struct trouble *trouble, unsigned code, const char *format, ...) {
  trouble->code = code;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(trouble->text, sizeof trouble->text, format, arguments);
  va_end(arguments);
}

/* Length of the name where the agent wants to know this entry, 0 else. */
static size_t wanted_name_len(const char *entry) {
  const char *equals = strchr(entry, '=');
  if (equals == NULL) return 0;
  size_t len = (size_t)(equals - entry);
  if (strncmp(entry, "CNI_", 4) == 0) return len;
  for (size_t i = 0; i < sizeof trace_names / sizeof *trace_names; i += 1)
    if (strlen(trace_names[i]) == len && memcmp(entry, trace_names[i], len) == 0) return len;
  return 0;
}

size_t frame_room(const struct frame *frame) {
  return sizeof frame->bytes - frame->len;
}

void frame_begin(struct frame *frame, char *const environment[], struct trouble *trouble) {
  uint16_t count = 0;
  frame->len = frame_header_len;
  for (size_t i = 0; environment[i] != NULL; i += 1) {
    size_t name_len = wanted_name_len(environment[i]);
    if (name_len == 0) continue;
    const char *value = environment[i] + name_len + 1;
    size_t value_len = strlen(value);
    if (count == frame_entries_max) {
      trouble_set(trouble, code_bad_environment, "more than %d CNI_ variables in the environment",
                  frame_entries_max);
      return;
    }
    if (name_len > UINT16_MAX || value_len > frame_body_len_max ||
        6 + name_len + value_len > frame_room(frame)) {
      trouble_set(trouble, code_bad_environment,
                  "%.64s: the CNI_ variables are longer than the limit of %d bytes", environment[i],
                  frame_body_len_max);
      return;
    }
    uint8_t *at = frame->bytes + frame->len;
    put_u16(at, (uint16_t)name_len);
    put_u32(at + 2, (uint32_t)value_len);
    memcpy(at + 6, environment[i], name_len);
    memcpy(at + 6 + name_len, value, value_len);
    frame->len += 6 + name_len + value_len;
    count += 1;
  }
  memcpy(frame->bytes, "FRLD", 4);
  put_u16(frame->bytes + 4, frame_version);
  put_u16(frame->bytes + 6, count);
}

void frame_finish(struct frame *frame) {
  put_u32(frame->bytes + 8, (uint32_t)(frame->len - frame_header_len));
}

bool reply_decode(const uint8_t header[frame_header_len], struct reply *reply, const char **reason) {
  uint16_t code = get_u16(header + 6);
  uint32_t len = get_u32(header + 8);
  *reason = NULL;
  if (memcmp(header, "FRLD", 4) != 0)
    *reason = "it answered with something that is no Fairlead frame";
  else if (get_u16(header + 4) != frame_version)
    *reason = "it answered with an unknown frame version";
  else if (code > UINT8_MAX)
    *reason = "it answered with an impossible exit code";
  else if (len > frame_body_len_max)
    *reason = "it answered with more than 1 MiB";
  *reply = (struct reply){.exit_code = (uint8_t)code, .body_len = len};
  return *reason == NULL;
}

/* Length of the UTF-8 sequence at `text`, 0 where it is none (RFC 3629: no overlong forms, no surrogates, to
 * U+10FFFF). */
static size_t utf8_len(const char *text) {
  const uint8_t *at = (const uint8_t *)text;
  size_t len = at[0] < 0x80   ? 1
               : at[0] < 0xc2 ? 0
               : at[0] < 0xe0 ? 2
               : at[0] < 0xf0 ? 3
               : at[0] < 0xf5 ? 4
                              : 0;
  for (size_t i = 1; i < len; i += 1)
    if ((at[i] & 0xc0) != 0x80) return 0;
  bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
  bool beyond = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
  return len > 1 && (overlong || beyond) ? 0 : len;
}

/* Writes the character at *text as JSON wants it, at most 6 bytes, and moves *text on. */
static size_t escape_one(char out[7], const char **text) {
  char first = **text;
  size_t len = utf8_len(*text);
  *text += len == 0 ? 1 : len;
  if (len == 0) return (size_t)snprintf(out, 7, "\\ufffd");
  if (first == '"' || first == '\\') return (size_t)snprintf(out, 7, "\\%c", first);
  if ((uint8_t)first < 0x20 || first == 0x7f) return (size_t)snprintf(out, 7, "\\u%04x", (unsigned)first);
  memcpy(out, *text - len, len);
  return len;
}

size_t error_object(char *out, size_t out_len, unsigned code, const char *text) {
  static const char end[] = "\"}\n";
  int written = snprintf(out, out_len, "{\"cniVersion\":\"" cni_version "\",\"code\":%u,\"msg\":\"", code);
  if (written < 0 || (size_t)written + sizeof end > out_len) return 0;
  size_t len = (size_t)written;
  while (*text != '\0') {
    char escaped[7];
    size_t escaped_len = escape_one(escaped, &text);
    if (len + escaped_len + sizeof end > out_len) break;
    memcpy(out + len, escaped, escaped_len);
    len += escaped_len;
  }
  memcpy(out + len, end, sizeof end - 1);
  return len + sizeof end - 1;
}
