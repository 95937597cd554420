/* Payloads in pieces, the same in both directions: the sender offers (PUSH or MODEL with payload_bytes and no
 * second frame), the receiver answers CREDIT with what it already has, and pieces follow within the window.
 * Bookkeeping only; messages are the roles' business. A transfer is named by a number: the update's, or the
 * version a model leads to. */
#ifndef TRIB_WIRE_TRANSFER_H
#define TRIB_WIRE_TRANSFER_H

#include "shared/base/blob.h"
#include "shared/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { TRIB_CHUNK_MIN = 16 * 1024, TRIB_CHUNK_MAX = 1024 * 1024 };

struct trib_inbound {
    uint64_t number;
    uint32_t crc; /* of the whole, as offered */
    size_t total, have;
    struct trib_blob *blob; /* NULL: none under way */
};
/* Begins, or goes on when the same (number, total, crc) was under way: `have` is where. */
enum trib_status trib_inbound_start(struct trib_inbound *in, uint64_t number, size_t total,
                                    uint32_t crc) TRIB_MUST_USE;
/* A piece. TRIB_AGAIN: seen before, or beyond what is there (a lost piece): answer CREDIT with `have`.
 * TRIB_INVALID: outside the payload. */
enum trib_status trib_inbound_piece(struct trib_inbound *in, size_t offset, const void *data,
                                    size_t bytes) TRIB_MUST_USE;
static inline bool trib_inbound_complete(const struct trib_inbound *in) {
    return in->blob != NULL && in->have == in->total;
}
/* Takes the complete payload out; the caller checks its CRC. */
struct trib_blob *trib_inbound_take(struct trib_inbound *in);
void trib_inbound_drop(struct trib_inbound *in);

struct trib_outbound {
    uint64_t number;
    struct trib_blob *payload; /* NULL: none under way */
    size_t sent, granted, chunk;
};
void trib_outbound_start(struct trib_outbound *out, uint64_t number, struct trib_blob *payload);
/* CREDIT: the receiver has everything below `offset`; `window` bytes beyond may be sent, `chunk` at a time.
 */
void trib_outbound_grant(struct trib_outbound *out, size_t offset, size_t chunk, size_t window);
/* The next piece that may go, as a slice with one reference, and its offset; NULL when none may (or memory is
 * out: then it is asked for again). */
struct trib_blob *trib_outbound_next(struct trib_outbound *out, size_t *offset);
void trib_outbound_drop(struct trib_outbound *out);

/* What a message has on the wire: frames with ZMTP's own headers (2 bytes, 9 above 255). */
size_t trib_zmtp_bytes(size_t frame_bytes, size_t payload_bytes);

#endif
