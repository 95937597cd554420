/* Positions as the distances between them.
 *
 * leb: LEB128, a byte for distances below 128, and so on.
 *
 * rice: u8 b, then for each position d = its distance from the one before, less 1 (the first: the position
 * itself): d >> b zeros and a one, then the lower b bits of d. Bits are filled in from the lowest; the last
 * byte is filled up with zeros. The encoder takes the b that needs the fewest bits in all. With b = 0 that is
 * a bitmap. A list of plain numbers is never shorter: with the best b a position takes about log2(n / k)
 * + 1.5 bits, within a tenth of a bit of Golomb's code and of the entropy. */
#include "shared/codec/codec_row.h"

#include <string.h>

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

/* ---- rice ---- */

enum { RICE_HEAD = 1, MOST_RICE = 31 };

static size_t max_rice_bytes(size_t kept, size_t count) {
    size_t bits = SIZE_MAX;
    for (unsigned b = 0; b <= MOST_RICE; b++) bits = least(bits, kept * (b + 1) + (count >> b));
    return RICE_HEAD + (bits + 7) / 8;
}

static uint32_t distance(const uint32_t *positions, size_t i) {
    return i == 0 ? positions[0] : positions[i] - positions[i - 1] - 1;
}

static unsigned best_rice(const uint32_t *positions, size_t kept) {
    uint64_t bits[MOST_RICE + 1];
    unsigned best = 0;
    for (unsigned b = 0; b <= MOST_RICE; b++) bits[b] = (uint64_t)kept * (b + 1);
    for (size_t i = 0; i < kept; i++) {
        uint32_t d = distance(positions, i);
        for (unsigned b = 0; d > 0 && b <= MOST_RICE; b++, d >>= 1) bits[b] += d;
    }
    for (unsigned b = 1; b <= MOST_RICE; b++)
        if (bits[b] < bits[best]) best = b;
    return best;
}

struct bit_writer {
    uint8_t *out;
    size_t bytes;
    uint64_t waiting; /* of these bits, fewer than 8 after each write */
    unsigned bits;
};

static void put_bits(struct bit_writer *w, uint64_t value, unsigned bits) {
    w->waiting |= value << w->bits;
    w->bits += bits;
    for (; w->bits >= 8; w->bits -= 8, w->waiting >>= 8) w->out[w->bytes++] = (uint8_t)w->waiting;
}

static size_t write_rice(const uint32_t *positions, size_t kept, uint8_t *out) {
    const unsigned b = best_rice(positions, kept);
    struct bit_writer w = {.out = out + RICE_HEAD};
    out[0] = (uint8_t)b;
    for (size_t i = 0; i < kept; i++) {
        uint32_t d = distance(positions, i), zeros = d >> b;
        for (; zeros >= 32; zeros -= 32) put_bits(&w, 0, 32);
        put_bits(&w, UINT64_C(1) << zeros, zeros + 1);
        put_bits(&w, d & ((UINT32_C(1) << b) - 1), b);
    }
    if (w.bits > 0) w.out[w.bytes++] = (uint8_t)w.waiting;
    return RICE_HEAD + w.bytes;
}

/* The bits from `bit` on, 57 of them or as many as there are; zeros behind the end. */
static uint64_t peek(const uint8_t *data, size_t bytes, size_t bit) {
    uint64_t word = 0;
    size_t at = bit / 8;
    if (at < bytes) memcpy(&word, data + at, least(bytes - at, sizeof word));
    return word >> bit % 8;
}

/* Reads one distance at *bit; false if it runs over the end or is at least `limit`. */
static bool read_rice(const uint8_t *data, size_t bytes, unsigned b, size_t limit, size_t *bit, size_t *d) {
    const size_t end = bytes * 8;
    size_t zeros = 0;
    for (;;) {
        uint64_t word = peek(data, bytes, *bit);
        unsigned run = word != 0 ? (unsigned)__builtin_ctzll(word) : 57;
        *bit += run;
        zeros += run;
        if (*bit >= end || (zeros > 0 && zeros << b >= limit)) return false;
        if (word != 0 && run < 57) break;
    }
    *bit += 1;
    *d = zeros << b | (peek(data, bytes, *bit) & ((UINT64_C(1) << b) - 1));
    *bit += b;
    return *bit <= end && *d < limit;
}

static enum trib_status check_rice(const uint8_t *data, size_t bytes, size_t kept, size_t count, size_t *used,
                                   struct trib_error *err) {
    size_t bit = RICE_HEAD * 8, position = 0;
    if (bytes < RICE_HEAD || data[0] > MOST_RICE)
        return trib_fail(err, TRIB_INVALID, "rice: found %s, expected a number of bits up to %d",
                         bytes < RICE_HEAD ? "nothing" : "more", MOST_RICE);
    for (size_t i = 0; i < kept; i++) {
        size_t d = 0;
        if (!read_rice(data, bytes, data[0], count - position, &bit, &d))
            return trib_fail(err, TRIB_INVALID,
                             "rice: the position of value %zu is cut short, or not below %zu", i, count);
        position += d + 1;
    }
    if (bit % 8 != 0 && data[bit / 8] >> bit % 8 != 0)
        return trib_fail(err, TRIB_INVALID, "rice: the positions end in more than 0");
    *used = (bit + 7) / 8;
    return TRIB_OK;
}

static size_t next_rice(const uint8_t *data, size_t bytes, size_t *cursor, size_t before) {
    size_t d = 0;
    if (*cursor == 0) *cursor = RICE_HEAD * 8;
    bool valid = read_rice(data, bytes, data[0], SIZE_MAX >> 1, cursor, &d);
    TRIB_ASSERT(valid); /* it has passed the check */
    return before == SIZE_MAX ? d : before + d + 1;
}

const struct trib_codec_positions trib_codec_rice = {max_rice_bytes, write_rice, check_rice, next_rice};
