/* What the Node-API files share: an environment's state, descriptors, values and errors. */
#ifndef FAIRLEAD_ADDON_H
#define FAIRLEAD_ADDON_H

#include "core.h"

#include <node_api.h>

enum { lane_count = 3, argument_count_max = 4 };

struct worker;
struct watch;
struct door;

/* One per environment (main thread or Worker). Freed with its last user: the environment or a descriptor not
 * yet collected. */
struct addon {
  size_t users;
  napi_env env;
  struct worker *workers[lane_count]; /* started by their first call */
  struct watch *watches;
  size_t watch_count;
};

/* What a JavaScript descriptor object wraps. `descriptor` is NULL once closed. */
struct handle {
  struct addon *addon;
  struct descriptor *descriptor;
  struct watch *watch;
  struct door *door;
};

/* --- addon.c --- */
struct addon *addon_of(napi_env env);
void addon_release(struct addon *addon);
/* Makes sure that the threads end before Node takes down the thread-safe functions made so far. */
void addon_arm_cleanup(struct addon *addon);

/* --- addon_values.c --- */
void read_arguments(napi_env env, napi_callback_info info, napi_value arguments[argument_count_max]);
napi_value undefined(napi_env env);
napi_value make_text(napi_env env, const char *text);
/* An Error with `code` (errno name), a message that begins with the step, and `index` where an item of a list
 * failed. */
napi_value make_error(napi_env env, struct failure failure);
/* Throws where `failure` is one; gives `value` else. */
napi_value value_or_throw(napi_env env, struct failure failure, napi_value value);
struct failure read_integer(napi_env env, napi_value value, int64_t least, int64_t most, int64_t *result);
/* A string without NUL, to be freed by the caller. */
struct failure read_text(napi_env env, napi_value value, size_t len_max, char **result);
/* An array of such strings; `*result` has `*count` entries, all to be freed with free_texts. */
struct failure read_texts(napi_env env, napi_value value, size_t len_max, size_t *count, char ***result);
void free_texts(size_t count, char **texts);
/* An array of at most `count_max` integers from 1 on, to be freed by the caller; a failure names `what`. */
struct failure read_indexes(napi_env env, napi_value value, const char *what, size_t count_max, size_t *count,
                            uint32_t **result);
struct failure read_bytes(napi_env env, napi_value value, size_t len_max, uint8_t **result, size_t *len);
/* EINVAL for anything but a descriptor of ours, EBADF for a closed one. */
struct failure read_handle(napi_env env, napi_value value, struct handle **handle);
struct failure read_descriptor(napi_env env, napi_value value, enum descriptor_kind kind,
                               struct handle **handle);
/* Takes over `fd` whatever the outcome. */
napi_value make_handle(napi_env env, struct addon *addon, enum descriptor_kind kind, int fd);

/* --- addon_calls.c: promises --- */
napi_value addon_call(napi_env env, napi_callback_info info);
napi_value addon_first_part(napi_env env, napi_callback_info info);
napi_value addon_next_part(napi_env env, napi_callback_info info);
napi_value addon_write_sysctls(napi_env env, napi_callback_info info);
napi_value addon_read_sysctls(napi_env env, napi_callback_info info);
napi_value addon_tcx_programs(napi_env env, napi_callback_info info);
/* Lets go of a closed descriptor; of a namespace only once all calls made before are done: one may hold its
 * number. */
void retire_descriptor(struct addon *addon, struct descriptor *descriptor);
/* `env` is NULL where the environment is going away and no promise can be settled any more. */
void stop_workers(struct addon *addon, napi_env env);

/* --- addon_watch.c: monitors --- */
napi_value addon_monitor(napi_env env, napi_callback_info info);
void stop_watch(struct watch *watch);
void stop_watches(struct addon *addon);

/* --- addon_door.c: callers on the agent's socket --- */
napi_value addon_listen(napi_env env, napi_callback_info info);
napi_value addon_send(napi_env env, napi_callback_info info);
napi_value addon_take_over(napi_env env, napi_callback_info info);
void stop_door(struct door *door);

#endif
