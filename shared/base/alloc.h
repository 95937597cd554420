/* Memory: every allocation of the project goes through here, so that the tests can make the n-th one fail. */
#ifndef TRIB_BASE_ALLOC_H
#define TRIB_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed memory of `bytes` bytes (at least 1), or NULL. Free with trib_free. */
void *trib_alloc(size_t bytes);
/* Zeroed array; NULL on overflow too. */
void *trib_alloc_array(size_t count, size_t item_bytes);
/* As realloc; what is added is not zeroed. On NULL the old memory stays valid. */
void *trib_realloc(void *memory, size_t bytes);
/* A copy of `text`, or NULL. */
char *trib_strdup(const char *text);
void trib_free(void *memory);

/* `count` zeroed floats, aligned to 64 bytes; free with trib_free. Large vectors come straight from the
 * kernel and go back to it when freed. */
float *trib_alloc_floats(size_t count);

/* First in a daemon's main. Updates come and go by the thousand, each a few hundred kilobytes to some
 * megabytes: freed ones stay in the heap for the next, up to a bound, instead of going back to the kernel and
 * being paged in again. */
void trib_alloc_start(void);

/* For who makes very many small blocks and visits them in no order (the simulator): the processor forgets
 * where small pages are. The heap grows in large steps from the first call on, and what it grew by since *end
 * (NULL at first) is asked for in huge pages, where the system has those on request. Cheap where it did not
 * grow. By one thread, whose blocks come from the process's first heap. */
void trib_alloc_huge_pages(const char **end);

/* Fault injection for tests: the allocation after `countdown` more of them fails, and every later one too
 * until this is called again with a negative number. Not for use while other threads allocate. */
void trib_alloc_fail_after(long countdown);

#endif
