#include "tests/support/roles.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/model/digest.h"
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <string.h>

static const char small_schema[] = "w 4 0x0p+0\n";
static const char big_schema[] = "w 5000 0x0p+0\n";
static const char huge_schema[] = "w 25000 0x0p+0\n";
static const char codecs[] = "codec.up: f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n";

struct trib_text role_text(const char *text) {
    return (struct trib_text){text, strlen(text)};
}

static void *grown(void *memory, size_t count, size_t *capacity, size_t item) {
    if (count < *capacity) return memory;
    *capacity = *capacity > 0 ? *capacity * 2 : 64;
    memory = trib_realloc(memory, *capacity * item);
    assert_non_null(memory);
    return memory;
}

/* ---- nodes ---- */

static void record(struct role_node *node, struct trib_record *record_of_run) {
    trib_rec_set(record_of_run, NOW, now_ms, node->now_ms);
    if (!trib_outbox_record(&node->outbox, node->state, record_of_run))
        fail_msg("%s", node->outbox.error.text);
    (void)role_collect(node, true);
}

/* Four f32 codecs, but for those that `more` names, and `more`. */
static void write_plan(char *out, size_t bytes, const char *more) {
    static const char *const names[] = {"codec.up", "codec.down", "codec.forward", "codec.global"};
    int used = snprintf(out, bytes, "%s", more != NULL ? more : "");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strstr(out, names[i]) == NULL)
            used += snprintf(out + used, bytes - (size_t)used, "%s: f32\n", names[i]);
}

static void begin(struct role_node *node, const struct role_options *options) {
    char plan[1024];
    write_plan(plan, sizeof plan, options->plan);
    struct trib_record start = {.kind = TRIB_REC_START};
    trib_rec_set(&start, INCARNATION, incarnation, 7);
    trib_rec_set(&start, PLAN, plan, role_text(plan));
    trib_rec_set(&start, SCHEMA, schema,
                 role_text(options->huge  ? huge_schema
                           : options->big ? big_schema
                                          : small_schema));
    trib_rec_set(&start, PARENT_INCARNATION, parent_incarnation, 9);
    if (options->given)
        start.payload = role_bytes(sizeof(float) * (options->big ? ROLE_BIG_N : ROLE_N), 0);
    else if (options->role == TRIB_ROLE_CLOUD)
        trib_rec_set(&start, SEED, seed, 1);
    record(node, &start);
    trib_blob_unref(&start.payload);
    if (options->role != TRIB_ROLE_EDGE || !options->with_seed) return;
    struct trib_record model = {.kind = TRIB_REC_PARENT};
    trib_rec_set(&model, MODEL_KIND, model_kind, TRIB_MODEL_SEED);
    trib_rec_set(&model, SEED, seed, 1);
    trib_rec_set(&model, VERSION, version, 0);
    record(node, &model);
}

static void fresh(struct role_node *node, const struct role_options *options) {
    *node = (struct role_node){.now_ms = 1000000};
    struct trib_state_limits limits = {.max_parameters = options->huge ? 30000 : 10000};
    assert_int_equal(trib_state_new(options->role, &limits, &node->state, NULL), TRIB_OK);
    trib_outbox_init(&node->outbox);
}

void role_parent(struct role_node *node, struct role_options options) {
    fresh(node, &options);
    if (options.aggregator.seed == 0) options.aggregator.seed = 5;
    begin(node, &options);
    assert_int_equal(
        trib_aggregator_new(&options.aggregator, node->state, &node->outbox, &node->aggregator, NULL),
        TRIB_OK);
}

static void child(struct role_node *node, struct role_options options) {
    if (options.participant.seed == 0) options.participant.seed = 5;
    if (options.participant.name == NULL) options.participant.name = "child-1";
    assert_int_equal(
        trib_participant_new(&options.participant, node->state, &node->outbox, &node->participant, NULL),
        TRIB_OK);
}

void role_child(struct role_node *node, struct role_options options) {
    fresh(node, &options);
    child(node, options);
}

void role_resume(struct role_node *node, struct role_options options, struct trib_state *state) {
    *node = (struct role_node){.now_ms = 2000000, .state = state};
    trib_outbox_init(&node->outbox);
    child(node, options);
}

void role_stop(struct role_node *node) {
    trib_aggregator_free(&node->aggregator);
    trib_participant_free(&node->participant);
    trib_outbox_release(&node->outbox);
    trib_state_free(&node->state);
    for (size_t i = 0; i < node->sent_count; i++) {
        trib_free(node->sent[i]->frame);
        trib_blob_unref(&node->sent[i]->payload);
        trib_free(node->sent[i]);
    }
    for (size_t i = 0; i < node->record_count; i++) trib_record_free(&node->records[i]);
    trib_free(node->sent);
    trib_free(node->records);
}

/* ---- what it did ---- */

static void keep_sent(struct role_node *node, struct trib_action *action) {
    node->sent = grown(node->sent, node->sent_count, &node->sent_capacity, sizeof *node->sent);
    struct role_sent *sent = trib_alloc(sizeof *sent);
    assert_non_null(sent);
    node->sent[node->sent_count++] = sent;
    *sent = (struct role_sent){.frame = action->frame,
                               .payload = action->payload,
                               .route = action->route,
                               .after = action->after,
                               .position = node->state->position};
    struct trib_error err = {0};
    if (trib_msg_decode(sent->frame, action->frame_bytes, &sent->msg, NULL, &err) != TRIB_OK)
        fail_msg("it sent what does not decode: %s", err.text);
    action->frame = NULL;
    action->payload = NULL;
}

static void keep_record(struct role_node *node, struct trib_action *action) {
    node->records = grown(node->records, node->record_count, &node->record_capacity, sizeof *node->records);
    node->records[node->record_count++] = action->record;
    action->record = NULL;
}

static void keep_log(struct role_node *node, const struct trib_record *line) {
    if (node->log_count == ROLE_LOGS) return;
    (void)snprintf(node->logs[node->log_count++], sizeof node->logs[0], "%.*s", (int)line->event.size,
                   line->event.data);
}

bool role_collect(struct role_node *node, bool must_work) {
    struct trib_action action;
    while (trib_outbox_take(&node->outbox, &action)) {
        switch (action.kind) {
        case TRIB_ACTION_SEND_CHILD:
        case TRIB_ACTION_SEND_PARENT: keep_sent(node, &action); break;
        case TRIB_ACTION_WRITE: keep_record(node, &action); break;
        case TRIB_ACTION_RECONNECT: node->reconnects++; break;
        case TRIB_ACTION_TRAIN: node->trains++; break;
        case TRIB_ACTION_FINISHED: node->finished++; break;
        case TRIB_ACTION_LOG: keep_log(node, action.record); break;
        }
        trib_action_release(&action);
    }
    if (must_work && node->outbox.failed != TRIB_OK) fail_msg("the role failed: %s", node->outbox.error.text);
    return node->outbox.failed == TRIB_OK;
}

void role_deliver_bytes(struct role_node *node, trib_child_route route, const void *frame, size_t bytes,
                        struct trib_blob *payload) {
    if (node->aggregator != NULL)
        trib_aggregator_message(node->aggregator, node->now_ms, route, NULL, frame, bytes, payload);
    else
        trib_participant_message(node->participant, node->now_ms, frame, bytes, payload);
    (void)role_collect(node, true);
}

void role_deliver(struct role_node *node, trib_child_route route, const char *identity,
                  const struct trib_msg *msg, struct trib_blob *payload) {
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_msg_encode(msg, &buf);
    assert_false(buf.failed);
    if (identity != NULL) {
        trib_aggregator_message(node->aggregator, node->now_ms, route, identity, buf.data, buf.size, payload);
        (void)role_collect(node, true);
    } else {
        role_deliver_bytes(node, route, buf.data, buf.size, payload);
    }
    trib_buf_release(&buf);
}

void role_poll(struct role_node *node) {
    node->wake_ms = node->aggregator != NULL ? trib_aggregator_poll(node->aggregator, node->now_ms)
                                             : trib_participant_poll(node->participant, node->now_ms);
    (void)role_collect(node, true);
}

void role_wait(struct role_node *node, uint64_t ms) {
    node->now_ms += ms;
    role_poll(node);
}

const struct role_sent *role_peek(struct role_node *node) {
    return node->read < node->sent_count ? node->sent[node->read++] : NULL;
}

const struct role_sent *role_next(struct role_node *node, uint8_t type) {
    const struct role_sent *sent = role_peek(node);
    if (sent == NULL) fail_msg("nothing was sent, expected %s", trib_msg_name(type));
    TRIB_ASSERT(sent != NULL); /* for the static analyser: that was the end */
    if (sent->msg.type != type)
        fail_msg("%s was sent (code %s, %.*s), expected %s", trib_msg_name(sent->msg.type),
                 trib_code_name(sent->msg.code), (int)sent->msg.detail.size,
                 sent->msg.detail.size > 0 ? sent->msg.detail.data : "", trib_msg_name(type));
    return sent;
}

void role_silent(struct role_node *node) {
    const struct role_sent *sent = role_peek(node);
    if (sent != NULL) fail_msg("%s was sent, expected nothing", trib_msg_name(sent->msg.type));
}

const struct role_sent *role_error(struct role_node *node, uint64_t code) {
    const struct role_sent *sent = role_next(node, TRIB_ERROR);
    if (sent->msg.code != code)
        fail_msg("ERROR %s, expected %s", trib_code_name(sent->msg.code), trib_code_name(code));
    assert_int_equal(sent->after, 0);
    return sent;
}

size_t role_logged(const struct role_node *node, const char *event) {
    size_t count = 0;
    for (size_t i = 0; i < node->log_count; i++) count += strcmp(node->logs[i], event) == 0;
    return count;
}

size_t role_recorded(const struct role_node *node, uint8_t kind) {
    size_t count = 0;
    for (size_t i = 0; i < node->record_count; i++) count += node->records[i]->kind == kind;
    return count;
}

const struct trib_record *role_last(const struct role_node *node, uint8_t kind) {
    for (size_t i = node->record_count; i > 0; i--)
        if (node->records[i - 1]->kind == kind) return node->records[i - 1];
    fail_msg("no record of kind %s", trib_record_name(kind));
    return NULL;
}

void role_rebuild(const struct role_node *node) {
    struct trib_state *again;
    assert_int_equal(trib_state_new(node->state->role, &node->state->limits, &again, NULL), TRIB_OK);
    for (size_t i = 0; i < node->record_count; i++) {
        struct trib_buf map;
        trib_buf_init(&map, 0);
        trib_record_encode(node->records[i], &map);
        struct trib_record read;
        struct trib_error err = {0};
        enum trib_status status = trib_record_decode(node->records[i]->kind, map.data, map.size, &read, &err);
        read.position = node->records[i]->position;
        read.payload = node->records[i]->payload;
        if (status == TRIB_OK) status = trib_state_apply(again, &read, &err);
        if (status != TRIB_OK) fail_msg("record %zu: %s", i, err.text);
        trib_buf_release(&map);
    }
    uint8_t before[TRIB_DIGEST_BYTES], after[TRIB_DIGEST_BYTES];
    assert_int_equal(trib_state_digest(node->state, before), TRIB_OK);
    assert_int_equal(trib_state_digest(again, after), TRIB_OK);
    assert_memory_equal(before, after, sizeof before);
    trib_state_free(&again);
}

/* ---- messages of children ---- */

struct trib_blob *role_floats(size_t n, float value) {
    struct trib_blob *blob = trib_blob_new(n * sizeof value);
    assert_non_null(blob);
    for (size_t i = 0; i < n; i++) memcpy(trib_blob_mutable(blob) + i * sizeof value, &value, sizeof value);
    return blob;
}

struct trib_blob *role_bytes(size_t bytes, uint8_t value) {
    struct trib_blob *blob = trib_blob_new(bytes);
    assert_non_null(blob);
    memset(trib_blob_mutable(blob), value, bytes);
    return blob;
}

uint32_t role_crc(const struct trib_blob *blob) {
    return trib_kernels()->crc32c(0, trib_blob_data(blob), trib_blob_size(blob));
}

struct trib_msg role_hello(const char *name, uint64_t incarnation, uint64_t next) {
    struct trib_msg msg = {.type = TRIB_HELLO};
    trib_msg_set(&msg, NAME, name, role_text(name));
    trib_msg_set(&msg, INCARNATION, incarnation, incarnation);
    trib_msg_set(&msg, NEXT_NUMBER, next_number, next);
    trib_msg_set(&msg, PROTOCOL_MIN, protocol_min, 1);
    trib_msg_set(&msg, PROTOCOL_MAX, protocol_max, TRIB_PROTOCOL_NEWEST);
    trib_msg_set(&msg, KIND, kind, TRIB_CHILD_DEVICE);
    return msg;
}

struct trib_msg role_message(uint8_t type, uint64_t session) {
    struct trib_msg msg = {.type = type};
    trib_msg_set(&msg, SESSION, session, session);
    return msg;
}

struct trib_msg role_pull(uint64_t session, const struct trib_msg *held) {
    struct trib_msg msg = role_message(TRIB_PULL, session);
    if (held == NULL) return msg;
    trib_msg_set(&msg, HELD_VERSION, held_version, held->to_version);
    memcpy(msg.held_digest, held->to_digest, sizeof msg.held_digest);
    msg.present |= (uint64_t)1 << TRIB_F_HELD_DIGEST;
    return msg;
}

struct trib_msg role_push(uint64_t session, uint64_t number, uint64_t base) {
    struct trib_msg msg = role_message(TRIB_PUSH, session);
    trib_msg_set(&msg, NUMBER, number, number);
    trib_msg_set(&msg, BASE_VERSION, base_version, base);
    trib_msg_set(&msg, SAMPLES, samples, 10);
    trib_msg_set(&msg, WEIGHT, weight, 10);
    trib_msg_set(&msg, STEPS, steps, 1.0f);
    return msg;
}

struct trib_msg role_offer(uint64_t session, uint64_t number, uint64_t base, const struct trib_blob *blob) {
    struct trib_msg msg = role_push(session, number, base);
    trib_msg_set(&msg, PAYLOAD_BYTES, payload_bytes, trib_blob_size(blob));
    trib_msg_set(&msg, PAYLOAD_CRC, payload_crc, role_crc(blob));
    return msg;
}

struct trib_msg role_chunk(uint64_t session, uint64_t number, uint64_t offset) {
    struct trib_msg msg = role_message(TRIB_CHUNK, session);
    trib_msg_set(&msg, NUMBER, number, number);
    trib_msg_set(&msg, OFFSET, offset, offset);
    return msg;
}

uint64_t role_join(struct role_node *node, trib_child_route route, const char *name, uint64_t incarnation) {
    struct trib_msg hello = role_hello(name, incarnation, 1);
    role_deliver(node, route, NULL, &hello, NULL);
    const struct role_sent *welcome = role_next(node, TRIB_WELCOME);
    assert_int_equal(welcome->route, route);
    return welcome->msg.session;
}

const struct trib_msg *role_update(struct role_node *node, trib_child_route route, struct trib_msg push,
                                   float value) {
    struct trib_blob *payload = role_floats(trib_state_parameters(node->state), value);
    role_deliver(node, route, NULL, &push, payload);
    trib_blob_unref(&payload);
    const struct role_sent *ack = role_next(node, TRIB_ACK);
    assert_int_equal(ack->msg.number, push.number);
    return &ack->msg;
}

const struct role_sent *role_pulled(struct role_node *node, uint64_t session, const struct trib_msg *held) {
    struct trib_msg msg = role_pull(session, held);
    role_deliver(node, 1, NULL, &msg, NULL);
    return role_next(node, TRIB_MODEL);
}

uint64_t role_refused(struct role_node *node, struct trib_msg push, struct trib_blob *payload) {
    role_deliver(node, 1, NULL, &push, payload);
    const struct role_sent *ack = role_next(node, TRIB_ACK);
    assert_int_equal(ack->msg.verdict, TRIB_REFUSED);
    assert_int_equal(ack->after, node->state->position);
    return ack->msg.reason;
}

/* ---- messages of parents ---- */

struct trib_msg role_welcome(uint64_t session, uint64_t parent, uint64_t last) {
    struct trib_msg msg = role_message(TRIB_WELCOME, session);
    msg.version = TRIB_PROTOCOL_NEWEST;
    trib_msg_set(&msg, INCARNATION, incarnation, parent);
    trib_msg_set(&msg, LAST_NUMBER, last_number, last);
    trib_msg_set(&msg, CREDIT, credit, 0);
    trib_msg_set(&msg, PLAN, plan, role_text(codecs));
    trib_msg_set(&msg, SCHEMA, schema, role_text(small_schema));
    trib_msg_set(&msg, HEARTBEAT_MS, heartbeat_ms, 5000);
    struct trib_schema schema;
    trib_schema_init(&schema);
    assert_int_equal(trib_schema_parse(&schema, small_schema, strlen(small_schema), NULL), TRIB_OK);
    memcpy(msg.fingerprint, schema.fingerprint, sizeof msg.fingerprint);
    msg.present |= (uint64_t)1 << TRIB_F_RUN | (uint64_t)1 << TRIB_F_FINGERPRINT;
    trib_schema_release(&schema);
    return msg;
}

static struct trib_msg model(uint64_t session, uint64_t kind, uint64_t version) {
    struct trib_msg msg = role_message(TRIB_MODEL, session);
    trib_msg_set(&msg, KIND, kind, kind);
    trib_msg_set(&msg, TO_VERSION, to_version, version);
    trib_msg_set(&msg, APPLIED, applied, 0);
    trib_msg_set(&msg, FENCE, fence, 0);
    msg.present |= (uint64_t)1 << TRIB_F_TO_DIGEST;
    return msg;
}

struct trib_msg role_seed_model(uint64_t session) {
    struct trib_msg msg = model(session, TRIB_MODEL_SEED, 0);
    struct trib_msg welcome = role_welcome(session, 1, 0);
    const float zeros[ROLE_N] = {0};
    uint8_t full[TRIB_DIGEST_BYTES];
    trib_digest_floats(zeros, ROLE_N, NULL, full);
    trib_digest_chain_start(welcome.fingerprint, full, msg.to_digest);
    trib_msg_set(&msg, SEED, seed, 1);
    return msg;
}

struct trib_msg role_seeded_model(uint64_t session, uint64_t version, const struct trib_blob *increment) {
    struct trib_msg msg = role_seed_model(session);
    trib_msg_set(&msg, TO_VERSION, to_version, version);
    trib_digest_chain(msg.to_digest, trib_blob_data(increment), trib_blob_size(increment), msg.to_digest);
    msg.parts = (struct trib_u64s){.count = 1, .items = {trib_blob_size(increment)}};
    msg.present |= (uint64_t)1 << TRIB_F_PARTS;
    return msg;
}

struct trib_msg role_snapshot_model(uint64_t session, uint64_t version, const struct trib_blob *values) {
    struct trib_msg msg = model(session, TRIB_MODEL_SNAPSHOT, version);
    float copy[ROLE_N] = {0};
    if (trib_blob_size(values) == sizeof copy) memcpy(copy, trib_blob_data(values), sizeof copy);
    trib_digest_floats(copy, ROLE_N, NULL, msg.full_digest);
    msg.present |= (uint64_t)1 << TRIB_F_FULL_DIGEST;
    memset(msg.to_digest, (int)(version + 100), sizeof msg.to_digest);
    return msg;
}

struct trib_msg role_increment_model(uint64_t session, const struct trib_state *held, uint64_t version,
                                     const struct trib_blob *increment) {
    struct trib_msg msg = model(session, TRIB_MODEL_INCREMENTS, version);
    trib_msg_set(&msg, FROM_VERSION, from_version, held->parent_version);
    memcpy(msg.from_digest, held->parent_chain, sizeof msg.from_digest);
    trib_digest_chain(held->parent_chain, trib_blob_data(increment), trib_blob_size(increment),
                      msg.to_digest);
    msg.parts = (struct trib_u64s){.count = 1, .items = {trib_blob_size(increment)}};
    msg.present |= (uint64_t)1 << TRIB_F_FROM_DIGEST | (uint64_t)1 << TRIB_F_PARTS;
    return msg;
}

void role_connect(struct role_node *node, uint64_t session, uint64_t parent, uint64_t last) {
    trib_participant_connected(node->participant, node->now_ms);
    (void)role_collect(node, true);
    (void)role_next(node, TRIB_HELLO);
    struct trib_msg welcome = role_welcome(session, parent, last);
    role_deliver(node, 0, NULL, &welcome, NULL);
    if (node->state->role == TRIB_ROLE_EDGE && node->read < node->sent_count) { /* a run that is new to it */
        (void)role_next(node, TRIB_HELLO);
        role_deliver(node, 0, NULL, &welcome, NULL);
    }
}

void role_begin(struct role_node *node, uint64_t session) {
    role_poll(node); /* asks for a connection */
    assert_int_equal(node->reconnects, 1);
    role_connect(node, session, 70, 0);
    role_poll(node);
    (void)role_next(node, TRIB_PULL);
    struct trib_msg seed = role_seed_model(session);
    role_deliver(node, 0, NULL, &seed, NULL);
}

void role_submit(struct role_node *node, float value) {
    const float difference[ROLE_N] = {value, value, value, value};
    struct trib_submission work = {.difference = difference,
                                   .base_version = node->state->parent_version,
                                   .parent_incarnation = node->state->parent_incarnation,
                                   .samples = 20,
                                   .weight = 10,
                                   .steps = 2.0f,
                                   .loss = 0.5f};
    trib_participant_submit(node->participant, node->now_ms, &work);
    (void)role_collect(node, true);
}

void role_gather(struct role_node *node, float value) {
    role_gather_claimed(node, value, 10);
}

void role_gather_claimed(struct role_node *node, float value, uint64_t claim) {
    struct trib_record peer = {.kind = TRIB_REC_PEER};
    trib_rec_set(&peer, PEER, peer, role_text("d"));
    trib_rec_set(&peer, INCARNATION, incarnation, 3);
    assert_true(trib_outbox_record(&node->outbox, node->state, &peer));
    struct trib_peer *d = trib_state_peer(node->state, "d", 1);
    struct trib_record verdict = {.kind = TRIB_REC_VERDICT, .payload = role_floats(ROLE_N, value)};
    trib_rec_set(&verdict, PEER, peer, role_text("d"));
    trib_rec_set(&verdict, INCARNATION, incarnation, 3);
    trib_rec_set(&verdict, NUMBER, number, d->last + 1);
    trib_rec_set(&verdict, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&verdict, SAMPLES, samples, claim);
    trib_rec_set(&verdict, WEIGHT, weight, claim);
    trib_rec_set(&verdict, STEPS, steps, (float)claim);
    trib_rec_set(&verdict, BELOW_UPDATES, below_updates, claim);
    trib_rec_set(&verdict, BELOW_RAW, below_raw_bytes, claim << 10);
    trib_rec_set(&verdict, APPLIED, applied, 1.0f);
    trib_rec_set(&verdict, NORM_ADD, norm_add, 1.0f);
    assert_true(trib_outbox_record(&node->outbox, node->state, &verdict));
    trib_blob_unref(&verdict.payload);
    struct trib_record commit = {.kind = TRIB_REC_COMMIT};
    trib_rec_set(&commit, VERSION, version, node->state->version + 1);
    trib_rec_set(&commit, COMMITS, commits, node->state->commits + 1);
    trib_rec_set(&commit, SCALE, scale, 1.0f);
    assert_true(trib_outbox_record(&node->outbox, node->state, &commit));
    (void)role_collect(node, true);
}

struct trib_msg role_ack(uint64_t session, uint64_t number, uint64_t verdict) {
    struct trib_msg msg = role_message(TRIB_ACK, session);
    trib_msg_set(&msg, NUMBER, number, number);
    trib_msg_set(&msg, VERDICT, verdict, verdict);
    if (verdict == TRIB_REFUSED) trib_msg_set(&msg, REASON, reason, TRIB_REASON_STALE);
    return msg;
}
