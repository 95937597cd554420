/* Blobs: immutable, reference-counted bytes. A payload is one blob from the socket it came by to the segment
 * file it ends in, and one published increment is one blob however many children it is sent to. Counts are
 * atomic, so blobs may cross threads. */
#ifndef TRIB_BASE_BLOB_H
#define TRIB_BASE_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trib_blob;

/* A new blob of `bytes` zeroed bytes with one reference, or NULL. Its maker may write to it until it is
 * shared. */
struct trib_blob *trib_blob_new(size_t bytes);
/* A new blob with a copy of the bytes, or NULL. */
struct trib_blob *trib_blob_copy(const void *data, size_t bytes);
/* Wraps memory owned elsewhere; `release(owner)` is called once, when the last reference goes, on whatever
 * thread lets go last. On NULL nothing was taken and release is not called. */
struct trib_blob *trib_blob_wrap(const void *data, size_t bytes, void (*release)(void *owner), void *owner);

/* What a blob in a file is made of; the callbacks get its owner. */
struct trib_blob_file {
    bool (*write)(void *owner, size_t at, const void *data, size_t bytes); /* false: it could not */
    void (*rest)(void *owner); /* nobody reads it for a while: memory need not have its pages */
    void (*release)(void *owner);
};
/* The same for bytes that are in a file and are seen at `data` once they were written; its maker fills it
 * through trib_blob_write. `file` must outlive the blob. */
struct trib_blob *trib_blob_wrap_file(const void *data, size_t bytes, const struct trib_blob_file *file,
                                      void *owner);
/* Who has read it will not read it again soon. In memory: nothing happens; NULL is fine. */
void trib_blob_rest(const struct trib_blob *blob);
/* Puts bytes at `at`, inside the blob, by its maker alone and only while there is one reference. False: its
 * file could not be written. */
bool trib_blob_write(struct trib_blob *blob, size_t at, const void *data, size_t bytes);
/* The owner that was wrapped, if it is one of those that `release` lets go; else NULL. */
void *trib_blob_owner(const struct trib_blob *blob, void (*release)(void *owner));

/* A part of a blob, which it keeps alive; NULL when memory runs out or the range is outside. */
struct trib_blob *trib_blob_slice(struct trib_blob *blob, size_t offset, size_t bytes);

struct trib_blob *trib_blob_ref(struct trib_blob *blob); /* returns blob; NULL is passed through */
void trib_blob_unref(struct trib_blob **blob);           /* sets *blob to NULL; NULL is fine */

/* How many references there are. Other threads may let go of theirs at any time; one who holds the only
 * reference may rely on it. NULL: 0. */
size_t trib_blob_refs(const struct trib_blob *blob);

const uint8_t *trib_blob_data(const struct trib_blob *blob); /* NULL blob: NULL */
uint8_t *trib_blob_mutable(struct trib_blob *blob);          /* only while there is one reference */
size_t trib_blob_size(const struct trib_blob *blob);         /* NULL blob: 0 */
size_t trib_blob_memory(const struct trib_blob *blob);       /* the same, but 0 of one that is in a file */

#endif
