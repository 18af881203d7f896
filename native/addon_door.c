/* Owns the door as JavaScript sees it: callers come in on the event loop itself, with their request and no
 * further wake-up. */
#include "addon.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/un.h>
#include <uv.h>

enum {
  /* Callers let in before other events have their turn. */
  callers_at_once_max = 32,
};

/* Lives until libuv has closed `poll`. libuv keeps its ABI within major version 1, and Node hands out its
 * loop; the handle is allocated by the size that the running libuv gives. */
struct door {
  uv_poll_t *poll;
  struct handle *handle;
  napi_async_cleanup_hook_handle hook;
  napi_ref owner; /* the descriptor object is not collected while it is listened on */
  napi_ref callback;
  napi_async_context context;
  int spare;
  uint8_t bytes[first_bytes_max];
};

static void free_door(uv_handle_t *poll) {
  struct door *door = poll->data;
  if (door->hook != NULL) (void)napi_remove_async_cleanup_hook(door->hook);
  if (door->spare >= 0) close_fd(door->spare);
  free(door->poll);
  free(door);
}

/* Calls JavaScript with (connection, pid, uid, bytes). */
static void tell(struct door *door, const struct caller *caller) {
  napi_env env = door->handle->addon->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) {
    close_fd(caller->fd);
    return;
  }
  napi_value function = NULL, receiver = NULL, arguments[4] = {NULL}, error = NULL;
  arguments[0] = make_handle(env, door->handle->addon, descriptor_connection, caller->fd);
  (void)napi_create_int32(env, caller->peer.pid, &arguments[1]);
  (void)napi_create_uint32(env, caller->peer.uid, &arguments[2]);
  if (arguments[0] != NULL && napi_get_reference_value(env, door->callback, &function) == napi_ok &&
      napi_get_reference_value(env, door->owner, &receiver) == napi_ok &&
      napi_create_buffer_copy(env, caller->len, door->bytes, NULL, &arguments[3]) == napi_ok &&
      napi_make_callback(env, door->context, receiver, function, 4, arguments, NULL) ==
          napi_pending_exception &&
      napi_get_and_clear_last_exception(env, &error) == napi_ok)
    (void)napi_fatal_exception(env, error); /* as fatal as in any other event handler */
  (void)napi_close_handle_scope(env, scope);
}

static void let_in(uv_poll_t *poll, int status, int events) {
  (void)status; /* accept says it better */
  (void)events;
  struct door *door = poll->data;
  for (size_t count = 0; count < callers_at_once_max; count += 1) {
    /* The callback may have closed the door. */
    if (door->handle == NULL || door->handle->descriptor == NULL) return;
    struct caller caller;
    struct failure failure = door_accept(descriptor_fd(door->handle->descriptor), &door->spare, door->bytes,
                                         sizeof door->bytes, &caller);
    if (failure.code == EMFILE && door->spare >= 0) continue; /* turned away: the next one */
    if (failure.code != 0) return;
    tell(door, &caller);
  }
}

void stop_door(struct door *door) {
  napi_env env = door->handle->addon->env;
  door->handle->door = NULL;
  door->handle = NULL;
  (void)napi_delete_reference(env, door->owner);
  (void)napi_delete_reference(env, door->callback);
  (void)napi_async_destroy(env, door->context);
  uv_close((uv_handle_t *)door->poll, free_door);
}

/* The environment ends: Node waits until libuv has let go. */
static void end_door(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  struct door *door = data;
  if (door->handle != NULL) stop_door(door);
}

static struct failure start_door(napi_env env, struct handle *handle, napi_value object,
                                 napi_value function) {
  struct uv_loop_s *loop = NULL;
  struct door *door = calloc(1, sizeof *door);
  if (door == NULL) return failed(ENOMEM, "door");
  door->poll = calloc(1, uv_handle_size(UV_POLL));
  int code = ENOMEM;
  if (door->poll != NULL && napi_get_uv_event_loop(env, &loop) == napi_ok)
    code = -uv_poll_init(loop, door->poll, descriptor_fd(handle->descriptor));
  if (code != 0) {
    free(door->poll);
    free(door);
    return failed(code, "poll");
  }
  door->poll->data = door;
  door->handle = handle;
  handle->door = door;
  door->spare = door_spare();
  (void)napi_create_reference(env, object, 1, &door->owner);
  (void)napi_create_reference(env, function, 1, &door->callback);
  (void)napi_async_init(env, object, make_text(env, "fl-door"), &door->context);
  (void)napi_add_async_cleanup_hook(env, end_door, door, &door->hook);
  code = -uv_poll_start(door->poll, UV_READABLE, let_in);
  if (code == 0) return succeeded();
  stop_door(door);
  return failed(code, "poll");
}

napi_value addon_listen(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max];
  read_arguments(env, info, arguments);
  char *path = NULL;
  int fd = -1;
  int64_t backlog = 0;
  napi_valuetype type = napi_undefined;
  struct handle *handle = NULL;
  struct failure failure = read_text(env, arguments[0], PATH_MAX, &path);
  if (failure.code == 0) failure = read_integer(env, arguments[1], 1, backlog_max, &backlog);
  if (failure.code == 0 && (napi_typeof(env, arguments[2], &type) != napi_ok || type != napi_function))
    failure = failed(EINVAL, "callback");
  if (failure.code == 0) failure = door_open(path, (int)backlog, &fd);
  free(path);
  if (failure.code != 0) return value_or_throw(env, failure, NULL);
  napi_value object = make_handle(env, addon_of(env), descriptor_door, fd);
  if (object == NULL) return NULL; /* has thrown */
  failure = read_descriptor(env, object, descriptor_door, &handle);
  if (failure.code == 0) failure = start_door(env, handle, object, arguments[2]);
  return value_or_throw(env, failure, object);
}

napi_value addon_send(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max], number = NULL;
  read_arguments(env, info, arguments);
  struct handle *handle;
  uint8_t *bytes = NULL;
  size_t len = 0, sent = 0;
  struct failure failure = read_descriptor(env, arguments[0], descriptor_connection, &handle);
  if (failure.code == 0) failure = read_bytes(env, arguments[1], request_len_max, &bytes, &len);
  if (failure.code == 0) failure = connection_send(descriptor_fd(handle->descriptor), bytes, len, &sent);
  free(bytes);
  if (failure.code == 0) (void)napi_create_int64(env, (int64_t)sent, &number);
  return value_or_throw(env, failure, number);
}

napi_value addon_take_over(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max], number = NULL;
  read_arguments(env, info, arguments);
  struct handle *handle;
  struct failure failure = read_descriptor(env, arguments[0], descriptor_connection, &handle);
  if (failure.code == 0) {
    (void)napi_create_int32(env, descriptor_take(handle->descriptor), &number);
    handle->descriptor = NULL;
  }
  return value_or_throw(env, failure, number);
}
