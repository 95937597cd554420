/* kmeans(bits): a table of 2, 4, 8 or 16 values for the whole vector, each value the nearest of them: k-means
 * in one dimension (Lloyd's algorithm) over a sample of up to 8192 values. One entry is always 0, so that no
 * value's error is larger than itself.
 *
 *     header: f32 x 2^bits, ascending, one of them 0; codes: the number of the entry */
#include "shared/codec/packed.h"

#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { SAMPLE = 8192, ROUNDS = 12, MOST_ENTRIES = 16 };

const struct trib_option trib_kmeans_params[TRIB_KMEANS_PARAMS] = {
    {.name = "bits",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_kmeans_config, bits),
     .fallback = "4",
     .min = 1,
     .max = 4,
     .help = "Bits a value: the table has 2^bits entries."},
};

static size_t entries(const void *config) {
    return (size_t)1 << ((const struct trib_kmeans_config *)config)->bits;
}

static void shape(const void *config, struct trib_shape *out) {
    *out = (struct trib_shape){.bits = (unsigned)((const struct trib_kmeans_config *)config)->bits,
                               .head = entries(config) * sizeof(float),
                               .all_codes = true};
}

static int ascending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Takes every so-manieth value; false if any of all is not finite. */
static bool take_sample(const struct trib_source *source, float *sample, size_t *count, float *ends) {
    const size_t step = source->count / SAMPLE + 1;
    float room[TRIB_CODEC_BLOCK];
    *count = 0;
    for (size_t at = 0, n, next = 0; at < source->count; at += n) {
        const float *block = trib_source_block(source, at, room, &n);
        if (!trib_kernels()->all_finite(block, n)) return false;
        for (size_t i = 0; i < n; i++) {
            if (block[i] < ends[0]) ends[0] = block[i];
            if (block[i] > ends[1]) ends[1] = block[i];
        }
        for (; next < at + n; next += step) sample[(*count)++] = block[next - at];
    }
    return true;
}

/* One round: each entry but the one that is 0 becomes the mean of the sorted sample's values nearest to it.
 */
static void improve(float *table, size_t n, const float *sample, size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double border = i + 1 < n ? ((double)table[i] + (double)table[i + 1]) / 2 : INFINITY, sum = 0.0;
        size_t first = at;
        for (; at < count && (double)sample[at] < border; at++) sum += (double)sample[at];
        if (at > first && table[i] != 0.0F) table[i] = (float)(sum / (double)(at - first));
        if (fabsf(table[i]) < FLT_MIN) table[i] = 0.0F;
    }
}

static void fit(float *table, size_t n, float *sample, size_t count, const float *ends) {
    size_t nearest = 0;
    qsort(sample, count, sizeof *sample, ascending);
    for (size_t i = 0; i < n; i++) table[i] = sample[(2 * i + 1) * count / (2 * n)];
    for (size_t i = 1; i < n; i++)
        if (fabsf(table[i]) < fabsf(table[nearest])) nearest = i;
    table[nearest] = 0.0F;
    qsort(table, n, sizeof *table, ascending);
    const bool low = -ends[0] > ends[1]; /* a sign that no entry is of would never be sent */
    if (ends[0] < 0.0F && table[0] >= 0.0F && (n > 2 || low)) table[0] = ends[0], table[1] = 0.0F;
    if (ends[1] > 0.0F && table[n - 1] <= 0.0F && (n > 2 || !low))
        table[n - 1] = ends[1], table[n - 2] = 0.0F;
    qsort(table, n, sizeof *table, ascending);
    for (size_t r = 0; r < ROUNDS; r++) {
        improve(table, n, sample, count);
        qsort(table, n, sizeof *table, ascending);
    }
}

static bool survey(const void *config, const struct trib_source *source, uint8_t *header) {
    float sample[SAMPLE], table[MOST_ENTRIES], ends[2] = {0.0F, 0.0F};
    size_t count;
    if (!take_sample(source, sample, &count, ends)) return false;
    fit(table, entries(config), sample, count, ends);
    for (size_t i = 0; i < entries(config); i++) trib_put_f32(header + i * sizeof *table, table[i] + 0.0F);
    return true;
}

static bool begin(const void *config, const struct trib_block_stats *stats, struct trib_quantiser *out,
                  uint8_t *header) {
    (void)stats;
    out->header = header;
    for (size_t i = 0; i < entries(config); i++)
        if (trib_get_f32(header + i * sizeof(float)) != 0.0F) return true;
    return false;
}

static void quantise(const void *config, const struct trib_quantiser *q, const float *x, size_t n, size_t at,
                     uint8_t *codes) {
    (void)at;
    float borders[MOST_ENTRIES];
    const size_t last = entries(config) - 1;
    for (size_t i = 0; i < last; i++) {
        const uint8_t *entry = q->header + i * sizeof(float);
        borders[i] = trib_get_f32(entry) / 2 + trib_get_f32(entry + sizeof(float)) / 2;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned code = 0;
        for (size_t b = 0; b < last; b++) code += x[i] >= borders[b];
        codes[i] = (uint8_t)code;
    }
}

static enum trib_status levels(const void *config, const uint8_t *header, float *out,
                               struct trib_error *err) {
    bool zero = false;
    for (size_t i = 0; i < entries(config); i++) {
        out[i] = trib_get_f32(header + i * sizeof(float));
        if (!isfinite(out[i])) return trib_codec_not_finite("kmeans", err);
        zero = zero || trib_f32_bits(out[i]) == 0;
        if (fabsf(out[i]) < FLT_MIN && trib_f32_bits(out[i]) != 0)
            return trib_fail(err, TRIB_INVALID, "kmeans: entry %zu is %g, expected 0 or a normal number", i,
                             (double)out[i]);
        if (i > 0 && out[i] < out[i - 1])
            return trib_fail(err, TRIB_INVALID, "kmeans: entry %zu is below the one before", i);
    }
    return zero ? TRIB_OK : trib_fail(err, TRIB_INVALID, "kmeans: no entry is 0");
}

static const struct trib_packed packed = {shape, begin, quantise, NULL, levels, survey};
const struct trib_codec_values trib_codec_kmeans = {
    trib_packed_bytes, trib_packed_encode, trib_packed_check, trib_packed_add, NULL, &packed, NULL};
