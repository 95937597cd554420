/* A disk in memory: every record is kept. What was written is there, whatever happens. Of a device, with
 * `spools`, the state is kept instead, as it was when its last group began its way. */
#include "tests/support/federation_internal.h"

#include <string.h>

struct cursor {
    const struct trib_buf *from;
    size_t at;
};

static enum trib_status put(void *ctx, const void *data, size_t bytes, struct trib_error *err) {
    (void)err;
    trib_buf_append(ctx, data, bytes);
    return TRIB_OK;
}

static enum trib_status get(void *ctx, void *data, size_t bytes, struct trib_error *err) {
    struct cursor *cursor = ctx;
    if (bytes > cursor->from->size - cursor->at)
        return trib_fail(err, TRIB_CORRUPT, "the spool is too short");
    memcpy(data, cursor->from->data + cursor->at, bytes);
    cursor->at += bytes;
    return TRIB_OK;
}

void federation_spool_init(struct node *node) {
    trib_buf_init(&node->spooling, 0);
    trib_buf_init(&node->spool, 0);
}

void federation_spool_release(struct node *node) {
    trib_buf_release(&node->spooling);
    trib_buf_release(&node->spool);
}

static bool has_spool(const struct federation *fed, size_t index) {
    return fed->options.spools && fed->nodes[index].role == TRIB_ROLE_DEVICE;
}

static enum trib_status open_journal(void *ctx, size_t index, struct trib_state *state,
                                     struct trib_error *err) {
    const struct federation *fed = ctx;
    const struct node *node = &fed->nodes[index];
    enum trib_status status = TRIB_OK;
    if (has_spool(fed, index)) {
        struct cursor cursor = {.from = &node->spool};
        return node->spool.size > 0 ? trib_state_load(state, &(struct trib_feed){get, &cursor}, err)
                                    : TRIB_OK;
    }
    for (size_t i = 0; status == TRIB_OK && i < node->kept.count; i++)
        status = trib_state_apply(state, node->kept.at[i], err);
    return status;
}

static void begin_journal(void *ctx, size_t index, const struct trib_state *state) {
    struct federation *fed = ctx;
    struct trib_buf *to = &fed->nodes[index].spooling;
    if (!has_spool(fed, index)) return;
    trib_buf_clear(to);
    federation_must(trib_state_save_own(state, &(struct trib_sink){put, to}, NULL) == TRIB_OK && !to->failed,
                    "a spool is not packed");
}

static enum trib_status write_journal(void *ctx, size_t index, const struct trib_record *const *records,
                                      size_t count, struct trib_error *err) {
    struct federation *fed = ctx;
    struct node *node = &fed->nodes[index];
    if (has_spool(fed, index)) {
        struct trib_buf before = node->spool;
        node->spool = node->spooling;
        node->spooling = before;
        return TRIB_OK;
    }
    for (size_t i = 0; i < count; i++) {
        struct trib_record *copy = trib_record_copy(records[i]);
        if (copy == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory");
        records_add(&node->kept, copy);
    }
    return TRIB_OK;
}

struct federation_disk federation_memory_disk(struct federation *fed) {
    return (struct federation_disk){
        .ctx = fed, .open = open_journal, .begin = begin_journal, .write = write_journal};
}

size_t federation_journal(const struct federation *fed, size_t node, const struct trib_record *const **out) {
    *out = (const struct trib_record *const *)fed->nodes[node].kept.at;
    return fed->nodes[node].kept.count;
}
