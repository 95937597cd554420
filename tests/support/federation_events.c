/* The federation's calendar: a heap of events by time and order, and lists of records. */
#include "tests/support/federation_internal.h"

#include "shared/base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

void federation_must(bool good, const char *what) {
    if (good) return;
    (void)fprintf(stderr, "federation: %s\n", what);
    abort();
}

static bool before(const struct event *a, const struct event *b) {
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

void federation_push(struct federation *fed, struct event event) {
    if (fed->heap_count == fed->heap_capacity) {
        fed->heap_capacity = fed->heap_capacity > 0 ? fed->heap_capacity * 2 : 64;
        fed->heap = trib_realloc(fed->heap, fed->heap_capacity * sizeof *fed->heap);
        federation_must(fed->heap != NULL, "out of memory");
    }
    event.order = fed->order++;
    size_t i = fed->heap_count++;
    while (i > 0 && before(&event, &fed->heap[(i - 1) / 2])) {
        fed->heap[i] = fed->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    fed->heap[i] = event;
}

struct event federation_pop(struct federation *fed) {
    struct event top = fed->heap[0], last = fed->heap[--fed->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= fed->heap_count) break;
        if (child + 1 < fed->heap_count && before(&fed->heap[child + 1], &fed->heap[child])) child++;
        if (!before(&fed->heap[child], &last)) break;
        fed->heap[i] = fed->heap[child];
        i = child;
    }
    if (fed->heap_count > 0) fed->heap[i] = last;
    return top;
}

void federation_release(struct event *event) {
    trib_free(event->frame);
    trib_blob_unref(&event->payload);
    trib_free(event->difference);
    for (size_t i = 0; i < TRIB_LOCAL_MAX; i++) trib_free(event->local[i]);
}

void records_add(struct records *records, struct trib_record *record) {
    if (records->count == records->capacity) {
        records->capacity = records->capacity > 0 ? records->capacity * 2 : 16;
        records->at = trib_realloc(records->at, records->capacity * sizeof *records->at);
        federation_must(records->at != NULL, "out of memory");
    }
    records->at[records->count++] = record;
}

void records_free(struct records *records) {
    for (size_t i = 0; i < records->count; i++) trib_record_free(&records->at[i]);
    trib_free(records->at);
    *records = (struct records){0};
}
