/* BLAKE2b-256 (RFC 7693) of LANES messages at once, for the sets that define NAME(function) and LANES: a
 * vector has one word of each message, little-endian. */

typedef uint64_t words __attribute__((vector_size(8 * LANES)));

static const uint64_t initial[8] = {0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B,
                                    0xA54FF53A5F1D36F1, 0x510E527FADE682D1, 0x9B05688C2B3E6C1F,
                                    0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179};
static const uint8_t sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline words turned(words x, unsigned by) {
    return x >> by | x << (64 - by);
}

static inline void mix(words *v, size_t a, size_t b, size_t c, size_t d, words x, words y) {
    v[a] = v[a] + v[b] + x;
    v[d] = turned(v[d] ^ v[a], 32);
    v[c] = v[c] + v[d];
    v[b] = turned(v[b] ^ v[c], 24);
    v[a] = v[a] + v[b] + y;
    v[d] = turned(v[d] ^ v[a], 16);
    v[c] = v[c] + v[d];
    v[b] = turned(v[b] ^ v[c], 63);
}

static inline void round_of(words *v, const words *m, const uint8_t *s) {
    mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
    mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
    mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
    mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
    mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
    mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
    mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
    mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
}

/* One block of 128 bytes of each message: `end` bytes of it are done then. */
static void take_block(words h[8], const uint8_t *data, size_t stride, uint64_t end, bool last) {
    words m[16], v[16];
    for (size_t i = 0; i < 16; i++)
        for (size_t lane = 0; lane < LANES; lane++) {
            uint64_t word;
            memcpy(&word, data + lane * stride + 8 * i, sizeof word);
            m[i][lane] = word;
        }
    for (size_t i = 0; i < 8; i++) {
        v[i] = h[i];
        v[8 + i] = (words){0} + initial[i];
    }
    v[12] ^= end;
    if (last) v[14] = ~v[14];
    for (size_t r = 0; r < 12; r++) round_of(v, m, sigma[r % 10]);
    for (size_t i = 0; i < 8; i++) h[i] ^= v[i] ^ v[8 + i];
}

static void take_leaves(uint8_t *out, const uint8_t *data, size_t bytes) {
    words h[8];
    for (size_t i = 0; i < 8; i++) h[i] = (words){0} + (i == 0 ? initial[0] ^ 0x01010020 : initial[i]);
    for (size_t at = 0; at < bytes; at += 128) take_block(h, data + at, bytes, at + 128, at + 128 == bytes);
    for (size_t lane = 0; lane < LANES; lane++)
        for (size_t i = 0; i < 4; i++) {
            uint64_t word = h[i][lane];
            memcpy(out + 32 * lane + 8 * i, &word, sizeof word);
        }
}

size_t NAME(leaves)(uint8_t *out, const uint8_t *data, size_t bytes, size_t count) {
    size_t done = 0;
    for (; done + LANES <= count; done += LANES) take_leaves(out + 32 * done, data + done * bytes, bytes);
    return done;
}
