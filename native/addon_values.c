/* Owns the border of JavaScript and C: arguments are checked, errors and descriptors made here. */
#include "addon.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const napi_type_tag handle_tag = {0x6661697266c3a464, 0x64657363726970ULL};

void read_arguments(napi_env env, napi_callback_info info, napi_value arguments[argument_count_max]) {
  size_t count = argument_count_max;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok)
    napi_fatal_error("fairlead", NAPI_AUTO_LENGTH, "no arguments", NAPI_AUTO_LENGTH);
}

napi_value undefined(napi_env env) {
  napi_value value = NULL;
  (void)napi_get_undefined(env, &value);
  return value;
}

napi_value make_text(napi_env env, const char *text) {
  napi_value value = NULL;
  (void)napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  return value;
}

napi_value make_error(napi_env env, struct failure failure) {
  char text[160];
  const char *name = strerrorname_np(failure.code);
  const char *description = strerrordesc_np(failure.code);
  snprintf(text, sizeof text, "%s: %s", failure.step, description == NULL ? "unknown error" : description);
  napi_value error = NULL, index = NULL;
  (void)napi_create_error(env, make_text(env, name == NULL ? "EIO" : name), make_text(env, text), &error);
  if (failure.index != no_index && napi_create_uint32(env, (uint32_t)failure.index, &index) == napi_ok)
    (void)napi_set_named_property(env, error, "index", index);
  return error;
}

napi_value value_or_throw(napi_env env, struct failure failure, napi_value value) {
  if (failure.code == 0) return value;
  (void)napi_throw(env, make_error(env, failure));
  return NULL;
}

struct failure read_integer(napi_env env, napi_value value, int64_t least, int64_t most, int64_t *result) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok || number != floor(number) ||
      number < (double)least || number > (double)most)
    return failed(EINVAL, "number");
  *result = (int64_t)number;
  return succeeded();
}

struct failure read_text(napi_env env, napi_value value, size_t len_max, char **result) {
  size_t len;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &len) != napi_ok || len > len_max)
    return failed(EINVAL, "text");
  char *text = malloc(len + 1);
  if (text == NULL) return failed(ENOMEM, "text");
  if (napi_get_value_string_utf8(env, value, text, len + 1, &len) != napi_ok || strlen(text) != len) {
    free(text);
    return failed(EINVAL, "text");
  }
  *result = text;
  return succeeded();
}

void free_texts(size_t count, char **texts) {
  for (size_t i = 0; texts != NULL && i < count; i += 1)
    free(texts[i]);
  free(texts);
}

struct failure read_texts(napi_env env, napi_value value, size_t len_max, size_t *count, char ***result) {
  bool is_array = false;
  uint32_t len = 0;
  if (napi_is_array(env, value, &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, value, &len) != napi_ok || len > sysctl_count_max)
    return failed(EINVAL, "list");
  char **texts = calloc((size_t)len + 1, sizeof *texts);
  if (texts == NULL) return failed(ENOMEM, "list");
  for (uint32_t i = 0; i < len; i += 1) {
    napi_value element;
    struct failure failure = failed(EINVAL, "list");
    if (napi_get_element(env, value, i, &element) == napi_ok)
      failure = read_text(env, element, len_max, &texts[i]);
    if (failure.code != 0) {
      failure.index = i;
      free_texts(len, texts);
      return failure;
    }
  }
  *count = len;
  *result = texts;
  return succeeded();
}

struct failure read_indexes(napi_env env, napi_value value, const char *what, size_t count_max, size_t *count,
                            uint32_t **result) {
  bool is_array = false;
  uint32_t len = 0;
  if (napi_is_array(env, value, &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, value, &len) != napi_ok || len > count_max)
    return failed(EINVAL, what);
  uint32_t *indexes = calloc((size_t)len + 1, sizeof *indexes);
  if (indexes == NULL) return failed(ENOMEM, what);
  for (uint32_t i = 0; i < len; i += 1) {
    napi_value element;
    int64_t index;
    if (napi_get_element(env, value, i, &element) != napi_ok ||
        read_integer(env, element, 1, INT32_MAX, &index).code != 0) {
      free(indexes);
      return failed(EINVAL, what);
    }
    indexes[i] = (uint32_t)index;
  }
  *count = len;
  *result = indexes;
  return succeeded();
}

struct failure read_bytes(napi_env env, napi_value value, size_t len_max, uint8_t **result, size_t *len) {
  napi_typedarray_type type;
  void *bytes;
  bool is_typed = false;
  if (napi_is_typedarray(env, value, &is_typed) != napi_ok || !is_typed ||
      napi_get_typedarray_info(env, value, &type, len, &bytes, NULL, NULL) != napi_ok ||
      type != napi_uint8_array)
    return failed(EINVAL, "bytes");
  if (*len > len_max) return failed(EMSGSIZE, "bytes");
  *result = malloc(*len + 1);
  if (*result == NULL) return failed(ENOMEM, "bytes");
  if (*len > 0) memcpy(*result, bytes, *len);
  return succeeded();
}

struct failure read_handle(napi_env env, napi_value value, struct handle **handle) {
  napi_valuetype type;
  bool is_ours = false;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_object ||
      napi_check_object_type_tag(env, value, &handle_tag, &is_ours) != napi_ok || !is_ours ||
      napi_unwrap(env, value, (void **)handle) != napi_ok)
    return failed(EINVAL, "descriptor");
  return succeeded();
}

struct failure read_descriptor(napi_env env, napi_value value, enum descriptor_kind kind,
                               struct handle **handle) {
  struct failure failure = read_handle(env, value, handle);
  if (failure.code != 0) return failure;
  if ((*handle)->descriptor == NULL) return failed(EBADF, "descriptor");
  return descriptor_kind((*handle)->descriptor) == kind ? succeeded() : failed(EINVAL, "descriptor");
}

static void collect_handle(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  struct handle *handle = data;
  if (handle->descriptor != NULL) retire_descriptor(handle->addon, handle->descriptor);
  addon_release(handle->addon);
  free(handle);
}

napi_value make_handle(napi_env env, struct addon *addon, enum descriptor_kind kind, int fd) {
  struct descriptor *descriptor = descriptor_new(kind, fd);
  struct handle *handle = calloc(1, sizeof *handle);
  napi_value object = NULL;
  if (descriptor == NULL || handle == NULL || napi_create_object(env, &object) != napi_ok ||
      napi_type_tag_object(env, object, &handle_tag) != napi_ok ||
      napi_wrap(env, object, handle, collect_handle, NULL, NULL) != napi_ok) {
    if (descriptor == NULL)
      close_fd(fd);
    else
      descriptor_release(descriptor);
    free(handle);
    return value_or_throw(env, failed(ENOMEM, "descriptor"), NULL);
  }
  addon->users += 1;
  *handle = (struct handle){.addon = addon, .descriptor = descriptor};
  return object;
}
