/* A parent that says anything, to a live child role (device or edge): valid messages in any order, models
 * with right and wrong digests, whole and in pieces, damaged ones, and noise. Whatever comes, the role lives,
 * what it sends decodes, a model that it takes is finite and is the one that was named, and its journal
 * replays. */
#include "tests/fuzz/role.h"

#include "shared/participant/participant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct run {
    struct feed feed;
    struct subject subject;
    struct trib_participant *participant;
    uint64_t session, parent, next_session, pushed;
    bool connect, training;
    struct trib_blob *offered; /* of a MODEL */
    uint64_t offered_version;
};

static void on_sent(void *ctx, const struct trib_action *action, const struct trib_msg *msg) {
    struct run *run = ctx;
    TRIB_ASSERT(action->kind == TRIB_ACTION_SEND_PARENT);
    if (msg->type == TRIB_PUSH) {
        run->pushed = msg->number;
        TRIB_ASSERT(msg->after < msg->number);
    }
}

static void on_other(void *ctx, const struct trib_action *action) {
    struct run *run = ctx;
    if (action->kind == TRIB_ACTION_RECONNECT) run->connect = true;
    if (action->kind == TRIB_ACTION_TRAIN) run->training = true;
}

static void deliver(struct run *run, const struct trib_msg *msg, struct trib_blob *payload) {
    struct trib_buf frame;
    feed_encode(&run->feed, msg, &frame);
    trib_participant_message(run->participant, run->subject.now_ms, frame.data, frame.size, payload);
    trib_buf_release(&frame);
}

static void welcome(struct run *run) {
    static const char *const plans[] = {
        "codec.up: f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n",
        "codec.up: int8\ncodec.down: int8\ncodec.forward: topk(0.5)+int8\nforward.updates: 2\nnew.key: 1\n",
        "codec.up: zip\n", "train.batch: x\n", ""};
    static const char *const schemas[] = {"w 4 0x0p+0\n", "w 2x2 0x1p-1\n", "w 65 0x0p+0\n", "w\n", ""};
    uint8_t b = feed_byte(&run->feed);
    if (b % 8 == 0) run->parent = feed_number(&run->feed);
    const char *schema = schemas[b < 200 ? 0 : b % 5];
    struct trib_msg msg = {.type = TRIB_WELCOME};
    run->session = ++run->next_session;
    trib_msg_set(&msg, SESSION, session, run->session);
    trib_msg_set(&msg, INCARNATION, incarnation, run->parent);
    trib_msg_set(&msg, LAST_NUMBER, last_number, b % 8 == 1 ? feed_number(&run->feed) : 0);
    trib_msg_set(&msg, CREDIT, credit, feed_number(&run->feed));
    trib_msg_set(&msg, PLAN, plan, text_of(plans[b < 150 ? 0 : b % 5]));
    trib_msg_set(&msg, SCHEMA, schema, text_of(schema));
    trib_msg_set(&msg, HEARTBEAT_MS, heartbeat_ms, b % 8 == 2 ? feed_number(&run->feed) : 5000);
    struct trib_schema parsed;
    trib_schema_init(&parsed);
    if (trib_schema_parse(&parsed, schema, strlen(schema), NULL) == TRIB_OK)
        memcpy(msg.fingerprint, parsed.fingerprint, sizeof msg.fingerprint);
    trib_schema_release(&parsed);
    msg.present |= (uint64_t)1 << TRIB_F_RUN | (uint64_t)1 << TRIB_F_FINGERPRINT;
    deliver(run, &msg, NULL);
}

static void digest_seed(const struct trib_state *s, uint64_t seed, uint8_t out[TRIB_DIGEST_BYTES]) {
    float values[64] = {0};
    uint8_t full[TRIB_DIGEST_BYTES];
    trib_schema_draw(&s->schema, seed, values);
    trib_digest_floats(values, trib_state_parameters(s), NULL, full);
    trib_digest_chain_start(s->schema.fingerprint, full, out);
}

static void fill_model(struct run *run, struct trib_msg *msg, const struct trib_blob *payload) {
    const struct trib_state *s = run->subject.state;
    size_t bytes = trib_blob_size(payload);
    if (msg->kind == TRIB_MODEL_INCREMENTS) {
        trib_msg_set(msg, FROM_VERSION, from_version, s->parent_version);
        memcpy(msg->from_digest, s->parent_chain, sizeof msg->from_digest);
        msg->parts = (struct trib_u64s){.count = 1, .items = {bytes}};
        msg->present |= (uint64_t)1 << TRIB_F_FROM_DIGEST | (uint64_t)1 << TRIB_F_PARTS;
        trib_digest_chain(s->parent_chain, trib_blob_data(payload), bytes, msg->to_digest);
        if (feed_byte(&run->feed) > 200) msg->present |= (uint64_t)1 << TRIB_F_FULL_DIGEST; /* a wrong one */
    } else if (msg->kind == TRIB_MODEL_SEED) {
        trib_msg_set(msg, SEED, seed, feed_byte(&run->feed));
        digest_seed(s, msg->seed, msg->to_digest);
        if (payload == NULL) return;
        msg->parts = (struct trib_u64s){.count = 1, .items = {bytes}};
        msg->present |= (uint64_t)1 << TRIB_F_PARTS;
        trib_digest_chain(msg->to_digest, trib_blob_data(payload), bytes, msg->to_digest);
    } else {
        float values[64] = {0};
        if (bytes <= sizeof values && bytes > 0) memcpy(values, trib_blob_data(payload), bytes);
        trib_digest_floats(values, trib_state_parameters(s), NULL, msg->full_digest);
        msg->present |= (uint64_t)1 << TRIB_F_FULL_DIGEST;
        memset(msg->to_digest, (int)(msg->to_version & 0x7F), sizeof msg->to_digest);
    }
}

static void model(struct run *run) {
    const struct trib_state *s = run->subject.state;
    if (!s->started) return;
    uint8_t b = feed_byte(&run->feed);
    struct trib_msg msg = {.type = TRIB_MODEL};
    trib_msg_set(&msg, SESSION, session, run->session);
    trib_msg_set(&msg, KIND, kind, b % 4 + 1);
    trib_msg_set(&msg, TO_VERSION, to_version,
                 b < 220 ? s->parent_version + (b / 4 % 3) : feed_number(&run->feed));
    trib_msg_set(&msg, APPLIED, applied, b < 100 ? 0 : feed_number(&run->feed));
    trib_msg_set(&msg, FENCE, fence, b % 16 < 13 ? 0 : feed_number(&run->feed));
    msg.present |= (uint64_t)1 << TRIB_F_TO_DIGEST;
    struct trib_blob *payload = msg.kind == TRIB_MODEL_SEED && b < 128 ? NULL : feed_payload(&run->feed);
    if (msg.kind == TRIB_MODEL_CURRENT)
        memcpy(msg.to_digest, s->parent_chain, sizeof msg.to_digest);
    else
        fill_model(run, &msg, payload);
    if (payload != NULL && b % 5 == 0) {
        trib_msg_set(&msg, PAYLOAD_BYTES, payload_bytes,
                     b < 240 ? trib_blob_size(payload) : feed_number(&run->feed));
        uint32_t crc = trib_kernels()->crc32c(0, trib_blob_data(payload), trib_blob_size(payload));
        trib_msg_set(&msg, PAYLOAD_CRC, payload_crc, crc);
        trib_blob_unref(&run->offered);
        run->offered = trib_blob_ref(payload);
        run->offered_version = msg.to_version;
        deliver(run, &msg, NULL);
    } else {
        deliver(run, &msg, payload);
    }
    trib_blob_unref(&payload);
}

static void chunk(struct run *run) {
    uint8_t b = feed_byte(&run->feed);
    size_t total = trib_blob_size(run->offered);
    size_t offset = total > 0 ? (size_t)(b / 4 % 5) * 4 % total : 0;
    size_t size = (size_t)feed_byte(&run->feed) % (total - offset + 1);
    struct trib_msg msg = {.type = TRIB_CHUNK};
    trib_msg_set(&msg, SESSION, session, run->session);
    trib_msg_set(&msg, NUMBER, number, run->offered_version);
    trib_msg_set(&msg, OFFSET, offset, b < 250 ? offset : feed_number(&run->feed));
    struct trib_blob *piece = size > 0 ? trib_blob_slice(run->offered, offset, size) : NULL;
    deliver(run, &msg, piece);
    trib_blob_unref(&piece);
}

static void ack(struct run *run) {
    uint8_t b = feed_byte(&run->feed);
    struct trib_msg msg = {.type = TRIB_ACK};
    trib_msg_set(&msg, SESSION, session, run->session);
    trib_msg_set(&msg, NUMBER, number, b < 200 ? run->pushed : feed_number(&run->feed));
    trib_msg_set(&msg, VERDICT, verdict, b % 4 == 0 ? TRIB_REFUSED : TRIB_ACCEPTED);
    trib_msg_set(&msg, REASON, reason, b);
    trib_msg_set(&msg, CREDIT, credit, feed_number(&run->feed));
    deliver(run, &msg, NULL);
}

static void error(struct run *run) {
    struct trib_msg msg = {.type = TRIB_ERROR};
    trib_msg_set(&msg, CODE, code, feed_byte(&run->feed) % 16);
    trib_msg_set(&msg, NUMBER, number,
                 feed_byte(&run->feed) % 2 == 0 ? run->pushed : feed_number(&run->feed));
    trib_msg_set(&msg, WAIT_MS, wait_ms, feed_number(&run->feed));
    deliver(run, &msg, NULL);
}

static void small(struct run *run) {
    static const uint8_t types[] = {TRIB_PING, TRIB_BYE, TRIB_ADVANCE, TRIB_WAIT, TRIB_CREDIT, TRIB_PULL};
    struct trib_msg msg = {.type = types[feed_byte(&run->feed) % sizeof types]};
    uint64_t value = feed_number(&run->feed);
    trib_msg_set(&msg, SESSION, session, run->session);
    if (msg.type == TRIB_PING) trib_msg_set(&msg, TOKEN, token, value);
    if (msg.type == TRIB_BYE) trib_msg_set(&msg, REASON, reason, value % 3);
    if (msg.type == TRIB_ADVANCE) trib_msg_set(&msg, TO_VERSION, to_version, value);
    if (msg.type == TRIB_WAIT) trib_msg_set(&msg, WAIT_MS, wait_ms, value);
    if (msg.type == TRIB_CREDIT) {
        trib_msg_set(&msg, NUMBER, number, run->pushed);
        trib_msg_set(&msg, OFFSET, offset, value);
        trib_msg_set(&msg, CHUNK_BYTES, chunk_bytes, feed_number(&run->feed));
        trib_msg_set(&msg, WINDOW_BYTES, window_bytes, feed_number(&run->feed));
    }
    deliver(run, &msg, NULL);
}

static void noise(struct run *run) {
    uint8_t frame[8 + 255] = "TRIB\x01";
    const uint8_t *data;
    bool headless = feed_byte(&run->feed) % 4 == 0;
    size_t bytes = feed_take(&run->feed, 255, &data);
    if (bytes > 0) memcpy(frame + 8, data, bytes);
    frame[5] = feed_byte(&run->feed) % 16;
    struct trib_blob *payload = feed_payload(&run->feed);
    trib_participant_message(run->participant, run->subject.now_ms, headless ? frame + 8 : frame,
                             headless ? bytes : bytes + 8, payload);
    trib_blob_unref(&payload);
}

/* The device's trainer is done, or the edge's lower side has committed something. */
static void work(struct run *run) {
    struct trib_state *s = run->subject.state;
    uint8_t b = feed_byte(&run->feed);
    if (!s->started) return;
    float values[64] = {0};
    for (size_t i = 0; i < 4; i++) values[i] = b < 250 ? (float)(int8_t)b : (float)(b - 249) * 1e38f * 4;
    if (s->role == TRIB_ROLE_DEVICE) {
        if (!run->training && b % 8 != 0) return;
        run->training = false;
        struct trib_submission submission = {.difference = values,
                                             .base_version = s->parent_version,
                                             .parent_incarnation = s->parent_incarnation,
                                             .samples = b,
                                             .weight = 1};
        if (b % 8 == 1)
            trib_participant_abandon(run->participant, run->subject.now_ms);
        else
            trib_participant_submit(run->participant, run->subject.now_ms, &submission);
        return;
    }
    struct trib_record peer = {.kind = TRIB_REC_PEER};
    trib_rec_set(&peer, PEER, peer, text_of("d"));
    trib_rec_set(&peer, INCARNATION, incarnation, 3);
    subject_record(&run->subject, &peer);
    struct trib_record verdict = {.kind = TRIB_REC_VERDICT};
    struct trib_source source = trib_source_floats(values, trib_state_parameters(s));
    if (b >= 250 || trib_codec_encode(s->codec_in, &source, &verdict.payload, NULL) != TRIB_OK) return;
    trib_rec_set(&verdict, PEER, peer, text_of("d"));
    trib_rec_set(&verdict, INCARNATION, incarnation, 3);
    trib_rec_set(&verdict, NUMBER, number, trib_state_peer(s, "d", 1)->last + 1);
    trib_rec_set(&verdict, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&verdict, SAMPLES, samples, 10);
    trib_rec_set(&verdict, WEIGHT, weight, 10);
    trib_rec_set(&verdict, APPLIED, applied, 1.0f);
    trib_rec_set(&verdict, NORM_ADD, norm_add, 1.0f);
    subject_record(&run->subject, &verdict);
    trib_blob_unref(&verdict.payload);
    struct trib_record commit = {.kind = TRIB_REC_COMMIT};
    trib_rec_set(&commit, VERSION, version, s->version + 1);
    trib_rec_set(&commit, COMMITS, commits, s->commits + 1);
    trib_rec_set(&commit, SCALE, scale, 1.0f);
    subject_record(&run->subject, &commit);
}

static void check(const struct run *run) {
    const struct trib_state *s = run->subject.state;
    TRIB_ASSERT(s->held_count <= TRIB_HELD_MAX);
    size_t open = 0;
    for (size_t i = 0; i < s->held_count; i++) open += !s->held[i].acknowledged;
    TRIB_ASSERT(s->has_model == false || trib_kernels()->all_finite(s->G, trib_state_parameters(s)));
    TRIB_ASSERT(open <= TRIB_HELD_MAX);
}

static void step(struct run *run) {
    uint8_t op = feed_byte(&run->feed);
    switch (op % 16) {
    case 0:
    case 1: welcome(run); break;
    case 2:
    case 3:
    case 4: model(run); break;
    case 5:
    case 6: chunk(run); break;
    case 7:
    case 8: ack(run); break;
    case 9: error(run); break;
    case 10: small(run); break;
    case 11: noise(run); break;
    case 12:
    case 13: work(run); break;
    case 14:
        if (run->connect) trib_participant_connected(run->participant, run->subject.now_ms);
        run->connect = false;
        break;
    default: run->subject.now_ms += (uint64_t)feed_byte(&run->feed) * feed_byte(&run->feed); break;
    }
    subject_collect(&run->subject);
    (void)trib_participant_poll(run->participant, run->subject.now_ms);
    subject_collect(&run->subject);
    check(run);
}

static uint64_t region(void *ctx) {
    (void)ctx;
    return 30;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct run *run = trib_alloc(sizeof *run);
    TRIB_ASSERT(run != NULL);
    run->feed = (struct feed){data, bytes};
    run->parent = 70;
    bool edge = feed_byte(&run->feed) % 2 == 1;
    subject_open(&run->subject, edge ? TRIB_ROLE_EDGE : TRIB_ROLE_DEVICE);
    run->subject.on_sent = on_sent;
    run->subject.on_other = on_other;
    run->subject.ctx = run;
    struct trib_participant_options options = {
        .name = "child", .seed = 3, .frame_bytes = 12, .region = edge ? region : NULL};
    enum trib_status status =
        trib_participant_new(&options, run->subject.state, &run->subject.outbox, &run->participant, NULL);
    TRIB_ASSERT(status == TRIB_OK);
    (void)trib_participant_poll(run->participant, run->subject.now_ms);
    trib_participant_connected(run->participant, run->subject.now_ms);
    subject_collect(&run->subject);
    for (int i = 0; i < FUZZ_OPS && run->feed.left > 0; i++) step(run);
    if (edge) subject_replay(&run->subject);
    trib_participant_free(&run->participant);
    subject_close(&run->subject);
    trib_blob_unref(&run->offered);
    trib_free(run);
    return 0;
}
