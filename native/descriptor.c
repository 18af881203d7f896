/* Owns the count of users of a file descriptor: it is closed when nobody can use its number. */
#include "core.h"

#include <stdatomic.h>
#include <stdlib.h>

struct descriptor {
  atomic_uint users;
  enum descriptor_kind kind;
  int fd;
  size_t claims;
  size_t claimed_by;
};

struct descriptor *descriptor_new(enum descriptor_kind kind, int fd) {
  struct descriptor *descriptor = malloc(sizeof *descriptor);
  if (descriptor == NULL) return NULL;
  atomic_init(&descriptor->users, 1);
  descriptor->kind = kind;
  descriptor->fd = fd;
  descriptor->claims = 0;
  return descriptor;
}

void descriptor_retain(struct descriptor *descriptor) {
  atomic_fetch_add(&descriptor->users, 1);
}

void descriptor_release(struct descriptor *descriptor) {
  if (atomic_fetch_sub(&descriptor->users, 1) != 1) return;
  close_fd(descriptor->fd);
  free(descriptor);
}

int descriptor_take(struct descriptor *descriptor) {
  int fd = descriptor->fd;
  free(descriptor);
  return fd;
}

int descriptor_fd(const struct descriptor *descriptor) {
  return descriptor->fd;
}

enum descriptor_kind descriptor_kind(const struct descriptor *descriptor) {
  return descriptor->kind;
}

bool descriptor_is_sole(const struct descriptor *descriptor) {
  return atomic_load(&descriptor->users) == 1;
}

bool descriptor_claim(struct descriptor *descriptor, size_t user) {
  if (descriptor->claims > 0 && descriptor->claimed_by != user) return false;
  descriptor->claims += 1;
  descriptor->claimed_by = user;
  return true;
}

void descriptor_unclaim(struct descriptor *descriptor) {
  descriptor->claims -= 1;
}
