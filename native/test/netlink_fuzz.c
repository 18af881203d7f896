/* Fuzzes netlink.c: any request, any datagrams; only whole messages that answer it may be kept. */
#include "../core.h"

#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
  if (!condition) abort();
}

/* Takes a length-prefixed piece off the input. The copy has its exact size, so that one byte beyond it is an
 * error. */
static uint8_t *next_piece(const uint8_t **data, size_t *size, size_t *len) {
  uint16_t wanted = 0;
  if (*size < sizeof wanted) return NULL;
  memcpy(&wanted, *data, sizeof wanted);
  *data += sizeof wanted;
  *size -= sizeof wanted;
  *len = wanted < *size ? wanted : *size;
  uint8_t *piece = malloc(*len);
  require(piece != NULL);
  memcpy(piece, *data, *len);
  *data += *len;
  *size -= *len;
  return piece;
}

static void check_kept(const struct exchange *exchange) {
  size_t wanted_left = 0;
  for (size_t i = 0; i < exchange->message_count; i += 1)
    wanted_left += exchange->messages[i].wanted && !exchange->messages[i].answered;
  require(wanted_left == exchange->wanted_left && exchange->cursor < exchange->message_count);
  require(exchange->answer_len <= exchange->answer_capacity && exchange->answer_len % NLMSG_ALIGNTO == 0);
  for (size_t offset = 0; offset < exchange->answer_len;) {
    struct nlmsghdr header;
    require(exchange->answer_len - offset >= sizeof header);
    memcpy(&header, exchange->answer + offset, sizeof header);
    require(header.nlmsg_len >= sizeof header &&
            NLMSG_ALIGN(header.nlmsg_len) <= exchange->answer_len - offset);
    bool ours = false;
    for (size_t i = 0; i < exchange->message_count; i += 1)
      ours = ours || exchange->messages[i].seq == header.nlmsg_seq;
    require(ours);
    offset += NLMSG_ALIGN(header.nlmsg_len);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct exchange exchange;
  size_t len = 0, fed = 0;
  uint8_t *request = next_piece(&data, &size, &len);
  if (request == NULL) return 0;
  bool begun = exchange_begin(&exchange, request, len).code == 0;
  free(request);
  for (uint8_t *datagram; begun && (datagram = next_piece(&data, &size, &len)) != NULL; free(datagram)) {
    (void)exchange_take(&exchange, datagram, len);
    fed += len + NLMSG_ALIGNTO;
    require(exchange.answer_len <= fed);
  }
  if (begun) check_kept(&exchange);
  exchange_free(&exchange);
  return 0;
}
