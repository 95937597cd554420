#include "shared/state/outbox.h"

#include "shared/base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void trib_outbox_init(struct trib_outbox *outbox) {
    *outbox = (struct trib_outbox){0};
    trib_buf_init(&outbox->frame, TRIB_PREAMBLE_BYTES + TRIB_MAP_MAX_BYTES);
}

void trib_outbox_release(struct trib_outbox *outbox) {
    struct trib_action action;
    while (trib_outbox_take(outbox, &action)) trib_action_release(&action);
    trib_free(outbox->actions);
    trib_buf_release(&outbox->frame);
    trib_outbox_init(outbox);
}

bool trib_outbox_take(struct trib_outbox *outbox, struct trib_action *out) {
    if (outbox->first == outbox->count) {
        outbox->first = outbox->count = 0;
        return false;
    }
    *out = outbox->actions[outbox->first++];
    return true;
}

void trib_action_release(struct trib_action *action) {
    trib_free(action->frame);
    trib_blob_unref(&action->payload);
    trib_record_free(&action->record);
    *action = (struct trib_action){0};
}

static void fail(struct trib_outbox *outbox, enum trib_status status, const char *what) {
    if (outbox->failed == TRIB_OK) outbox->failed = trib_fail(&outbox->error, status, "%s", what);
}

/* Room for one more action, zeroed; NULL when memory runs out (the outbox has then failed). */
static struct trib_action *push(struct trib_outbox *outbox) {
    if (outbox->count == outbox->capacity) {
        if (outbox->first > 0) {
            memmove(outbox->actions, outbox->actions + outbox->first,
                    (outbox->count - outbox->first) * sizeof *outbox->actions);
            outbox->count -= outbox->first;
            outbox->first = 0;
        } else {
            size_t capacity = outbox->capacity > 0 ? outbox->capacity * 2 : 16;
            struct trib_action *more = trib_realloc(outbox->actions, capacity * sizeof *more);
            if (more == NULL) {
                fail(outbox, TRIB_NOMEM, "out of memory for actions");
                return NULL;
            }
            outbox->actions = more;
            outbox->capacity = capacity;
        }
    }
    struct trib_action *action = &outbox->actions[outbox->count++];
    *action = (struct trib_action){0};
    return action;
}

size_t trib_outbox_send(struct trib_outbox *outbox, enum trib_action_kind kind, trib_child_route route,
                        uint64_t after, const struct trib_msg *msg, struct trib_blob *payload) {
    struct trib_buf *buf = &outbox->frame;
    trib_buf_clear(buf);
    trib_msg_encode(msg, buf);
    uint8_t *frame = buf->failed ? NULL : trib_realloc(NULL, buf->size);
    struct trib_action *action = frame != NULL ? push(outbox) : NULL;
    if (action == NULL) {
        fail(outbox, TRIB_NOMEM, "a message could not be encoded: out of memory, or larger than 64 KiB");
        trib_free(frame);
        return 0;
    }
    memcpy(frame, buf->data, buf->size);
    action->kind = kind;
    action->route = route;
    action->after = after;
    action->frame = frame;
    action->frame_bytes = buf->size;
    action->payload = trib_blob_ref(payload);
    return buf->size + trib_blob_size(payload);
}

bool trib_outbox_record(struct trib_outbox *outbox, struct trib_state *state, struct trib_record *record) {
    if (outbox->failed != TRIB_OK) return false;
    struct trib_error err;
    enum trib_status status = trib_state_apply(state, record, &err);
    if (status != TRIB_OK) {
        fail(outbox, status, err.text);
        return false;
    }
    if (outbox->applied != NULL) {
        outbox->applied(outbox->ctx, record);
        return true;
    }
    struct trib_record *copy = trib_record_copy(record);
    struct trib_action *action = copy != NULL ? push(outbox) : NULL;
    if (action == NULL) {
        trib_record_free(&copy);
        fail(outbox, TRIB_NOMEM, "out of memory for a record");
        return false;
    }
    action->kind = TRIB_ACTION_WRITE;
    action->record = copy;
    return true;
}

void trib_outbox_simple(struct trib_outbox *outbox, enum trib_action_kind kind) {
    struct trib_action *action = push(outbox);
    if (action != NULL) action->kind = kind;
}

static void queue_log(struct trib_outbox *outbox, const struct trib_record *record) {
    struct trib_record *copy = trib_record_copy(record);
    struct trib_action *action = copy != NULL ? push(outbox) : NULL;
    if (action == NULL) {
        trib_record_free(&copy);
        return;
    }
    action->kind = TRIB_ACTION_LOG;
    action->record = copy;
}

void trib_outbox_event(struct trib_outbox *outbox, struct trib_state *state, uint64_t now_ms, bool ledger,
                       enum trib_level level, const char *event, const char *fmt, ...) {
    char text[2048];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct trib_record record = {.kind = TRIB_REC_EVENT};
    trib_rec_set(&record, NOW, now_ms, now_ms);
    trib_rec_set(&record, LEVEL, level, (uint64_t)level);
    trib_rec_set(&record, EVENT, event, ((struct trib_text){event, strlen(event)}));
    trib_rec_set(&record, TEXT, text, ((struct trib_text){text, strlen(text)}));
    queue_log(outbox, &record);
    if (ledger) (void)trib_outbox_record(outbox, state, &record);
}

/* The run's fields are for a ledger that was lost with the database, VERSION for one that is ahead. */
void trib_outbox_restored(struct trib_outbox *outbox, struct trib_state *state, uint64_t now_ms,
                          uint64_t incarnation, const char *why) {
    struct trib_record record = {.kind = TRIB_REC_INCARNATION};
    struct trib_buf schema;
    trib_buf_init(&schema, TRIB_SCHEMA_MAX_TEXT);
    trib_rec_set(&record, NOW, now_ms, now_ms);
    trib_rec_set(&record, INCARNATION, incarnation, incarnation);
    trib_rec_set(&record, TEXT, text, ((struct trib_text){why, strlen(why)}));
    if (state->started && !state->stopped) {
        trib_schema_text(&state->schema, &schema);
        trib_rec_set(&record, VERSION, version, state->version);
        if (state->base_count > 0) trib_rec_set(&record, FROM, from_version, state->published);
        if (state->role == TRIB_ROLE_CLOUD && state->chain.format >= 2)
            trib_rec_set(&record, VERDICTS, verdicts, state->chain.verdicts);
        trib_rec_set(&record, PLAN, plan,
                     ((struct trib_text){(const char *)state->plan_text.data, state->plan_text.size}));
        trib_rec_set(&record, SCHEMA, schema, ((struct trib_text){(const char *)schema.data, schema.size}));
        trib_rec_set(&record, PARENT_INCARNATION, parent_incarnation, state->parent_incarnation);
        memcpy(record.run, state->run, sizeof record.run);
        record.present |= (uint64_t)1 << TRIB_R_RUN;
    }
    if (schema.failed)
        fail(outbox, TRIB_NOMEM, "out of memory for a record");
    else
        (void)trib_outbox_record(outbox, state, &record);
    trib_buf_release(&schema);
}

/* The texts of a record, so that they can be copied behind it. */
static struct trib_text *text_at(struct trib_record *record, size_t i) {
    struct trib_text *texts[] = {&record->peer, &record->codec, &record->plan, &record->schema,
                                 &record->rule, &record->event, &record->text};
    return i < sizeof texts / sizeof texts[0] ? texts[i] : NULL;
}

struct trib_record *trib_record_copy(const struct trib_record *record) {
    struct trib_record plain = *record;
    size_t bytes = sizeof *record;
    for (size_t i = 0; text_at(&plain, i) != NULL; i++) bytes += text_at(&plain, i)->size;
    struct trib_record *copy = trib_alloc(bytes);
    if (copy == NULL) return NULL;
    *copy = plain;
    char *at = (char *)(copy + 1);
    for (size_t i = 0; text_at(copy, i) != NULL; i++) {
        struct trib_text *text = text_at(copy, i);
        if (text->size > 0) memcpy(at, text->data, text->size);
        text->data = at;
        at += text->size;
    }
    (void)trib_blob_ref(copy->payload);
    return copy;
}

void trib_record_free(struct trib_record **record) {
    if (*record == NULL) return;
    trib_blob_unref(&(*record)->payload);
    trib_free(*record);
    *record = NULL;
}
