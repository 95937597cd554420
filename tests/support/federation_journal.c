/* A disk in memory: every record is kept. What was written is there, whatever happens. */
#include "tests/support/federation_internal.h"

static enum trib_status open_journal(void *ctx, size_t index, struct trib_state *state,
                                     struct trib_error *err) {
    const struct federation *fed = ctx;
    const struct node *node = &fed->nodes[index];
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; status == TRIB_OK && i < node->kept.count; i++)
        status = trib_state_apply(state, node->kept.at[i], err);
    return status;
}

static enum trib_status write_journal(void *ctx, size_t index, const struct trib_record *const *records,
                                      size_t count, struct trib_error *err) {
    struct federation *fed = ctx;
    for (size_t i = 0; i < count; i++) {
        struct trib_record *copy = trib_record_copy(records[i]);
        if (copy == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory");
        records_add(&fed->nodes[index].kept, copy);
    }
    return TRIB_OK;
}

struct federation_disk federation_memory_disk(struct federation *fed) {
    return (struct federation_disk){.ctx = fed, .open = open_journal, .write = write_journal};
}

size_t federation_journal(const struct federation *fed, size_t node, const struct trib_record *const **out) {
    *out = (const struct trib_record *const *)fed->nodes[node].kept.at;
    return fed->nodes[node].kept.count;
}
