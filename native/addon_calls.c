/* Owns the addon's promises: a call goes to a lane's thread and comes back by a thread-safe function. */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum call_kind { call_netlink, call_write_sysctls, call_read_sysctls, call_tcx_programs };

/* One promise under way. `job` is first: the lane knows no more of it. */
struct call {
  struct job job;
  enum call_kind kind;
  struct worker *worker;
  napi_deferred deferred;
  struct descriptor *descriptor;
  struct failure failure;
  enum portion portion;
  uint8_t *request;
  size_t request_len;
  int timeout_ms;
  struct exchange exchange;
  size_t count;
  char **keys;
  char **values;
  uint32_t *links;
  struct tcx_programs *programs;
  struct descriptor **retired; /* closed while this call was the last one queued: let go after it */
  size_t retired_count;
};

/* A lane and its way back to JavaScript. Lives until Node finalizes `deliver`. */
struct worker {
  struct lane *lane; /* NULL once stopped */
  napi_threadsafe_function deliver;
  size_t outstanding;
  struct call *last; /* the newest call, while it is outstanding */
};

static const char *const lane_names[lane_count] = {"fl-route", "fl-nft", "fl-remove"};

static void free_call(struct call *call) {
  exchange_free(&call->exchange);
  free(call->request);
  free_texts(call->count, call->keys);
  free_texts(call->count, call->values);
  free(call->links);
  free(call->programs);
  if (call->descriptor != NULL) descriptor_release(call->descriptor);
  for (size_t i = 0; i < call->retired_count; i += 1)
    descriptor_release(call->retired[i]);
  free(call->retired);
  free(call);
}

/* On the lane's thread. */
static void run_call(struct job *job, const struct lane_tools *tools) {
  struct call *call = (struct call *)job;
  int fd = descriptor_fd(call->descriptor);
  switch (call->kind) {
  case call_netlink:
    call->failure = netlink_call(fd, call->portion, call->request, call->request_len, call->timeout_ms, tools,
                                 &call->exchange);
    break;
  case call_write_sysctls:
    call->failure = sysctls_write(fd, call->count, call->keys, call->values);
    break;
  case call_read_sysctls:
    call->failure = sysctls_read(fd, call->count, call->keys, call->values);
    break;
  case call_tcx_programs:
    call->failure = tcx_query(fd, call->count, call->links, call->programs);
    break;
  }
}

/* On the lane's thread. */
static void finished(struct job *job, void *context) {
  struct worker *worker = context;
  if (napi_call_threadsafe_function(worker->deliver, job, napi_tsfn_nonblocking) != napi_ok)
    free_call((struct call *)job); /* the environment is going away: nobody waits for the promise */
}

/* Two numbers for each link: ingress, egress. */
static napi_value counts_of(napi_env env, const struct call *call) {
  napi_value result = NULL;
  (void)napi_create_array_with_length(env, 2 * call->count, &result);
  for (size_t i = 0; i < call->count; i += 1) {
    napi_value ingress = NULL, egress = NULL;
    (void)napi_create_uint32(env, call->programs[i].ingress, &ingress);
    (void)napi_create_uint32(env, call->programs[i].egress, &egress);
    (void)napi_set_element(env, result, (uint32_t)(2 * i), ingress);
    (void)napi_set_element(env, result, (uint32_t)(2 * i + 1), egress);
  }
  return result;
}

static napi_value result_of(napi_env env, const struct call *call) {
  napi_value result = NULL;
  if (call->kind == call_netlink) {
    (void)napi_create_buffer_copy(env, call->exchange.answer_len, call->exchange.answer, NULL, &result);
  } else if (call->kind == call_read_sysctls) {
    (void)napi_create_array_with_length(env, call->count, &result);
    for (size_t i = 0; i < call->count; i += 1) {
      napi_value text = call->values[i] == NULL ? undefined(env) : make_text(env, call->values[i]);
      (void)napi_set_element(env, result, (uint32_t)i, text);
    }
  } else if (call->kind == call_tcx_programs) {
    result = counts_of(env, call);
  } else {
    result = undefined(env);
  }
  return result;
}

static void settle_promise(napi_env env, struct call *call) {
  napi_value result = call->failure.code == 0 ? result_of(env, call) : NULL;
  if (call->failure.code == 0 && result == NULL) call->failure = failed(ENOMEM, "answer");
  if (call->failure.code == 0)
    (void)napi_resolve_deferred(env, call->deferred, result);
  else
    (void)napi_reject_deferred(env, call->deferred, make_error(env, call->failure));
}

/* On the event loop: one call is done. `env` is NULL where the environment is going away; the worker may be
 * gone then. */
static void deliver_call(napi_env env, napi_value function, void *context, void *data) {
  (void)function;
  (void)context;
  struct call *call = data;
  if (env != NULL) {
    struct worker *worker = call->worker;
    if (worker->lane != NULL) lane_collected(worker->lane);
    if (worker->last == call) worker->last = NULL;
    descriptor_unclaim(call->descriptor);
    worker->outstanding -= 1;
    if (worker->outstanding == 0) (void)napi_unref_threadsafe_function(env, worker->deliver);
    settle_promise(env, call);
  }
  free_call(call);
}

static void free_worker(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  free(data);
}

static struct failure start_worker(struct addon *addon, size_t index) {
  napi_env env = addon->env;
  struct worker *worker = calloc(1, sizeof *worker);
  if (worker == NULL) return failed(ENOMEM, "lane");
  if (napi_create_threadsafe_function(env, NULL, NULL, make_text(env, lane_names[index]), 0, 1, worker,
                                      free_worker, worker, deliver_call, &worker->deliver) != napi_ok) {
    free(worker);
    return failed(ENOMEM, "lane");
  }
  (void)napi_unref_threadsafe_function(env, worker->deliver);
  addon_arm_cleanup(addon);
  struct failure failure = lane_start(&worker->lane, lane_names[index], finished, worker);
  if (failure.code == 0)
    addon->workers[index] = worker;
  else
    (void)napi_release_threadsafe_function(worker->deliver, napi_tsfn_abort);
  return failure;
}

static struct failure submit(struct addon *addon, size_t index, struct call *call) {
  if (addon->workers[index] == NULL) {
    struct failure failure = start_worker(addon, index);
    if (failure.code != 0) return failure;
  }
  struct worker *worker = addon->workers[index];
  call->worker = worker;
  call->job.run = run_call;
  if (!descriptor_claim(call->descriptor, index)) return failed(EBUSY, "socket in use by another lane");
  struct failure failure = lane_push(worker->lane, &call->job);
  if (failure.code != 0) {
    descriptor_unclaim(call->descriptor);
    return failure;
  }
  worker->last = call;
  worker->outstanding += 1;
  /* A program waits for its calls, but not for an idle addon. */
  if (worker->outstanding == 1) (void)napi_ref_threadsafe_function(addon->env, worker->deliver);
  return succeeded();
}

void retire_descriptor(struct addon *addon, struct descriptor *descriptor) {
  bool may_be_named = descriptor_kind(descriptor) == descriptor_netns;
  for (size_t i = 0; may_be_named && i < lane_count; i += 1) {
    struct call *last = addon->workers[i] == NULL ? NULL : addon->workers[i]->last;
    if (last == NULL) continue;
    descriptor_retain(descriptor);
    size_t len = (last->retired_count + 1) * sizeof(struct descriptor *);
    struct descriptor **grown = realloc(last->retired, len);
    if (grown == NULL)
      continue; /* out of memory: an open file is better than a number that means another file */
    last->retired = grown;
    last->retired[last->retired_count] = descriptor;
    last->retired_count += 1;
  }
  descriptor_release(descriptor);
}

void stop_workers(struct addon *addon, napi_env env) {
  for (size_t i = 0; i < lane_count; i += 1) {
    struct worker *worker = addon->workers[i];
    if (worker == NULL) continue;
    addon->workers[i] = NULL;
    struct job *job = lane_stop(worker->lane);
    worker->lane = NULL;
    while (job != NULL) {
      struct job *next = job->next;
      ((struct call *)job)->failure = failed(ECANCELED, "stopped");
      deliver_call(env, NULL, NULL, job);
      job = next;
    }
    /* What has finished is still delivered, unless the environment is going away. */
    (void)napi_release_threadsafe_function(worker->deliver,
                                           env == NULL ? napi_tsfn_abort : napi_tsfn_release);
  }
}

/* Sends the call off, or rejects its promise at once. */
static napi_value start_call(struct addon *addon, size_t lane, struct call *call, struct failure failure) {
  napi_env env = addon->env;
  napi_value promise = NULL;
  if (call == NULL || napi_create_promise(env, &call->deferred, &promise) != napi_ok) {
    if (call != NULL) free_call(call);
    return value_or_throw(env, failed(ENOMEM, "call"), NULL);
  }
  if (failure.code == 0) failure = submit(addon, lane, call);
  if (failure.code != 0) {
    (void)napi_reject_deferred(env, call->deferred, make_error(env, failure));
    free_call(call);
  }
  return promise;
}

static struct failure hold(napi_env env, napi_value value, enum descriptor_kind kind, struct call *call) {
  struct handle *handle;
  struct failure failure = read_descriptor(env, value, kind, &handle);
  if (failure.code == 0 && handle->watch != NULL) failure = failed(EBUSY, "monitored socket");
  if (failure.code != 0) return failure;
  descriptor_retain(handle->descriptor);
  call->descriptor = handle->descriptor;
  return succeeded();
}

static napi_value netlink_portion(napi_env env, napi_callback_info info, enum portion portion) {
  napi_value arguments[argument_count_max];
  read_arguments(env, info, arguments);
  int64_t lane = 0, timeout_ms = 0;
  struct call *call = calloc(1, sizeof *call);
  struct failure failure = failed(ENOMEM, "call");
  if (call != NULL) {
    call->kind = call_netlink;
    call->portion = portion;
    failure = read_integer(env, arguments[0], 0, lane_count - 1, &lane);
    if (failure.code == 0) failure = hold(env, arguments[1], descriptor_netlink, call);
    if (failure.code == 0)
      failure = read_bytes(env, arguments[2], request_len_max, &call->request, &call->request_len);
    if (failure.code == 0) failure = read_integer(env, arguments[3], 1, timeout_ms_max, &timeout_ms);
    call->timeout_ms = (int)timeout_ms;
  }
  return start_call(addon_of(env), (size_t)lane, call, failure);
}

napi_value addon_call(napi_env env, napi_callback_info info) {
  return netlink_portion(env, info, portion_whole);
}

napi_value addon_first_part(napi_env env, napi_callback_info info) {
  return netlink_portion(env, info, portion_first);
}

napi_value addon_next_part(napi_env env, napi_callback_info info) {
  return netlink_portion(env, info, portion_next);
}

/* Begins a call about a namespace, which is the first argument; `*call` is NULL where there is no memory. */
static struct failure begin_in_netns(napi_env env, napi_callback_info info, enum call_kind kind,
                                     napi_value arguments[argument_count_max], struct call **call) {
  read_arguments(env, info, arguments);
  *call = calloc(1, sizeof **call);
  if (*call == NULL) return failed(ENOMEM, "call");
  (*call)->kind = kind;
  return hold(env, arguments[0], descriptor_netns, *call);
}

static napi_value sysctl_call(napi_env env, napi_callback_info info, enum call_kind kind) {
  napi_value arguments[argument_count_max];
  struct call *call;
  struct failure failure = begin_in_netns(env, info, kind, arguments, &call);
  if (call != NULL) {
    if (failure.code == 0)
      failure = read_texts(env, arguments[1], sysctl_key_len_max, &call->count, &call->keys);
    size_t value_count = call->count;
    if (failure.code == 0 && kind == call_write_sysctls)
      failure = read_texts(env, arguments[2], sysctl_value_len_max, &value_count, &call->values);
    else if (failure.code == 0 && (call->values = calloc(call->count + 1, sizeof *call->values)) == NULL)
      failure = failed(ENOMEM, "call");
    if (value_count != call->count) {
      free_texts(value_count, call->values);
      call->values = NULL;
      failure = failed(EINVAL, "as many values as keys");
    }
  }
  return start_call(addon_of(env), 0, call, failure);
}

napi_value addon_write_sysctls(napi_env env, napi_callback_info info) {
  return sysctl_call(env, info, call_write_sysctls);
}

napi_value addon_read_sysctls(napi_env env, napi_callback_info info) {
  return sysctl_call(env, info, call_read_sysctls);
}

napi_value addon_tcx_programs(napi_env env, napi_callback_info info) {
  napi_value arguments[argument_count_max];
  struct call *call;
  struct failure failure = begin_in_netns(env, info, call_tcx_programs, arguments, &call);
  if (failure.code == 0)
    failure = read_indexes(env, arguments[1], "links", tcx_links_max, &call->count, &call->links);
  if (failure.code == 0 && (call->programs = calloc(call->count + 1, sizeof *call->programs)) == NULL)
    failure = failed(ENOMEM, "call");
  return start_call(addon_of(env), 0, call, failure);
}
