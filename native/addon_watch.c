/* Owns monitors as JavaScript sees them: a bounded queue from each one's thread to its callback. */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>

enum {
  /* Datagrams that wait for the event loop; beyond it events are lost, and told as lost. */
  watch_queue_len_max = 1024,
  /* Each has a thread. */
  watch_count_max = 64,
};

/* Lives until Node finalizes `deliver`. */
struct watch {
  struct watch *next;
  struct handle *handle;
  struct monitor *monitor;
  napi_threadsafe_function deliver;
  napi_ref owner; /* the descriptor object is not collected while it is watched */
};

struct event {
  uint8_t *bytes; /* NULL: events were lost */
  size_t len;
};

/* On the monitor's thread. */
static bool deliver_event(void *context, uint8_t *bytes, size_t len) {
  struct watch *watch = context;
  struct event *event = malloc(sizeof *event);
  if (event == NULL) return false;
  *event = (struct event){bytes, len};
  if (napi_call_threadsafe_function(watch->deliver, event, napi_tsfn_nonblocking) == napi_ok) return true;
  free(event);
  return false;
}

/* On the event loop; `env` is NULL where the watch has ended meanwhile. */
static void call_back(napi_env env, napi_value function, void *context, void *data) {
  (void)context;
  struct event *event = data;
  if (env != NULL) {
    napi_value argument = undefined(env), error = NULL;
    if (event->bytes != NULL) (void)napi_create_buffer_copy(env, event->len, event->bytes, NULL, &argument);
    /* What the callback throws is as fatal as in any other event handler. */
    if (napi_call_function(env, undefined(env), function, 1, &argument, NULL) == napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
      (void)napi_fatal_exception(env, error);
  }
  free(event->bytes);
  free(event);
}

static void free_watch(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  free(data);
}

static struct failure start_watch(napi_env env, struct handle *handle, napi_value object, napi_value function,
                                  size_t group_count, const uint32_t groups[]) {
  struct watch *watch = calloc(1, sizeof *watch);
  if (watch == NULL) return failed(ENOMEM, "monitor");
  watch->handle = handle;
  if (napi_create_threadsafe_function(env, function, NULL, make_text(env, "fl-monitor"), watch_queue_len_max,
                                      1, watch, free_watch, watch, call_back, &watch->deliver) != napi_ok) {
    free(watch);
    return failed(EINVAL, "callback");
  }
  (void)napi_unref_threadsafe_function(env, watch->deliver);
  addon_arm_cleanup(handle->addon);
  struct failure failure = monitor_start(&watch->monitor, descriptor_fd(handle->descriptor), group_count,
                                         groups, deliver_event, watch);
  if (failure.code != 0) {
    (void)napi_release_threadsafe_function(watch->deliver, napi_tsfn_abort);
    return failure;
  }
  (void)napi_create_reference(env, object, 1, &watch->owner);
  handle->addon->watch_count += 1;
  watch->next = handle->addon->watches;
  handle->addon->watches = watch;
  handle->watch = watch;
  return succeeded();
}

napi_value addon_monitor(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max];
  read_arguments(env, info, arguments);
  struct handle *handle;
  uint32_t *groups = NULL;
  size_t group_count = 0;
  napi_valuetype type = napi_undefined;
  struct failure failure = read_descriptor(env, arguments[0], descriptor_netlink, &handle);
  if (failure.code == 0)
    failure = read_indexes(env, arguments[1], "groups", monitor_groups_max, &group_count, &groups);
  if (failure.code == 0 && (napi_typeof(env, arguments[2], &type) != napi_ok || type != napi_function))
    failure = failed(EINVAL, "callback");
  /* Answers and events would be taken for each other. */
  if (failure.code == 0 && (handle->watch != NULL || !descriptor_is_sole(handle->descriptor)))
    failure = failed(EBUSY, "socket in use");
  if (failure.code == 0 && handle->addon->watch_count == watch_count_max)
    failure = failed(EAGAIN, "too many monitors");
  if (failure.code == 0) failure = start_watch(env, handle, arguments[0], arguments[2], group_count, groups);
  free(groups);
  return value_or_throw(env, failure, undefined(env));
}

void stop_watch(struct watch *watch) {
  struct addon *addon = watch->handle->addon;
  monitor_stop(watch->monitor);
  addon->watch_count -= 1;
  watch->handle->watch = NULL;
  for (struct watch **link = &addon->watches; *link != NULL; link = &(*link)->next) {
    if (*link == watch) {
      *link = watch->next;
      break;
    }
  }
  if (watch->owner != NULL) (void)napi_delete_reference(addon->env, watch->owner);
  (void)napi_release_threadsafe_function(watch->deliver, napi_tsfn_abort);
}

void stop_watches(struct addon *addon) {
  while (addon->watches != NULL)
    stop_watch(addon->watches);
}
