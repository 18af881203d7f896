/* Owns the stand-in for the kernel's end of a netlink socket. */
#include "fake_kernel.h"

#include <errno.h>

atomic_bool fake_flooding;

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags) {
  struct sockaddr_nl *sender = message->msg_name;
  if (atomic_load(&fake_flooding)) {
    *sender = (struct sockaddr_nl){.nl_family = AF_NETLINK, .nl_pid = 4711};
    return NLMSG_HDRLEN;
  }
  ssize_t got = __real_recvmsg(fd, message, flags);
  if (got <= 0 || sender == NULL || message->msg_namelen != 0)
    return got; /* a real netlink socket names its sender itself */
  uint8_t first = *(const uint8_t *)message->msg_iov[0].iov_base;
  if (first == fake_overrun) {
    errno = ENOBUFS;
    return -1;
  }
  *sender = (struct sockaddr_nl){.nl_family = AF_NETLINK, .nl_pid = first == fake_stranger ? 4711 : 0};
  message->msg_namelen = sizeof *sender;
  return got;
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len) {
  int domain = 0;
  socklen_t domain_len = sizeof domain;
  if (level == SOL_NETLINK && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 &&
      domain == AF_UNIX)
    return 0;
  return __real_setsockopt(fd, level, option, value, len);
}

struct fake_pair fake_open(void) {
  int fds[2];
  check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
  return (struct fake_pair){.ours = fds[0], .kernel = fds[1]};
}

void fake_close(struct fake_pair pair) {
  close(pair.ours);
  close(pair.kernel);
}

void fake_send(int kernel, const void *bytes, size_t len) {
  check(send(kernel, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
}

size_t put_message(uint8_t *at, uint16_t type, uint16_t flags, uint32_t seq, const void *payload,
                   size_t payload_len) {
  struct nlmsghdr header = {.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + payload_len),
                            .nlmsg_type = type,
                            .nlmsg_flags = flags,
                            .nlmsg_seq = seq};
  size_t padded = NLMSG_ALIGN(header.nlmsg_len);
  memset(at, 0, padded);
  memcpy(at, &header, sizeof header);
  if (payload_len > 0) memcpy(at + NLMSG_HDRLEN, payload, payload_len);
  return padded;
}

size_t put_error(uint8_t *at, uint32_t seq, int32_t code) {
  struct {
    int32_t code;
    struct nlmsghdr about;
  } payload = {.code = code, .about = {.nlmsg_len = NLMSG_HDRLEN, .nlmsg_seq = seq}};
  return put_message(at, NLMSG_ERROR, 0, seq, &payload, sizeof payload);
}
