/* Owns the module: its functions as src/kernel/addon.ts describes them, and its end with the environment. */
#include "addon.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct addon *addon_of(napi_env env) {
  void *addon = NULL;
  if (napi_get_instance_data(env, &addon) != napi_ok || addon == NULL)
    napi_fatal_error("fairlead", NAPI_AUTO_LENGTH, "no addon state", NAPI_AUTO_LENGTH);
  return addon;
}

void addon_release(struct addon *addon) {
  addon->users -= 1;
  if (addon->users == 0) free(addon);
}

static void end_threads(void *data) {
  struct addon *addon = data;
  stop_workers(addon, NULL);
  stop_watches(addon);
}

void addon_arm_cleanup(struct addon *addon) {
  /* Hooks run newest first, and each thread-safe function brings a hook of its own: ours must be newer than
   * all. */
  (void)napi_remove_env_cleanup_hook(addon->env, end_threads, addon);
  (void)napi_add_env_cleanup_hook(addon->env, end_threads, addon);
}

static void leave_environment(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  addon_release(data);
}

static napi_value open_netns(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max];
  read_arguments(env, info, arguments);
  char *path = NULL;
  int fd = -1;
  struct failure failure = read_text(env, arguments[0], PATH_MAX, &path);
  if (failure.code == 0) failure = netns_open(path, &fd);
  free(path);
  return failure.code == 0 ? make_handle(env, addon_of(env), descriptor_netns, fd)
                           : value_or_throw(env, failure, NULL);
}

static napi_value id_of_netns(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max];
  read_arguments(env, info, arguments);
  struct handle *handle;
  dev_t device = 0;
  ino_t inode = 0;
  struct failure failure = read_descriptor(env, arguments[0], descriptor_netns, &handle);
  if (failure.code == 0) failure = netns_id(descriptor_fd(handle->descriptor), &device, &inode);
  char text[48];
  snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)device, (uintmax_t)inode);
  return value_or_throw(env, failure, make_text(env, text));
}

static napi_value descriptor_number(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max], number = NULL;
  read_arguments(env, info, arguments);
  struct handle *handle;
  struct failure failure = read_descriptor(env, arguments[0], descriptor_netns, &handle);
  if (failure.code == 0) (void)napi_create_int32(env, descriptor_fd(handle->descriptor), &number);
  return value_or_throw(env, failure, number);
}

static napi_value open_netlink(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max];
  read_arguments(env, info, arguments);
  struct handle *handle;
  int64_t protocol = 0;
  int fd = -1;
  struct failure failure = read_descriptor(env, arguments[0], descriptor_netns, &handle);
  if (failure.code == 0) failure = read_integer(env, arguments[1], 0, INT16_MAX, &protocol);
  if (failure.code == 0) failure = netlink_open(descriptor_fd(handle->descriptor), (int)protocol, &fd);
  return failure.code == 0 ? make_handle(env, addon_of(env), descriptor_netlink, fd)
                           : value_or_throw(env, failure, NULL);
}

static napi_value close_handle(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max];
  read_arguments(env, info, arguments);
  struct handle *handle;
  struct failure failure = read_handle(env, arguments[0], &handle);
  if (failure.code == 0 && handle->watch != NULL) stop_watch(handle->watch);
  if (failure.code == 0 && handle->door != NULL) stop_door(handle->door);
  if (failure.code == 0 && handle->descriptor != NULL) {
    retire_descriptor(handle->addon, handle->descriptor);
    handle->descriptor = NULL;
  }
  return value_or_throw(env, failure, undefined(env));
}

static napi_value release_program(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max], len = NULL;
  read_arguments(env, info, arguments);
  int64_t part = 0, parts = 0;
  struct failure failure = read_integer(env, arguments[1], 1, program_parts_max, &parts);
  if (failure.code == 0) failure = read_integer(env, arguments[0], 0, parts - 1, &part);
  if (failure.code == 0)
    (void)napi_create_double(env, (double)program_release((size_t)part, (size_t)parts), &len);
  return value_or_throw(env, failure, len);
}

static napi_value stop(napi_env env, napi_callback_info info) {
  (void)info;
  struct addon *addon = addon_of(env);
  stop_workers(addon, env);
  stop_watches(addon);
  return undefined(env);
}

static void export_function(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function = NULL;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function) != napi_ok ||
      napi_set_named_property(env, exports, name, function) != napi_ok)
    napi_fatal_error("fairlead", NAPI_AUTO_LENGTH, "cannot export", NAPI_AUTO_LENGTH);
}

NAPI_MODULE_INIT() {
  struct addon *addon = calloc(1, sizeof *addon);
  if (addon == NULL || napi_set_instance_data(env, addon, leave_environment, NULL) != napi_ok) {
    free(addon);
    return value_or_throw(env, failed(ENOMEM, "load"), NULL);
  }
  addon->users = 1;
  addon->env = env;
  export_function(env, exports, "openNetns", open_netns);
  export_function(env, exports, "netnsId", id_of_netns);
  export_function(env, exports, "descriptorNumber", descriptor_number);
  export_function(env, exports, "openNetlink", open_netlink);
  export_function(env, exports, "call", addon_call);
  export_function(env, exports, "firstPart", addon_first_part);
  export_function(env, exports, "nextPart", addon_next_part);
  export_function(env, exports, "monitor", addon_monitor);
  export_function(env, exports, "writeSysctls", addon_write_sysctls);
  export_function(env, exports, "readSysctls", addon_read_sysctls);
  export_function(env, exports, "tcxPrograms", addon_tcx_programs);
  export_function(env, exports, "listen", addon_listen);
  export_function(env, exports, "send", addon_send);
  export_function(env, exports, "takeOver", addon_take_over);
  export_function(env, exports, "releaseProgram", release_program);
  export_function(env, exports, "close", close_handle);
  export_function(env, exports, "stop", stop);
  return exports;
}
