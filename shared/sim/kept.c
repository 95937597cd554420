#include "shared/sim/kept.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER = 16, ENTRY = 24, CRC = 4, MAGIC = 8, BUFFER = 1 << 20, PATH_BYTES = 900 };
#define NUMBER_MAX ((uint64_t)UINT32_MAX) /* numbers are an index in memory */

static const char magic[] = "TRIBKEPT";

struct list {
    uint64_t *at; /* where an entry begins, by number; 0: there is none */
    size_t end, capacity;
    uint64_t count;
};

struct trib_kept {
    FILE *file;
    uint64_t size, limit;
    bool full;
    struct list lists[TRIB_KEPT_KINDS];
    char path[PATH_BYTES];
};

static uint32_t checksum(const void *data, size_t bytes) {
    return trib_kernels()->crc32c(0, data, bytes);
}

static enum trib_status cannot(const struct trib_kept *k, const char *what, struct trib_error *err) {
    return trib_fail_errno(err, "cannot %s %s; resume.limit=0 does without it", what, k->path);
}

static struct trib_kept *new_kept(const char *path, uint64_t limit, const char *mode) {
    struct trib_kept *k = trib_alloc(sizeof *k);
    if (k == NULL) return NULL;
    k->limit = limit;
    (void)snprintf(k->path, sizeof k->path, "%s", path);
    k->file = fopen(path, mode);
    if (k->file != NULL) (void)setvbuf(k->file, NULL, _IOFBF, BUFFER);
    return k;
}

void trib_kept_close(struct trib_kept **kept) {
    struct trib_kept *k = *kept;
    if (k == NULL) return;
    if (k->file != NULL) (void)fclose(k->file);
    for (size_t i = 0; i < TRIB_KEPT_KINDS; i++) trib_free(k->lists[i].at);
    trib_free(k);
    *kept = NULL;
}

/* ---- the index ---- */

static bool note(struct list *list, uint64_t number, uint64_t at) {
    if (number >= list->capacity) {
        size_t capacity = (size_t)number + (size_t)number / 2 + 64;
        uint64_t *more = trib_realloc(list->at, capacity * sizeof *more);
        if (more == NULL) return false;
        memset(more + list->capacity, 0, (capacity - list->capacity) * sizeof *more);
        list->at = more;
        list->capacity = capacity;
    }
    list->count += list->at[number] == 0;
    list->at[number] = at;
    if (number >= list->end) list->end = (size_t)number + 1;
    return true;
}

bool trib_kept_has(const struct trib_kept *k, enum trib_kept_kind kind, uint64_t number) {
    const struct list *list = &k->lists[kind];
    return number < list->end && list->at[number] != 0;
}

uint64_t trib_kept_end(const struct trib_kept *k, enum trib_kept_kind kind) {
    return k->lists[kind].end;
}

uint64_t trib_kept_count(const struct trib_kept *k, enum trib_kept_kind kind) {
    return k->lists[kind].count;
}

bool trib_kept_full(const struct trib_kept *k) {
    return k->full;
}

/* ---- reading ---- */

static bool read_at(const struct trib_kept *k, uint64_t at, void *out, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(fileno(k->file), (char *)out + done, bytes - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

/* A whole entry, its head too, into `entry`; false: it is cut off or damaged, or memory ran out
 * (entry->failed). */
static bool read_entry(const struct trib_kept *k, uint64_t at, uint64_t size, struct trib_buf *entry) {
    uint8_t head[ENTRY];
    trib_buf_clear(entry);
    if (size - at < ENTRY || !read_at(k, at, head, ENTRY)) return false;
    uint64_t bytes = trib_get_u64(head + 16);
    if (bytes > size - at - ENTRY) return false;
    uint8_t *whole = trib_buf_extend(entry, ENTRY + (size_t)bytes);
    return whole != NULL && read_at(k, at, whole, entry->size) &&
           checksum(whole + CRC, entry->size - CRC) == trib_get_u32(whole) &&
           trib_get_u32(whole + 4) < TRIB_KEPT_KINDS && trib_get_u64(whole + 8) < NUMBER_MAX;
}

enum trib_status trib_kept_read(struct trib_kept *k, enum trib_kept_kind kind, uint64_t number,
                                struct trib_buf *content, struct trib_error *err) {
    bool whole = read_entry(k, k->lists[kind].at[number], k->size, content);
    if (content->failed) return trib_fail(err, TRIB_NOMEM, "out of memory for what %s holds", k->path);
    if (!whole || trib_get_u32(content->data + 4) != kind || trib_get_u64(content->data + 8) != number)
        return trib_fail(err, TRIB_CORRUPT,
                         "%s has changed since it was opened; is another simulation at work there?", k->path);
    content->size -= ENTRY;
    memmove(content->data, content->data + ENTRY, content->size);
    return TRIB_OK;
}

/* Notes all entries that are whole, and cuts off what is behind them. */
static enum trib_status read_all(struct trib_kept *k, uint64_t size, struct trib_error *err) {
    struct trib_buf entry;
    bool room = true;
    trib_buf_init(&entry, 0);
    while (room && read_entry(k, k->size, size, &entry)) {
        room = note(&k->lists[trib_get_u32(entry.data + 4)], trib_get_u64(entry.data + 8), k->size);
        k->size += entry.size;
    }
    room = room && !entry.failed;
    trib_buf_release(&entry);
    if (!room) return trib_fail(err, TRIB_NOMEM, "out of memory for what %s holds", k->path);
    if (k->size < size && ftruncate(fileno(k->file), (off_t)k->size) != 0) return cannot(k, "cut", err);
    return fseeko(k->file, (off_t)k->size, SEEK_SET) == 0 ? TRIB_OK : cannot(k, "read", err);
}

/* ---- the identity ---- */

/* The first lines that differ. */
static enum trib_status another(const struct trib_kept *k, const char *theirs, const char *ours,
                                struct trib_error *err) {
    size_t a = strcspn(theirs, "\n"), b = strcspn(ours, "\n");
    while (theirs[a] != 0 && ours[b] != 0 && a == b && memcmp(theirs, ours, a) == 0) {
        theirs += a + 1;
        ours += b + 1;
        a = strcspn(theirs, "\n");
        b = strcspn(ours, "\n");
    }
    return trib_fail(
        err, TRIB_INVALID,
        "%.200s is of another simulation; without --resume this one begins from the start (there it is "
        "\"%.*s\", here \"%.*s\")",
        k->path, a < 80 ? (int)a : 80, theirs, b < 80 ? (int)b : 80, ours);
}

static enum trib_status check_identity(struct trib_kept *k, uint64_t size, const char *identity,
                                       struct trib_error *err) {
    uint8_t head[HEADER];
    struct trib_buf text;
    if (size < HEADER || !read_at(k, 0, head, HEADER) || memcmp(head, magic, MAGIC) != 0 ||
        trib_get_u32(head + 12) > size - HEADER)
        return trib_fail(err, TRIB_CORRUPT,
                         "%s: its beginning is not that of a file which a simulation kept; without --resume "
                         "it is replaced",
                         k->path);
    trib_buf_init(&text, 0);
    uint8_t *all = trib_buf_extend(&text, trib_get_u32(head + 12) + sizeof(uint32_t));
    enum trib_status status = TRIB_OK;
    if (all == NULL)
        status = trib_fail(err, TRIB_NOMEM, "out of memory for what %s says", k->path);
    else if (!read_at(k, 12, all, text.size) || checksum(all, text.size) != trib_get_u32(head + 8))
        status = trib_fail(err, TRIB_CORRUPT, "%s is damaged; without --resume it is replaced", k->path);
    else if (strcmp(trib_buf_text(&text) + sizeof(uint32_t), identity) != 0)
        status = another(k, trib_buf_text(&text) + sizeof(uint32_t), identity, err);
    k->size = 12 + text.size;
    trib_buf_release(&text);
    return status;
}

enum trib_status trib_kept_open(const char *path, const char *identity, uint64_t limit,
                                struct trib_kept **out, struct trib_error *err) {
    struct stat stat;
    struct trib_kept *k = new_kept(path, limit, "r+b");
    if (k == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for %s", path);
    enum trib_status status = TRIB_OK;
    if (k->file == NULL || fstat(fileno(k->file), &stat) != 0) status = cannot(k, "read", err);
    if (status == TRIB_OK) status = check_identity(k, (uint64_t)stat.st_size, identity, err);
    if (status == TRIB_OK) status = read_all(k, (uint64_t)stat.st_size, err);
    if (status == TRIB_OK)
        *out = k;
    else
        trib_kept_close(&k);
    return status;
}

enum trib_status trib_kept_create(const char *path, const char *identity, uint64_t limit,
                                  struct trib_kept **out, struct trib_error *err) {
    uint8_t head[HEADER];
    size_t bytes = strlen(identity);
    struct trib_buf text;
    struct trib_kept *k = new_kept(path, limit, "w+b");
    if (k == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for %s", path);
    memcpy(head, magic, MAGIC);
    trib_put_u32(head + 12, (uint32_t)bytes);
    trib_buf_init(&text, 0);
    trib_buf_append(&text, head, sizeof head);
    trib_buf_append(&text, identity, bytes);
    if (!text.failed) trib_put_u32(text.data + 8, checksum(text.data + 12, text.size - 12));
    bool good = !text.failed && k->file != NULL && fwrite(text.data, 1, text.size, k->file) == text.size &&
                fflush(k->file) == 0;
    k->size = text.size;
    trib_buf_release(&text);
    if (good) {
        *out = k;
        return TRIB_OK;
    }
    enum trib_status status = cannot(k, "write", err);
    trib_kept_close(&k);
    return status;
}

/* ---- adding ---- */

enum trib_status trib_kept_add(struct trib_kept *k, enum trib_kept_kind kind, uint64_t number,
                               const struct trib_buf *content, struct trib_error *err) {
    uint64_t bytes = ENTRY + content->size;
    if (k->full || bytes > k->limit || k->size > k->limit - bytes || number >= NUMBER_MAX) {
        k->full = true;
        return TRIB_OK;
    }
    uint8_t head[ENTRY] = {0};
    trib_put_u32(head + 4, kind);
    trib_put_u64(head + 8, number);
    trib_put_u64(head + 16, content->size);
    uint32_t crc = trib_kernels()->crc32c(0, head + CRC, ENTRY - CRC);
    trib_put_u32(head, trib_kernels()->crc32c(crc, content->data, content->size));
    if (fwrite(head, 1, ENTRY, k->file) != ENTRY ||
        fwrite(content->data, 1, content->size, k->file) != content->size)
        return cannot(k, "write", err);
    k->size += bytes;
    k->lists[kind].count++;
    return TRIB_OK;
}

enum trib_status trib_kept_flush(struct trib_kept *k, struct trib_error *err) {
    return fflush(k->file) == 0 ? TRIB_OK : cannot(k, "write", err);
}
