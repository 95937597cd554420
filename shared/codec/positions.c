/* leb: positions as the distances between them, LEB128. */
#include "shared/codec/codec_row.h"

enum { MOST_GAP_BYTES = 5 /* of a u32 */ };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* The gaps add up to less than count, so few of them can be long: at most count / 2^7 have a second byte. */
static size_t max_leb_bytes(size_t kept, size_t count) {
    size_t bytes = kept;
    for (unsigned bits = 7; bits < 7 * MOST_GAP_BYTES; bits += 7) bytes += least(kept, count >> bits);
    return bytes;
}

static size_t write_leb(const uint32_t *positions, size_t kept, uint8_t *out) {
    size_t n = 0;
    uint32_t last = 0;
    for (size_t i = 0; i < kept; i++) {
        uint32_t gap = positions[i] - last;
        last = positions[i];
        for (; gap >= 0x80; gap >>= 7) out[n++] = (uint8_t)(gap | 0x80U);
        out[n++] = (uint8_t)gap;
    }
    return n;
}

/* Reads one gap at *cursor; false if it is longer than it need be, above 32 bits, or runs over `end`. */
static bool read_gap(const uint8_t *data, size_t end, size_t *cursor, size_t *gap) {
    uint64_t value = 0;
    for (unsigned i = 0; i < MOST_GAP_BYTES && *cursor < end; i++) {
        uint8_t byte = data[(*cursor)++];
        value |= (uint64_t)(byte & 0x7FU) << (7 * i);
        if ((byte & 0x80U) != 0) continue;
        *gap = (size_t)value;
        return value <= UINT32_MAX && (byte != 0 || i == 0);
    }
    return false;
}

static enum trib_status check_leb(const uint8_t *data, size_t bytes, size_t kept, size_t count, size_t *used,
                                  struct trib_error *err) {
    size_t position = 0, cursor = 0;
    for (size_t i = 0; i < kept; i++) {
        size_t gap = 0, at = cursor;
        if (!read_gap(data, bytes, &cursor, &gap))
            return trib_fail(err, TRIB_INVALID,
                             "positions: the gap of value %zu at byte %zu is cut short, or not the shortest "
                             "LEB128 of a number below 2^32",
                             i, at);
        if (gap == 0 && i > 0)
            return trib_fail(err, TRIB_INVALID, "positions: position %zu stands twice (byte %zu)", position,
                             at);
        position += gap;
        if (position >= count)
            return trib_fail(err, TRIB_INVALID, "positions: value %zu is for position %zu, but there are %zu",
                             i, position, count);
    }
    *used = cursor;
    return TRIB_OK;
}

static size_t next_leb(const uint8_t *data, size_t bytes, size_t *cursor, size_t before) {
    size_t gap = 0;
    bool valid = read_gap(data, bytes, cursor, &gap);
    TRIB_ASSERT(valid); /* it has passed the check */
    return before == SIZE_MAX ? gap : before + gap;
}

const struct trib_codec_positions trib_codec_leb = {max_leb_bytes, write_leb, check_leb, next_leb};
