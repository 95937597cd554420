#include "tests/support/children.h"

#include "shared/base/alloc.h"
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <string.h>

struct children *children_of(size_t count, const char *plan) {
    return children_named(count, plan, "d");
}

struct children *children_named(size_t count, const char *plan, const char *prefix) {
    struct children *f = trib_alloc(sizeof *f);
    assert_non_null(f);
    role_parent(&f->node, (struct role_options){.role = TRIB_ROLE_CLOUD, .plan = plan});
    f->count = count;
    for (size_t i = 0; i < count; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "%.50s%zu", prefix, i);
        f->child[i].session = role_join(&f->node, i + 1, name, 100 + i);
        f->child[i].number = 1;
    }
    return f;
}

void children_end(struct children **f) {
    role_rebuild(&(*f)->node);
    role_stop(&(*f)->node);
    trib_free(*f);
    *f = NULL;
}

void children_listen(struct children *f) {
    const struct role_sent *sent;
    while ((sent = role_peek(&f->node)) != NULL) {
        assert_in_range(sent->route, 1, f->count);
        struct child *child = &f->child[sent->route - 1];
        f->heard[sent->msg.type]++;
        if (sent->msg.type == TRIB_ADVANCE) child->called = true;
        if (sent->msg.type == TRIB_WAIT) child->wait_ms = sent->msg.wait_ms;
        if (sent->msg.type == TRIB_ACK && sent->msg.verdict == TRIB_REFUSED) {
            child->refused++;
            f->reason = sent->msg.reason;
        }
        if (sent->msg.type != TRIB_MODEL) continue;
        trib_blob_unref(&f->node.sent[f->node.read - 1]->payload); /* it has arrived */
        child->given = child->has = true;
        memcpy(child->digest, sent->msg.to_digest, sizeof child->digest);
        child->version = sent->msg.to_version;
        child->rounds++;
    }
}

void child_pull(struct children *f, size_t i) {
    struct trib_msg msg = role_pull(f->child[i].session, NULL);
    if (f->child[i].has) {
        trib_msg_set(&msg, HELD_VERSION, held_version, f->child[i].version);
        memcpy(msg.held_digest, f->child[i].digest, sizeof msg.held_digest);
        msg.present |= (uint64_t)1 << TRIB_F_HELD_DIGEST;
    }
    f->child[i].called = false;
    role_deliver(&f->node, i + 1, NULL, &msg, NULL);
    children_listen(f);
}

void children_pull(struct children *f) {
    for (size_t i = 0; i < f->count; i++) child_pull(f, i);
}

/* Who was called comes. */
size_t children_come(struct children *f) {
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (!f->child[i].called) continue;
        child_pull(f, i);
        count++;
    }
    return count;
}

void child_push(struct children *f, size_t i) {
    child_push_floats(f, i, 1.0f, 0.5f);
}

void child_push_floats(struct children *f, size_t i, float value, float loss) {
    struct trib_blob *payload = role_floats(ROLE_N, value);
    struct trib_msg msg = role_push(f->child[i].session, f->child[i].number++, f->child[i].version);
    trib_msg_set(&msg, LOSS, loss, loss);
    f->child[i].given = false;
    role_deliver(&f->node, i + 1, NULL, &msg, payload);
    trib_blob_unref(&payload);
    children_listen(f);
}

static void children_wait(struct children *f, uint64_t ms) {
    role_wait(&f->node, ms);
    children_listen(f);
}

/* Heartbeats, so that nobody is quiet. */
void children_live(struct children *f, uint64_t ms) {
    for (uint64_t at = 0; at < ms; at += 1000) {
        for (size_t i = 0; i < f->count && at % 5000 == 0; i++) {
            if (f->child[i].session == 0) continue;
            struct trib_msg ping = role_message(TRIB_PING, f->child[i].session);
            trib_msg_set(&ping, TOKEN, token, 1);
            role_deliver(&f->node, i + 1, NULL, &ping, NULL);
        }
        children_wait(f, 1000);
    }
}

size_t children_given(const struct children *f) {
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++) count += f->child[i].given;
    return count;
}

size_t child_at_work(const struct children *f) {
    for (size_t i = 0; i < f->count; i++)
        if (f->child[i].given) return i;
    fail_msg("nobody has a model");
    return 0;
}

const char *children_event(const struct children *f, const char *event, char *out, size_t room) {
    out[0] = 0;
    for (size_t i = 0; i < f->node.record_count; i++) {
        const struct trib_record *record = f->node.records[i];
        if (record->kind != TRIB_REC_EVENT || record->event.size != strlen(event) ||
            memcmp(record->event.data, event, record->event.size) != 0)
            continue;
        (void)snprintf(out, room, "%.*s", (int)record->text.size, record->text.data);
    }
    return out;
}
