#include "shared/learn/idx.h"

#include "shared/base/alloc.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

static const char again[] = "fetch it again (make data) or point data.path at a good copy";

/* What zlib has to say of a read that gave too little. */
static enum trib_status short_read(gzFile file, const char *path, struct trib_error *err) {
    int code;
    const char *text = gzerror(file, &code);
    if (code == Z_ERRNO) return trib_fail_errno(err, "%s: cannot be read", path);
    if (code == Z_MEM_ERROR) return trib_fail(err, TRIB_NOMEM, "%s: no memory to unpack it", path);
    if (code == Z_OK || code == Z_BUF_ERROR)
        return trib_fail(err, TRIB_CORRUPT, "%s: the file ends too early; %s", path, again);
    return trib_fail(err, TRIB_CORRUPT, "%s: damaged (%.80s); %s", path, text, again);
}

static enum trib_status read_all(gzFile file, const char *path, uint8_t *to, size_t bytes,
                                 struct trib_error *err) {
    while (bytes > 0) {
        unsigned part = bytes < (1u << 20) ? (unsigned)bytes : 1u << 20;
        int got = gzread(file, to, part);
        if (got <= 0) return short_read(file, path, err);
        to += got;
        bytes -= (size_t)got;
    }
    return TRIB_OK;
}

/* Reading on to the end is what makes zlib compare the checksum. */
static enum trib_status expect_end(gzFile file, const char *path, struct trib_error *err) {
    uint8_t more;
    int got = gzread(file, &more, 1), code;
    (void)gzerror(file, &code);
    if (got > 0)
        return trib_fail(err, TRIB_CORRUPT, "%s: there is more in it than its header says; %s", path, again);
    return got == 0 && code == Z_OK ? TRIB_OK : short_read(file, path, err);
}

static size_t big_endian(const uint8_t *p) {
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

static enum trib_status read_header(gzFile file, const char *path, size_t rank, size_t max_count,
                                    size_t item_bytes, size_t *dims, struct trib_error *err) {
    uint8_t header[4 + 4 * TRIB_IDX_MAX_RANK];
    enum trib_status status = read_all(file, path, header, 4, err);
    if (status != TRIB_OK) return status;
    if (header[0] != 0 || header[1] != 0 || header[2] != 8 || header[3] != rank)
        return trib_fail(
            err, TRIB_INVALID,
            "%s: not an IDX file of bytes in %zu dimensions: it begins with %02x %02x %02x %02x, "
            "expected 00 00 08 %02zx",
            path, rank, header[0], header[1], header[2], header[3], rank);
    status = read_all(file, path, header + 4, 4 * rank, err);
    if (status != TRIB_OK) return status;
    size_t item = 1;
    for (size_t d = 0; d < rank; d++) dims[d] = big_endian(header + 4 + 4 * d);
    for (size_t d = 1; d < rank; d++) item = dims[d] <= item_bytes ? item * dims[d] : SIZE_MAX / 65536;
    if (item != item_bytes)
        return trib_fail(err, TRIB_INVALID, "%s: items of %zux%zu bytes, expected %zu bytes", path,
                         rank > 1 ? dims[1] : 1, rank > 2 ? dims[2] : 1, item_bytes);
    if (dims[0] == 0 || dims[0] > max_count)
        return trib_fail(err, TRIB_LIMIT, "%s: %zu items; 1 to %zu are possible", path, dims[0], max_count);
    return TRIB_OK;
}

static enum trib_status read_file(gzFile file, const char *path, size_t rank, size_t max_count,
                                  size_t item_bytes, size_t *dims, uint8_t **data, struct trib_error *err) {
    enum trib_status status = read_header(file, path, rank, max_count, item_bytes, dims, err);
    if (status != TRIB_OK) return status;
    uint8_t *bytes = trib_alloc_array(dims[0], item_bytes);
    if (bytes == NULL) return trib_fail(err, TRIB_NOMEM, "%s: no memory for %zu items", path, dims[0]);
    status = read_all(file, path, bytes, dims[0] * item_bytes, err);
    if (status == TRIB_OK) status = expect_end(file, path, err);
    if (status != TRIB_OK) {
        trib_free(bytes);
        return status;
    }
    *data = bytes;
    return TRIB_OK;
}

enum trib_status trib_idx_read(const char *path, size_t rank, size_t max_count, size_t item_bytes,
                               size_t dims[TRIB_IDX_MAX_RANK], uint8_t **data, struct trib_error *err) {
    TRIB_ASSERT(rank >= 1 && rank <= TRIB_IDX_MAX_RANK);
    errno = 0;
    gzFile file = gzopen(path, "rbe");
    if (file == NULL && errno == 0) return trib_fail(err, TRIB_NOMEM, "%s: no memory to open it", path);
    if (file == NULL) return trib_fail_errno(err, "%s: cannot be opened", path);
    enum trib_status status = read_file(file, path, rank, max_count, item_bytes, dims, data, err);
    (void)gzclose(file);
    return status;
}
