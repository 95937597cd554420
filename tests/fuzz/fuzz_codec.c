/* Any bytes as an encoding: byte 0 picks the codec, bytes 1 and 2 the count. What the check lets through
 * decodes to finite values, whole and in pieces alike, and its norm is the one reported.
 * fuzz_codec --specs: the codecs that byte 0 picks, a line each, for seeds.py. */
#include "shared/codec/codec.h"

#include "shared/base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { HEAD = 3, PIECE = 97 };

static const char *const extra[] = {
    "topk(0.3)+f32", "topk(1)+f16", "int8(zero=true, block=16)", "int4(zero=true, block=0)", "int2(block=16)",
    "1bit", "3bit(block=16)", "topk(0.3)+rotate(block=16)+4bit", "rotate(block=64)+f32",
    "topk(0.2)+int4(block=32)", "threshold(1)+ternary(block=16)+rice", "randomk(0.2)+rotate+kmeans(bits=2)",
    "qsgd(levels=100, block=16)", "int8(per=channel)", "int4(zero=true, per=tensor)", "powersgd(3)+f32",
    "powersgd(1)+rotate(block=16)+2bit", "rows(0.5)+f32",
    "layer(conv=rows(0.5)+int4+rice, else=powersgd(2)+int8)+zstd",
    /* and what else tests/vectors/codecs.txt has */
    "int8(block=16)", "int8(zero=true)", "int4(zero=true)", "int2(zero=true)", "int4(block=16)",
    "int4(block=32)", "2bit(block=16)", "2bit(block=0)", "2bit", "3bit", "4bit", "rotate+f32",
    "rotate(block=16)+4bit", "topk(0.5)+rotate+2bit+rice", "rotate(block=32)+3bit", "topk(0.1)+int4+rice",
    "topk(0.1)+bf16", "topk(0.4)+f32", "topk(0.4)+int4", "topk(0.4)+1bit", "topk(0.4)+int8",
    "topk(0.4)+f32+rice", "threshold(1)+f32", "randomk(1)+f32", "randomk(0.5)+f32", "qsgd(levels=5)",
    "kmeans(bits=1)", "int4(per=tensor)", "int4(zero=true, per=channel)", "powersgd(1)+f32",
    "rows(0.5)+f32+rice", "rows(0.5)+rotate(block=16)+4bit", "int8(zero=true, round=stochastic)"};
enum { EXTRA = sizeof extra / sizeof extra[0] };

/* What byte 0 picks; NULL behind the last one. */
static const char *spec_of(size_t which) {
    size_t count;
    const struct trib_codec_row *rows = trib_codec_rows(&count);
    if (which < count) return rows[which].example;
    return which < count + EXTRA ? extra[which - count] : NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    if (*argc < 2 || strcmp((*argv)[1], "--specs") != 0) return 0;
    for (size_t i = 0; spec_of(i) != NULL; i++) puts(spec_of(i));
    exit(0);
}

/* Two tensors or three: a vector, and rows of seven with what is left over. */
static void schema_of(struct trib_schema *schema, size_t values) {
    const size_t conv = values / 3 + 1, all = values + 2 - conv, rest = all % 7, fc[2] = {all / 7, 7};
    trib_schema_init(schema);
    enum trib_status status = trib_schema_add(schema, "conv", &conv, 1, 0.0F, NULL);
    if (status == TRIB_OK && fc[0] > 0) status = trib_schema_add(schema, "fc.weight", fc, 2, 0.0F, NULL);
    if (status == TRIB_OK && rest > 0) status = trib_schema_add(schema, "fc.bias", &rest, 1, 0.0F, NULL);
    TRIB_ASSERT(status == TRIB_OK);
}

static struct trib_codec *pick(uint8_t which, size_t values) {
    size_t count;
    (void)trib_codec_rows(&count);
    struct trib_codec *codec = NULL;
    const char *spec = spec_of(which % (count + EXTRA));
    struct trib_schema schema;
    schema_of(&schema, values);
    enum trib_status status = trib_codec_new_for(spec, &schema, &codec, NULL);
    TRIB_ASSERT(status == TRIB_OK);
    trib_schema_release(&schema);
    return codec;
}

static void decode(const struct trib_codec *codec, const uint8_t *data, size_t bytes, size_t count,
                   double squares) {
    float *whole = trib_alloc_floats(count), *pieces = trib_alloc_floats(count);
    struct trib_decoder decoder, other; /* what one adds the other passes over */
    struct trib_plain plain;
    double sum = 0.0;
    TRIB_ASSERT(whole != NULL && pieces != NULL);
    enum trib_status status = trib_codec_add(codec, data, bytes, count, 1.0F, whole);
    TRIB_ASSERT(status == TRIB_OK);
    status = trib_plain_open(codec, data, bytes, count, &plain, NULL);
    TRIB_ASSERT(status == TRIB_OK);
    trib_decoder_start(&decoder, codec, plain.data, plain.bytes, count);
    other = decoder;
    while (decoder.position < count) {
        size_t n = count - decoder.position < PIECE ? count - decoder.position : PIECE;
        const size_t at = decoder.position;
        trib_decoder_add(&decoder, n, 1.0F, pieces + at);
        trib_decoder_skip(&other, n);
        const struct trib_decoder swap = decoder;
        decoder = other;
        other = swap;
    }
    for (size_t i = 0; i < count; i++) {
        TRIB_ASSERT(isfinite(whole[i]));
        sum += (double)whole[i] * (double)whole[i];
    }
    TRIB_ASSERT(memcmp(whole, pieces, count * sizeof *whole) == 0);
    TRIB_ASSERT(fabs(sum - squares) <= 1e-4 * sum + 1e-70);
    trib_plain_release(&plain);
    trib_free(whole);
    trib_free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct trib_error err;
    double squares = -1.0;
    if (bytes < HEAD) return 0;
    size_t count = ((size_t)data[1] | (size_t)data[2] << 8);
    struct trib_codec *codec = pick(data[0], count);
    count += 2; /* a tensor has a value at least */
    const uint8_t *payload = data + HEAD;
    size_t payload_bytes = bytes - HEAD;
    enum trib_status status = trib_codec_check(codec, payload, payload_bytes, count, &squares, &err);
    if (status == TRIB_OK) {
        decode(codec, payload, payload_bytes, count, squares);
        TRIB_ASSERT(payload_bytes <= trib_codec_max_bytes(codec, count));
    } else {
        TRIB_ASSERT(err.status == status && (status == TRIB_INVALID || status == TRIB_LIMIT));
    }
    trib_codec_free(&codec);
    return 0;
}
