/* A socket pair taken for a netlink socket: the linker wraps recvmsg and setsockopt. */
#ifndef FAIRLEAD_FAKE_KERNEL_H
#define FAIRLEAD_FAKE_KERNEL_H

#include <linux/netlink.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "check.h"

/* Datagrams that begin with this byte are made to come from another process; with the other, to be an
 * overrun. */
enum { fake_stranger = 0xfe, fake_overrun = 0xfd };

ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
int __real_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len);

/* While set, whoever reads gets one stranger's datagram after the other. */
extern atomic_bool fake_flooding;

struct fake_pair {
  int ours;   /* what the code under test reads and writes */
  int kernel; /* what the test plays the kernel with */
};

struct fake_pair fake_open(void);
void fake_close(struct fake_pair pair);
void fake_send(int kernel, const void *bytes, size_t len);
/* One netlink message of `payload_len` bytes of payload put at `at`; gives its padded length. */
size_t put_message(uint8_t *at, uint16_t type, uint16_t flags, uint32_t seq, const void *payload,
                   size_t payload_len);
/* An NLMSG_ERROR with `code` (0: an ack). */
size_t put_error(uint8_t *at, uint32_t seq, int32_t code);

#endif
