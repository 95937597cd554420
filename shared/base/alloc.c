#include "shared/base/alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

enum {
    HEAP_BLOCK_BYTES = 1024 * 1024,     /* larger ones are mapped on their own */
    HEAP_KEEP_BYTES = 8 * 1024 * 1024,  /* free at the end of a heap */
    HEAP_STEP_BYTES = 64 * 1024 * 1024, /* ... and what it grows by, in huge pages */
    HUGE_BYTES = 2 * 1024 * 1024,
    SMALL_BYTES = 1024
};

static atomic_long fail_countdown = -1;

static bool fails(void) {
    long left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    if (left < 0) return false;
    if (left == 0) return true;
    atomic_store_explicit(&fail_countdown, left - 1, memory_order_relaxed);
    return false;
}

void trib_alloc_start(void) {
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEEP_BYTES);
#endif
}

void trib_alloc_huge_pages(const char **end) {
#ifdef __GLIBC__
    if (*end == NULL) (void)mallopt(M_TOP_PAD, HEAP_STEP_BYTES);
    const char *now = sbrk(0), *before = *end != NULL ? *end : now;
    *end = now; /* the heap may have become smaller, too */
    if (now <= before) return;
    /* Whole ones of what is new; the last one again when the heap has grown over it. */
    uintptr_t from = (uintptr_t)before / HUGE_BYTES * HUGE_BYTES;
    (void)madvise((void *)from, (uintptr_t)now - from, MADV_HUGEPAGE); /* else they are small ones */
#else
    (void)end;
#endif
}

void trib_alloc_fail_after(long countdown) {
    atomic_store(&fail_countdown, countdown);
}

/* Small blocks come and go with every message. glibc keeps some of those at hand for malloc, but before 2.41
 * not for calloc; large ones may come zeroed from the kernel. */
void *trib_alloc(size_t bytes) {
    if (fails()) return NULL;
    if (bytes > SMALL_BYTES) return calloc(1, bytes);
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory != NULL) memset(memory, 0, bytes);
    return memory;
}

void *trib_alloc_array(size_t count, size_t item_bytes) {
    size_t bytes;
    if (__builtin_mul_overflow(count, item_bytes, &bytes)) return NULL;
    return trib_alloc(bytes);
}

void *trib_realloc(void *memory, size_t bytes) {
    return fails() ? NULL : realloc(memory, bytes > 0 ? bytes : 1);
}

char *trib_strdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = trib_alloc(bytes);
    if (copy != NULL) memcpy(copy, text, bytes);
    return copy;
}

void trib_free(void *memory) {
    free(memory);
}

float *trib_alloc_floats(size_t count) {
    size_t bytes;
    if (fails() || __builtin_mul_overflow(count, sizeof(float), &bytes)) return NULL;
    if (__builtin_add_overflow(bytes, (size_t)63, &bytes)) return NULL;
    bytes &= ~(size_t)63;
    if (bytes == 0) bytes = 64;
    float *floats = aligned_alloc(64, bytes);
    if (floats != NULL) memset(floats, 0, bytes);
    return floats;
}
