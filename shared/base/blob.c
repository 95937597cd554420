#include "shared/base/blob.h"

#include "shared/base/alloc.h"
#include "shared/base/error.h"

#include <stdatomic.h>
#include <string.h>

struct trib_blob {
    atomic_size_t refs;
    const uint8_t *data;
    size_t size;
    const struct trib_blob_file *file; /* NULL: in memory */
    void (*release)(void *owner);
    void *owner;
    _Alignas(16) uint8_t own[];
};

struct trib_blob *trib_blob_new(size_t bytes) {
    size_t whole;
    if (__builtin_add_overflow(sizeof(struct trib_blob), bytes, &whole)) return NULL;
    struct trib_blob *blob = trib_alloc(whole);
    if (blob == NULL) return NULL;
    atomic_init(&blob->refs, 1);
    blob->data = blob->own;
    blob->size = bytes;
    return blob;
}

struct trib_blob *trib_blob_copy(const void *data, size_t bytes) {
    struct trib_blob *blob = trib_blob_new(bytes);
    if (blob != NULL && bytes > 0) memcpy(blob->own, data, bytes);
    return blob;
}

struct trib_blob *trib_blob_wrap(const void *data, size_t bytes, void (*release)(void *owner), void *owner) {
    struct trib_blob *blob = trib_alloc(sizeof *blob);
    if (blob == NULL) return NULL;
    atomic_init(&blob->refs, 1);
    blob->data = data;
    blob->size = bytes;
    blob->release = release;
    blob->owner = owner;
    return blob;
}

struct trib_blob *trib_blob_wrap_file(const void *data, size_t bytes, const struct trib_blob_file *file,
                                      void *owner) {
    struct trib_blob *blob = trib_blob_wrap(data, bytes, file->release, owner);
    if (blob != NULL) blob->file = file;
    return blob;
}

void trib_blob_rest(const struct trib_blob *blob) {
    if (blob != NULL && blob->file != NULL) blob->file->rest(blob->owner);
}

bool trib_blob_write(struct trib_blob *blob, size_t at, const void *data, size_t bytes) {
    TRIB_ASSERT(at <= blob->size && bytes <= blob->size - at && atomic_load(&blob->refs) == 1);
    if (blob->file != NULL) return blob->file->write(blob->owner, at, data, bytes);
    if (bytes > 0) memcpy(trib_blob_mutable(blob) + at, data, bytes);
    return true;
}

void *trib_blob_owner(const struct trib_blob *blob, void (*release)(void *owner)) {
    return blob != NULL && blob->release == release ? blob->owner : NULL;
}

struct trib_blob *trib_blob_ref(struct trib_blob *blob) {
    if (blob != NULL) atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

void trib_blob_unref(struct trib_blob **blob) {
    struct trib_blob *b = *blob;
    *blob = NULL;
    if (b == NULL) return;
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1) return;
    if (b->release != NULL) b->release(b->owner);
    trib_free(b);
}

size_t trib_blob_refs(const struct trib_blob *blob) {
    return blob != NULL ? atomic_load_explicit(&blob->refs, memory_order_acquire) : 0;
}

const uint8_t *trib_blob_data(const struct trib_blob *blob) {
    return blob != NULL ? blob->data : NULL;
}

uint8_t *trib_blob_mutable(struct trib_blob *blob) {
    TRIB_ASSERT(blob->data == blob->own && atomic_load(&blob->refs) == 1);
    return blob->own;
}

size_t trib_blob_size(const struct trib_blob *blob) {
    return blob != NULL ? blob->size : 0;
}

size_t trib_blob_memory(const struct trib_blob *blob) {
    return blob != NULL && blob->file == NULL ? blob->size : 0;
}

static void release_whole(void *owner) {
    struct trib_blob *whole = owner;
    trib_blob_unref(&whole);
}

struct trib_blob *trib_blob_slice(struct trib_blob *blob, size_t offset, size_t bytes) {
    if (offset > blob->size || bytes > blob->size - offset) return NULL;
    struct trib_blob *slice = trib_blob_wrap(blob->data + offset, bytes, release_whole, blob);
    if (slice != NULL) (void)trib_blob_ref(blob);
    return slice;
}
