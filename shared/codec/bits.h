/* Codes of 1 to 4 bits, eight at a time in a 64-bit number: byte i of `spread` is code i, bits [i * b,
 * (i + 1) * b) of `dense`. The three steps move the upper half, then the upper quarters and eighths. */
#ifndef TRIB_CODEC_BITS_H
#define TRIB_CODEC_BITS_H

#include <stdint.h>

/* Eight bytes that are each `byte`. */
static inline uint64_t trib_bytes_of(uint64_t byte) {
    return byte * UINT64_C(0x0101010101010101);
}

static inline uint64_t trib_bits_spread(uint64_t dense, unsigned bits) {
    const unsigned gap = 8 - bits;
    const uint64_t pair = (UINT64_C(1) << 2 * bits) - 1, four = (UINT64_C(1) << 4 * bits) - 1;
    uint64_t x = (dense | dense << 4 * gap) & (four | four << 32);
    x = (x | x << 2 * gap) & (pair * UINT64_C(0x0001000100010001));
    return (x | x << gap) & trib_bytes_of((UINT64_C(1) << bits) - 1);
}

static inline uint64_t trib_bits_dense(uint64_t spread, unsigned bits) {
    const unsigned gap = 8 - bits;
    const uint64_t pair = (UINT64_C(1) << 2 * bits) - 1, four = (UINT64_C(1) << 4 * bits) - 1;
    uint64_t x = spread & trib_bytes_of((UINT64_C(1) << bits) - 1);
    x = (x | x >> gap) & (pair * UINT64_C(0x0001000100010001));
    x = (x | x >> 2 * gap) & (four | four << 32);
    return (x | x >> 4 * gap) & (UINT64_MAX >> 8 * gap);
}

#endif
