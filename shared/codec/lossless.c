/* zstd(level): the last stage, over all bytes of an encoding; what it would not make smaller stays as it is.
 *
 *     u8 0, then the encoding; or u8 1, u32 its bytes, then one zstd frame
 *
 * The size says what will be allocated, and is refused if it is larger than any encoding of that many values;
 * decompression stops there whatever the frame holds. */
#include "shared/codec/lossless.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"

#include <inttypes.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { STORED, COMPRESSED, STORED_HEAD = 1, COMPRESSED_HEAD = 5 };

const struct trib_option trib_zstd_params[TRIB_ZSTD_PARAMS] = {
    {.name = "level",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_zstd_config, level),
     .fallback = "1",
     .min = 1,
     .max = 19,
     .help = "How hard it tries; more than 1 seldom helps with codes."},
};

size_t trib_lossless_max_bytes(size_t plain) {
    return STORED_HEAD + plain;
}

enum trib_status trib_lossless_encode(const struct trib_stage *stage, struct trib_blob **blob,
                                      struct trib_error *err) {
    const struct trib_zstd_config *config = stage->config;
    const size_t plain = trib_blob_size(*blob), most = trib_lossless_max_bytes(plain);
    uint8_t *room = trib_alloc(most);
    size_t bytes = most;
    if (room == NULL) return trib_fail(err, TRIB_NOMEM, "zstd: no memory for %zu bytes", most);
    size_t packed = SIZE_MAX;
    if (plain > COMPRESSED_HEAD && plain <= UINT32_MAX)
        packed = ZSTD_compress(room + COMPRESSED_HEAD, most - COMPRESSED_HEAD, trib_blob_data(*blob), plain,
                               (int)config->level);
    if (ZSTD_isError(packed) == 0) {
        room[0] = COMPRESSED;
        trib_put_u32(room + 1, (uint32_t)plain);
        bytes = COMPRESSED_HEAD + packed;
    } else { /* no room for it: it is not smaller */
        room[0] = STORED;
        if (plain > 0) memcpy(room + STORED_HEAD, trib_blob_data(*blob), plain);
    }
    struct trib_blob *out = trib_blob_copy(room, bytes);
    trib_free(room);
    if (out == NULL) return trib_fail(err, TRIB_NOMEM, "zstd: no memory for %zu bytes", bytes);
    trib_blob_unref(blob);
    *blob = out;
    return TRIB_OK;
}

static enum trib_status decompress(const uint8_t *data, size_t bytes, size_t plain, struct trib_plain *out,
                                   struct trib_error *err) {
    if (ZSTD_findFrameCompressedSize(data, bytes) != bytes)
        return trib_fail(err, TRIB_INVALID, "zstd: found something else than one whole frame");
    out->owned = trib_alloc(plain);
    if (out->owned == NULL) return trib_fail(err, TRIB_NOMEM, "zstd: no memory for %zu bytes", plain);
    size_t found = ZSTD_decompress(out->owned, plain, data, bytes);
    out->data = out->owned;
    out->bytes = plain;
    if (found == plain) return TRIB_OK;
    trib_plain_release(out);
    if (ZSTD_isError(found) == 0)
        return trib_fail(err, TRIB_INVALID, "zstd: found %zu bytes in the frame, expected %zu", found, plain);
    if (ZSTD_getErrorCode(found) == ZSTD_error_memory_allocation)
        return trib_fail(err, TRIB_NOMEM, "zstd: no memory to decompress");
    return trib_fail(err, TRIB_INVALID, "zstd: %s", ZSTD_getErrorName(found));
}

enum trib_status trib_lossless_open(const uint8_t *data, size_t bytes, size_t most, struct trib_plain *out,
                                    struct trib_error *err) {
    *out = (struct trib_plain){0};
    if (bytes >= STORED_HEAD && data[0] == STORED) {
        *out = (struct trib_plain){.data = data + STORED_HEAD, .bytes = bytes - STORED_HEAD};
        return TRIB_OK;
    }
    if (bytes < COMPRESSED_HEAD || data[0] != COMPRESSED)
        return trib_fail(err, TRIB_INVALID,
                         "zstd: found %zu bytes that begin with %u, expected 0, or 1 and a frame", bytes,
                         bytes > 0 ? data[0] : 0U);
    const size_t plain = trib_get_u32(data + 1);
    if (plain > most)
        return trib_fail(err, TRIB_INVALID, "zstd: found a frame of %zu bytes, expected at most %zu", plain,
                         most);
    if (bytes > trib_lossless_max_bytes(plain))
        return trib_fail(err, TRIB_INVALID, "zstd: found a frame in %zu bytes that would be %zu as it is",
                         bytes, trib_lossless_max_bytes(plain));
    return decompress(data + COMPRESSED_HEAD, bytes - COMPRESSED_HEAD, plain, out, err);
}

void trib_plain_release(struct trib_plain *plain) {
    trib_free(plain->owned);
    *plain = (struct trib_plain){0};
}
