/* Segment files: payloads in frames, one behind the other.
 *
 * A file that nothing needs any more becomes a later segment: its blocks are written over, which costs the
 * disk and the page cache less than new ones and lets fdatasync leave the file's size and place alone. So
 * behind the newest frame there may be frames of long ago; their group is below any that is written now. */
#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"
#include "shared/store/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

static uint32_t crc32c(uint32_t crc, const void *data, size_t bytes) {
    return trib_kernels()->crc32c(crc, data, bytes);
}

/* From the payload's CRC on, which whoever took the update has computed already. It covers the header's other
 * fields too, so a frame at the wrong place is no frame. */
static uint32_t frame_crc(const uint8_t header[FRAME_HEADER_BYTES], uint32_t payload_crc) {
    return crc32c(crc32c(payload_crc, header, 4), header + 8, FRAME_HEADER_BYTES - 8);
}

enum trib_status segment_sync(struct segments *segments, struct trib_error *err) {
    if (!segments->dirty || !segments->synced) return TRIB_OK;
    if (segments->files->sync(segments->files->ctx, segments->fd) != 0) {
        return trib_fail_errno(err, "cannot sync segment %" PRIu64, segments->number);
    }
    segments->dirty = false;
    return TRIB_OK;
}

/* Is one frame all there is in it? It may have been a large payload's file, and somebody may still read it
 * from there: it is not written over. */
static bool has_one_frame(const struct segments *segments, const char *path) {
    uint8_t length[4];
    uint64_t bytes = 0;
    size_t got = 0;
    int fd = -1;
    bool one =
        file_open(segments->files, path, O_RDONLY, &fd, NULL) == TRIB_OK &&
        file_size(segments->files, fd, path, &bytes, NULL) == TRIB_OK &&
        file_read(segments->files, fd, length, sizeof length, SEGMENT_HEADER_BYTES, &got, NULL) == TRIB_OK &&
        got == sizeof length &&
        bytes == SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + (uint64_t)trib_get_u32(length);
    file_close(segments->files, &fd);
    return one;
}

void segment_retire(struct segments *segments, uint64_t number, const char *path) {
    const struct trib_file_ops *files = segments->files;
    char spare[PATH_BYTES];
    numbered_path(spare, segments->folder, number, ".spare");
    if (segments->spare == 0 && !has_one_frame(segments, path) && files->rename(files->ctx, path, spare) == 0)
        segments->spare = number;
    else
        (void)files->unlink(files->ctx, path);
}

/* The spare takes its new name, if there is one. Its rows were gone, durably, before it was retired. */
static bool use_spare(struct segments *segments, const char *path) {
    const struct trib_file_ops *files = segments->files;
    char spare[PATH_BYTES];
    if (segments->spare == 0) return false;
    numbered_path(spare, segments->folder, segments->spare, ".spare");
    segments->spare = 0;
    return files->rename(files->ctx, spare, path) == 0;
}

/* Leaves the open segment, synced, and begins the next. */
static enum trib_status begin_next(struct segments *segments, struct trib_error *err) {
    enum trib_status status = segment_sync(segments, err);
    if (status != TRIB_OK) return status;
    file_close(segments->files, &segments->fd);
    char path[PATH_BYTES];
    uint8_t header[SEGMENT_HEADER_BYTES];
    uint64_t number = segments->number + 1;
    trib_put_u64(header, SEGMENT_MAGIC);
    trib_put_u64(header + 8, number);
    struct iovec part = {header, sizeof header};
    numbered_path(path, segments->folder, number, ".seg");
    int fresh = use_spare(segments, path) ? 0 : O_TRUNC;
    status = file_open(segments->files, path, O_RDWR | O_CREAT | fresh, &segments->fd, err);
    if (status != TRIB_OK) return status;
    segments->number = number;
    segments->end = sizeof header;
    segments->dirty = true;
    segments->whole = false;
    status = file_write(segments->files, segments->fd, &part, 1, 0, path, err);
    if (status == TRIB_OK && segments->synced) status = folder_sync(segments->files, segments->folder, err);
    return status;
}

/* Frames that go out in one call. */
struct batch {
    struct iovec parts[2 * FRAMES_A_CALL];
    uint8_t headers[FRAMES_A_CALL][FRAME_HEADER_BYTES];
    int count;      /* frames */
    uint64_t bytes; /* of them */
};

static enum trib_status flush(struct segments *segments, struct batch *batch, struct trib_error *err) {
    if (batch->count == 0) return TRIB_OK;
    char path[PATH_BYTES];
    numbered_path(path, segments->folder, segments->number, ".seg");
    segments->dirty = true;
    enum trib_status status =
        file_write(segments->files, segments->fd, batch->parts, 2 * batch->count, segments->end, path, err);
    segments->end += batch->bytes;
    batch->count = 0;
    batch->bytes = 0;
    return status;
}

/* Fills in a frame's header; returns its checksum. */
static uint32_t make_header(uint8_t header[FRAME_HEADER_BYTES], const struct trib_record *record,
                            uint64_t group) {
    size_t bytes = trib_blob_size(record->payload);
    trib_put_u32(header, (uint32_t)bytes);
    trib_put_u64(header + 8, record->position);
    trib_put_u64(header + 16, group);
    uint32_t payload_crc = trib_rec_has(record, PAYLOAD_CRC)
                               ? (uint32_t)record->payload_crc
                               : crc32c(0, trib_blob_data(record->payload), bytes);
    uint32_t crc = frame_crc(header, payload_crc);
    trib_put_u32(header + 4, crc);
    return crc;
}

static void add_frame(const struct segments *segments, struct batch *batch, const struct trib_record *record,
                      uint64_t group, struct place *place) {
    size_t bytes = trib_blob_size(record->payload);
    uint8_t *header = batch->headers[batch->count];
    uint32_t crc = make_header(header, record, group);
    *place = (struct place){segments->number, segments->end + batch->bytes, (uint32_t)bytes, crc};
    batch->parts[2 * batch->count] = (struct iovec){header, FRAME_HEADER_BYTES};
    batch->parts[2 * batch->count + 1] =
        (struct iovec){(void *)(uintptr_t)trib_blob_data(record->payload), bytes};
    batch->count++;
    batch->bytes += FRAME_HEADER_BYTES + bytes;
}

/* A payload that is in a file already: that becomes the next segment, and the only frame in it. */
static enum trib_status take_file(struct segments *segments, const struct trib_record *record, uint64_t group,
                                  struct place *place, struct trib_error *err) {
    enum trib_status status = segment_sync(segments, err);
    if (status != TRIB_OK) return status;
    file_close(segments->files, &segments->fd);
    char path[PATH_BYTES];
    uint8_t head[SEGMENT_HEADER_BYTES], frame[FRAME_HEADER_BYTES];
    uint64_t number = segments->number + 1;
    uint32_t bytes = (uint32_t)trib_blob_size(record->payload), crc = make_header(frame, record, group);
    trib_put_u64(head, SEGMENT_MAGIC);
    trib_put_u64(head + 8, number);
    struct iovec parts[] = {{head, sizeof head}, {frame, sizeof frame}};
    numbered_path(path, segments->folder, number, ".seg");
    status = large_adopt(record->payload, parts, 2, path, err);
    if (status == TRIB_OK) status = file_open(segments->files, path, O_RDWR, &segments->fd, err);
    if (status != TRIB_OK) return status;
    *place = (struct place){number, SEGMENT_HEADER_BYTES, bytes, crc};
    segments->number = number;
    segments->end = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + (uint64_t)bytes;
    segments->dirty = segments->whole = true;
    return segments->synced ? folder_sync(segments->files, segments->folder, err) : TRIB_OK;
}

enum trib_status segment_append(struct segments *segments, const struct trib_record *records, size_t count,
                                struct place *places, struct trib_error *err) {
    struct batch batch = {.count = 0};
    uint64_t group = records[0].position | (segments->synced ? 0 : UNSYNCED_GROUP);
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < count && status == TRIB_OK; i++) {
        places[i] = (struct place){0};
        if (records[i].payload == NULL) continue;
        uint64_t bytes = FRAME_HEADER_BYTES + trib_blob_size(records[i].payload);
        if (bytes > UINT32_MAX)
            return trib_fail(err, TRIB_LIMIT, "a payload of %" PRIu64 " bytes is too large", bytes);
        if (large_is(records[i].payload)) {
            status = flush(segments, &batch, err);
            if (status == TRIB_OK) status = take_file(segments, &records[i], group, &places[i], err);
            continue;
        }
        uint64_t end = segments->end + batch.bytes;
        bool full = segments->whole || (end > SEGMENT_HEADER_BYTES && end + bytes > segments->limit_bytes);
        if (batch.count == FRAMES_A_CALL || full) status = flush(segments, &batch, err);
        if (status == TRIB_OK && (segments->fd < 0 || full)) status = begin_next(segments, err);
        if (status == TRIB_OK) add_frame(segments, &batch, &records[i], group, &places[i]);
    }
    return status == TRIB_OK ? flush(segments, &batch, err) : status;
}

static enum trib_status damaged(const struct place *place, uint64_t position, const char *what,
                                struct trib_error *err) {
    return trib_fail(err, TRIB_CORRUPT,
                     "the payload of position %" PRIu64 " (segment %016" PRIx64 ".seg, offset %" PRIu64
                     ", %" PRIu32 " bytes) %s; restore the folder from a backup, or start with an empty one",
                     position, place->segment, place->offset, place->length, what);
}

static enum trib_status select_segment(const struct segments *segments, const struct place *place,
                                       uint64_t position, int *fd, uint64_t *fd_number,
                                       struct trib_error *err) {
    if (*fd >= 0 && *fd_number == place->segment) return TRIB_OK;
    file_close(segments->files, fd);
    char path[PATH_BYTES];
    numbered_path(path, segments->folder, place->segment, ".seg");
    enum trib_status status = file_open(segments->files, path, O_RDONLY, fd, err);
    *fd_number = place->segment;
    return status == TRIB_NOT_FOUND ? damaged(place, position, "is gone with its file", err) : status;
}

enum trib_status segment_read(const struct segments *segments, const struct place *place, uint64_t position,
                              int *fd, uint64_t *fd_number, struct trib_blob **out, struct trib_error *err) {
    *out = NULL;
    enum trib_status status = select_segment(segments, place, position, fd, fd_number, err);
    if (status != TRIB_OK) return status;
    uint8_t header[FRAME_HEADER_BYTES];
    size_t got;
    status = file_read(segments->files, *fd, header, sizeof header, place->offset, &got, err);
    if (status != TRIB_OK) return status;
    if (got < sizeof header) return damaged(place, position, "is cut off", err);
    struct trib_blob *blob = trib_blob_new(place->length);
    if (blob == NULL)
        return trib_fail(err, TRIB_NOMEM, "no memory for a payload of %" PRIu32 " bytes", place->length);
    status = file_read(segments->files, *fd, trib_blob_mutable(blob), place->length,
                       place->offset + sizeof header, &got, err);
    if (status == TRIB_OK && got < place->length) status = damaged(place, position, "is cut off", err);
    if (status == TRIB_OK &&
        (trib_get_u32(header) != place->length || trib_get_u64(header + 8) != position ||
         trib_get_u32(header + 4) != place->crc ||
         frame_crc(header, crc32c(0, trib_blob_data(blob), place->length)) != place->crc)) {
        status = damaged(place, position, "does not match its CRC32C", err);
    }
    if (status != TRIB_OK) trib_blob_unref(&blob);
    *out = blob;
    return status;
}

bool segment_frame(const struct segments *segments, int fd, uint64_t offset, uint64_t *group,
                   uint64_t *next) {
    uint8_t header[FRAME_HEADER_BYTES], piece[4096];
    size_t got;
    if (file_read(segments->files, fd, header, sizeof header, offset, &got, NULL) != TRIB_OK ||
        got < sizeof header) {
        return false;
    }
    uint32_t left = trib_get_u32(header);
    uint32_t crc = 0;
    *group = trib_get_u64(header + 16);
    *next = offset + FRAME_HEADER_BYTES + left;
    for (offset += FRAME_HEADER_BYTES; left > 0; left -= (uint32_t)got, offset += got) {
        size_t want = left < sizeof piece ? left : sizeof piece;
        if (file_read(segments->files, fd, piece, want, offset, &got, NULL) != TRIB_OK || got == 0)
            return false;
        crc = crc32c(crc, piece, got);
    }
    return frame_crc(header, crc) == trib_get_u32(header + 4);
}
