/* Payloads in pieces, the same in both directions: the sender offers (PUSH or MODEL with payload_bytes and no
 * second frame), the receiver answers CREDIT with what it already has, and pieces follow within the window
 * (pace.h). Bookkeeping only; messages are the roles' business. A transfer is named by a number: the
 * update's, or the version a model leads to. */
#ifndef TRIB_WIRE_TRANSFER_H
#define TRIB_WIRE_TRANSFER_H

#include "shared/base/blob.h"
#include "shared/base/error.h"
#include "shared/wire/pace.h"

#include <stdbool.h>
#include <stdint.h>

struct trib_inbound {
    uint64_t number;
    uint32_t crc; /* of the whole, as offered */
    uint32_t sum; /* of what is here */
    size_t total, have;
    size_t missed;          /* the place, plus 1, at which a piece is known to be missing; 0: none */
    struct trib_blob *blob; /* NULL: none under way */
};
/* Begins, or goes on when the same (number, total, crc) was under way: `have` is where. */
enum trib_status trib_inbound_start(struct trib_inbound *in, uint64_t number, size_t total,
                                    uint32_t crc) TRIB_MUST_USE;
/* The same into a blob of `total` bytes that the caller made; taken over, and set to NULL, in any case. */
void trib_inbound_start_in(struct trib_inbound *in, uint64_t number, uint32_t crc, struct trib_blob **blob);
/* A piece. TRIB_AGAIN: one before it is missing: answer CREDIT with `have` (said once of a place, for all
 * that is on its way behind it comes too). TRIB_NOT_FOUND: nothing new. TRIB_INVALID: outside the payload.
 * TRIB_IO: the blob is in a file that cannot be written; the transfer must be dropped. */
enum trib_status trib_inbound_piece(struct trib_inbound *in, size_t offset, const void *data,
                                    size_t bytes) TRIB_MUST_USE;
static inline bool trib_inbound_complete(const struct trib_inbound *in) {
    return in->blob != NULL && in->have == in->total;
}
/* Is what is here what was offered? Of a complete one. */
static inline bool trib_inbound_sound(const struct trib_inbound *in) {
    return in->sum == in->crc;
}
/* Takes the complete payload out. */
struct trib_blob *trib_inbound_take(struct trib_inbound *in);
void trib_inbound_drop(struct trib_inbound *in);

struct trib_outbound {
    uint64_t number;
    struct trib_blob *payload; /* NULL: none under way */
    size_t sent, granted, chunk;
    size_t arrived;   /* as the receiver last said */
    size_t window;    /* as it last said, in this transfer or one before */
    uint64_t rate;    /* bytes/s, over the last second or more; 0: not known */
    uint64_t mark_ms; /* the rate is counted from here */
    size_t mark;
};
void trib_outbound_start(struct trib_outbound *out, uint64_t number, struct trib_blob *payload);
/* CREDIT: the receiver has everything below `offset`; `window` bytes beyond may be sent, `chunk` at a time.
 */
void trib_outbound_grant(struct trib_outbound *out, uint64_t now_ms, size_t offset, size_t chunk,
                         size_t window);
/* How long what is on its way may take to arrive (trib_drain_ms). */
uint64_t trib_outbound_drain_ms(const struct trib_outbound *out);
/* The next piece that may go, as a slice with one reference, and its offset; NULL when none may (or memory is
 * out: then it is asked for again). */
struct trib_blob *trib_outbound_next(struct trib_outbound *out, size_t *offset);
/* What is known of the line stays. */
void trib_outbound_drop(struct trib_outbound *out);

/* What a message has on the wire: frames with ZMTP's own headers (2 bytes, 9 above 255). */
size_t trib_zmtp_bytes(size_t frame_bytes, size_t payload_bytes);

#endif
