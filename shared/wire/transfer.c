#include "shared/wire/transfer.h"

#include "shared/kernels/kernels.h"

enum { RATE_MS = 1000 }; /* a rate is measured over so long at least */

enum trib_status trib_inbound_start(struct trib_inbound *in, uint64_t number, size_t total, uint32_t crc) {
    if (in->blob != NULL && in->number == number && in->total == total && in->crc == crc) return TRIB_OK;
    trib_inbound_drop(in);
    struct trib_blob *blob = trib_blob_new(total);
    if (blob == NULL) return TRIB_NOMEM;
    trib_inbound_start_in(in, number, crc, &blob);
    return TRIB_OK;
}

void trib_inbound_start_in(struct trib_inbound *in, uint64_t number, uint32_t crc, struct trib_blob **blob) {
    trib_inbound_drop(in);
    in->blob = *blob;
    in->number = number;
    in->total = trib_blob_size(*blob);
    in->crc = crc;
    *blob = NULL;
}

enum trib_status trib_inbound_piece(struct trib_inbound *in, size_t offset, const void *data, size_t bytes) {
    if (in->blob == NULL || offset > in->total || bytes > in->total - offset) return TRIB_INVALID;
    if (offset > in->have && in->missed != in->have + 1) {
        in->missed = in->have + 1;
        return TRIB_AGAIN;
    }
    if (offset != in->have || bytes == 0) return TRIB_NOT_FOUND;
    if (!trib_blob_write(in->blob, offset, data, bytes)) return TRIB_IO;
    in->sum = trib_kernels()->crc32c(in->sum, data, bytes); /* while it is in cache */
    in->have += bytes;
    return TRIB_OK;
}

struct trib_blob *trib_inbound_take(struct trib_inbound *in) {
    struct trib_blob *blob = in->blob;
    *in = (struct trib_inbound){0};
    return blob;
}

void trib_inbound_drop(struct trib_inbound *in) {
    trib_blob_unref(&in->blob);
    *in = (struct trib_inbound){0};
}

void trib_outbound_start(struct trib_outbound *out, uint64_t number, struct trib_blob *payload) {
    trib_outbound_drop(out);
    out->number = number;
    out->payload = trib_blob_ref(payload);
}

static void measure(struct trib_outbound *out, uint64_t now_ms, size_t offset) {
    uint64_t elapsed = now_ms > out->mark_ms ? now_ms - out->mark_ms : 0;
    if (out->granted > 0 && elapsed < RATE_MS) { /* at least so fast */
        uint64_t least = offset > out->mark ? (uint64_t)(offset - out->mark) * 1000 / RATE_MS : 0;
        if (out->rate < least) out->rate = least;
        return;
    }
    if (out->granted > 0 && offset > out->mark)
        out->rate = 1 + (uint64_t)(offset - out->mark) * 1000 / elapsed;
    out->mark_ms = now_ms;
    out->mark = offset;
}

void trib_outbound_grant(struct trib_outbound *out, uint64_t now_ms, size_t offset, size_t chunk,
                         size_t window) {
    if (out->payload == NULL || offset > trib_blob_size(out->payload)) return;
    measure(out, now_ms, offset);
    /* What a peer asks for is brought into the protocol's range: a hostile 1 would be a message a byte. */
    out->chunk = chunk < TRIB_CHUNK_MIN ? TRIB_CHUNK_MIN : chunk > TRIB_CHUNK_MAX ? TRIB_CHUNK_MAX : chunk;
    size_t end =
        window > trib_blob_size(out->payload) - offset ? trib_blob_size(out->payload) : offset + window;
    /* A grant that does not move on means that what was sent beyond it is lost. */
    if (offset > out->sent || end <= out->granted) out->sent = offset;
    out->granted = end;
    out->arrived = offset;
    out->window = window;
}

uint64_t trib_outbound_drain_ms(const struct trib_outbound *out) {
    return out->payload != NULL && out->sent > out->arrived
               ? trib_drain_ms(out->sent - out->arrived, out->rate)
               : 0;
}

struct trib_blob *trib_outbound_next(struct trib_outbound *out, size_t *offset) {
    if (out->payload == NULL || out->chunk == 0 || out->sent >= out->granted) return NULL;
    size_t bytes = out->granted - out->sent < out->chunk ? out->granted - out->sent : out->chunk;
    struct trib_blob *piece = trib_blob_slice(out->payload, out->sent, bytes);
    if (piece == NULL) return NULL;
    *offset = out->sent;
    out->sent += bytes;
    return piece;
}

void trib_outbound_drop(struct trib_outbound *out) {
    trib_blob_unref(&out->payload);
    *out = (struct trib_outbound){.window = out->window, .rate = out->rate};
}

static size_t zmtp_frame(size_t bytes) {
    return bytes + (bytes > 255 ? 9 : 2);
}

size_t trib_zmtp_bytes(size_t frame_bytes, size_t payload_bytes) {
    return zmtp_frame(frame_bytes) + (payload_bytes > 0 ? zmtp_frame(payload_bytes) : 0);
}
