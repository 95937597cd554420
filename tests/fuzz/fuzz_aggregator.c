/* Children that say anything, to a live parent role: valid messages in any order, with right and wrong
 * sessions and numbers, damaged ones, and noise. Whatever comes, the role lives, what it sends decodes, what
 * it holds for others is bounded, and its journal replays to the same bits. */
#include "tests/fuzz/role.h"

#include "shared/aggregator/aggregator.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { CHILDREN = 4, BUDGET = 40, WINDOW = 8, MAX_PEERS = 3 };

static const char *const plans[] = {
    "cloud.rule: trust(labels=1) | fedasync\ntrain.tell_labels: true\n",
    "cloud.rule: fedavg\n",
    "cloud.rule: fedasync(form=mix, alpha=0.5)\n",
    "cloud.rule: fedbuff(k=2)\nstaleness_cap: 1\ncodec.global: int8\n",
    "cloud.rule: fedavg\nselect.count: 1\nselect.policy: oort\nselect.over: 2\nselect.min_battery: 5\n",
    "cloud.rule: fedbuff(k=2)\nselect.fraction: 0.3\nselect.policy: stratified\nselect.patience: 1s\n",
    "edge.rule: fedbuff(k=2)\nforward.hold: true\n",
    "edge.rule: fedavg(minimum=1)\ncodec.down: topk(0.5)+int8\n",
    "edge.rule: fedbuff(k=2)\ncodec.up: auto(min=int8, max=f32, loss=0)\n",
};
enum { PLANS = sizeof plans / sizeof plans[0], FIRST_EDGE = 6 };

struct child {
    uint64_t session, number, version, outgoing;
    bool holds;
    uint8_t digest[TRIB_DIGEST_BYTES];
    struct trib_blob *offered;
    uint64_t offered_number;
};

struct run {
    struct feed feed;
    struct subject subject;
    struct trib_aggregator *aggregator;
    struct child children[CHILDREN];
};

static void on_sent(void *ctx, const struct trib_action *action, const struct trib_msg *msg) {
    struct run *run = ctx;
    if (action->route >= CHILDREN) return;
    struct child *child = &run->children[action->route];
    if (msg->type == TRIB_WELCOME) {
        child->session = msg->session;
        child->number = msg->last_number;
    } else if (msg->type == TRIB_MODEL) {
        child->holds = true;
        child->version = msg->to_version;
        child->outgoing = msg->to_version;
        memcpy(child->digest, msg->to_digest, sizeof child->digest);
    } else if (msg->type == TRIB_ACK && msg->number > child->number) {
        child->number = msg->number;
    }
}

static void on_other(void *ctx, const struct trib_action *action) {
    (void)ctx;
    TRIB_ASSERT(action->kind == TRIB_ACTION_LOG || action->kind == TRIB_ACTION_WRITE);
}

static void begin(struct run *run, size_t plan) {
    char text[256];
    (void)snprintf(text, sizeof text,
                   "%scodec.forward: f32\npublish.interval: 0\npublish.global_interval: 0\n%s",
                   strstr(plans[plan], "codec.up") == NULL ? "codec.up: f32\n" : "", plans[plan]);
    struct trib_record start = {.kind = TRIB_REC_START};
    trib_rec_set(&start, INCARNATION, incarnation, 7);
    trib_rec_set(&start, PLAN, plan, text_of(text));
    trib_rec_set(&start, SCHEMA, schema, text_of("w 4 0x0p+0\n"));
    if (plan < FIRST_EDGE) trib_rec_set(&start, SEED, seed, 1);
    subject_record(&run->subject, &start);
}

static void deliver(struct run *run, trib_child_route route, const struct trib_msg *msg,
                    struct trib_blob *payload) {
    struct trib_buf frame;
    feed_encode(&run->feed, msg, &frame);
    trib_aggregator_message(run->aggregator, run->subject.now_ms, route, NULL, frame.data, frame.size,
                            payload);
    trib_buf_release(&frame);
}

static void hello(struct run *run, trib_child_route route) {
    static const char *const names[] = {"a", "b", "c", "d", "e f"};
    struct trib_msg msg = {.type = TRIB_HELLO};
    uint8_t b = feed_byte(&run->feed);
    trib_msg_set(&msg, NAME, name, text_of(b < 200 ? names[route] : names[b % 5]));
    trib_msg_set(&msg, INCARNATION, incarnation, b % 3 == 0 ? feed_number(&run->feed) : route + 1);
    trib_msg_set(&msg, NEXT_NUMBER, next_number, 1);
    trib_msg_set(&msg, PROTOCOL_MIN, protocol_min, 1);
    trib_msg_set(&msg, PROTOCOL_MAX, protocol_max, b / 4 % 2 + 1);
    trib_msg_set(&msg, KIND, kind, b % 2 + 1);
    trib_msg_set(&msg, SUBSCRIBE, subscribe, b / 2 % 2);
    if (b % 16 == 4) {
        trib_msg_set(&msg, BASE_VERSION, base_version, run->children[route].version);
        memcpy(msg.base_digest, run->children[route].digest, sizeof msg.base_digest);
        msg.base_digest[0] ^= b > 200;
        msg.present |= (uint64_t)1 << TRIB_F_BASE_DIGEST;
    }
    deliver(run, route, &msg, NULL);
}

static void pull(struct run *run, trib_child_route route) {
    struct child *child = &run->children[route];
    struct trib_msg msg = {.type = TRIB_PULL};
    trib_msg_set(&msg, SESSION, session, child->session);
    uint8_t b = feed_byte(&run->feed);
    if (b % 2 == 0) trib_msg_set(&msg, CREDIT, credit, b);
    if (b % 5 == 0) trib_msg_set(&msg, BATTERY, battery, b % 101);
    if (b % 7 == 0) trib_msg_set(&msg, DEVICE_CLASS, device_class, text_of(b % 2 == 0 ? "phone" : "gateway"));
    if (b % 11 == 0) trib_msg_set(&msg, LINK, link, b);
    if (child->holds && b % 3 != 0) {
        trib_msg_set(&msg, HELD_VERSION, held_version, child->version);
        memcpy(msg.held_digest, child->digest, sizeof msg.held_digest);
        msg.present |= (uint64_t)1 << TRIB_F_HELD_DIGEST;
    }
    deliver(run, route, &msg, NULL);
}

static struct trib_msg update(struct run *run, const struct child *child) {
    struct feed *feed = &run->feed;
    struct trib_msg msg = {.type = TRIB_PUSH};
    uint8_t b = feed_byte(feed);
    trib_msg_set(&msg, SESSION, session, child->session);
    trib_msg_set(&msg, NUMBER, number, b < 180 ? child->number + 1 : child->number + feed_number(feed) - 3);
    trib_msg_set(&msg, BASE_VERSION, base_version, b % 8 != 0 ? child->version : feed_number(feed));
    trib_msg_set(&msg, SAMPLES, samples, b % 8 != 1 ? 10 : feed_number(feed));
    trib_msg_set(&msg, WEIGHT, weight, b % 8 != 2 ? 10 : feed_number(feed));
    trib_msg_set(&msg, STEPS, steps, b % 8 != 3 ? 1.0f : (float)feed_number(feed) * 1e20f);
    if (b % 8 == 4) trib_msg_set(&msg, AFTER, after, feed_number(feed));
    if (b % 8 == 5) trib_msg_set(&msg, REGION, region, feed_number(feed));
    if (b % 8 == 6) {
        msg.histogram.count = 2 * (feed_byte(feed) % 4);
        for (size_t i = 0; i < msg.histogram.count; i++) msg.histogram.items[i] = feed_number(feed);
        msg.present |= (uint64_t)1 << TRIB_F_HISTOGRAM;
    }
    if (b % 3 == 0) {
        msg.labels.count = feed_byte(feed) % 5;
        for (size_t i = 0; i < msg.labels.count; i++) msg.labels.items[i] = feed_number(feed);
        msg.present |= (uint64_t)1 << TRIB_F_LABELS;
    }
    static const char *const codecs[] = {"f16", "zip", "topk(0.5)+f32", "int8"};
    if (b % 8 == 7 && b > 100) trib_msg_set(&msg, CODEC, codec, text_of(codecs[b / 8 % 4]));
    if (b % 16 == 15) trib_msg_set(&msg, KIND, kind, feed_byte(feed) % 16);
    if (b % 32 == 15) trib_msg_set(&msg, REASON, reason, feed_byte(feed));
    return msg;
}

static void push(struct run *run, trib_child_route route) {
    struct trib_msg msg = update(run, &run->children[route]);
    struct trib_blob *payload = feed_payload(&run->feed);
    deliver(run, route, &msg, payload);
    trib_blob_unref(&payload);
}

static void offer(struct run *run, trib_child_route route) {
    struct child *child = &run->children[route];
    uint8_t b = feed_byte(&run->feed);
    struct trib_msg msg = update(run, child);
    if (b % 3 != 0 || child->offered == NULL) {
        struct trib_blob *payload = feed_payload(&run->feed);
        if (payload == NULL) return;
        trib_blob_unref(&child->offered);
        child->offered = payload;
        child->offered_number = msg.number;
    }
    msg.number = child->offered_number;
    trib_msg_set(&msg, PAYLOAD_BYTES, payload_bytes,
                 b < 230 ? trib_blob_size(child->offered) : feed_number(&run->feed));
    uint32_t crc = trib_kernels()->crc32c(0, trib_blob_data(child->offered), trib_blob_size(child->offered));
    trib_msg_set(&msg, PAYLOAD_CRC, payload_crc, crc);
    deliver(run, route, &msg, NULL);
}

static void chunk(struct run *run, trib_child_route route) {
    struct child *child = &run->children[route];
    uint8_t b = feed_byte(&run->feed);
    size_t total = trib_blob_size(child->offered);
    size_t offset = total > 0 ? (b % 4 == 0 ? feed_byte(&run->feed) : (size_t)(b / 4 % 5) * 4) % total : 0;
    size_t size = (size_t)feed_byte(&run->feed) % (total - offset + 1);
    struct trib_msg msg = {.type = TRIB_CHUNK};
    trib_msg_set(&msg, SESSION, session, child->session);
    trib_msg_set(&msg, NUMBER, number, child->offered_number);
    trib_msg_set(&msg, OFFSET, offset, b < 250 ? offset : feed_number(&run->feed));
    struct trib_blob *piece = size > 0 ? trib_blob_slice(child->offered, offset, size) : NULL;
    deliver(run, route, &msg, piece);
    trib_blob_unref(&piece);
}

static void credit(struct run *run, trib_child_route route) {
    struct trib_msg msg = {.type = TRIB_CREDIT};
    trib_msg_set(&msg, SESSION, session, run->children[route].session);
    trib_msg_set(&msg, NUMBER, number, run->children[route].outgoing);
    trib_msg_set(&msg, OFFSET, offset, feed_number(&run->feed));
    trib_msg_set(&msg, CHUNK_BYTES, chunk_bytes, feed_number(&run->feed));
    trib_msg_set(&msg, WINDOW_BYTES, window_bytes, feed_number(&run->feed));
    deliver(run, route, &msg, NULL);
}

static void small(struct run *run, trib_child_route route) {
    static const uint8_t types[] = {TRIB_PING, TRIB_PONG, TRIB_BYE, TRIB_ERROR, TRIB_ADVANCE, TRIB_WAIT};
    struct trib_msg msg = {.type = types[feed_byte(&run->feed) % sizeof types]};
    uint64_t value = feed_byte(&run->feed);
    trib_msg_set(&msg, SESSION, session, run->children[route].session);
    if (msg.type == TRIB_PING || msg.type == TRIB_PONG) trib_msg_set(&msg, TOKEN, token, value);
    if (msg.type == TRIB_BYE) trib_msg_set(&msg, REASON, reason, value);
    if (msg.type == TRIB_ERROR) trib_msg_set(&msg, CODE, code, value);
    if (msg.type == TRIB_ADVANCE) trib_msg_set(&msg, TO_VERSION, to_version, value);
    if (msg.type == TRIB_WAIT) trib_msg_set(&msg, WAIT_MS, wait_ms, value);
    deliver(run, route, &msg, NULL);
}

static void noise(struct run *run, trib_child_route route) {
    uint8_t frame[8 + 255] = "TRIB\x01";
    const uint8_t *data;
    bool headless = feed_byte(&run->feed) % 4 == 0;
    size_t bytes = feed_take(&run->feed, 255, &data);
    if (bytes > 0) memcpy(frame + 8, data, bytes);
    frame[5] = feed_byte(&run->feed) % 16;
    struct trib_blob *payload = feed_payload(&run->feed);
    trib_aggregator_message(run->aggregator, run->subject.now_ms, route, NULL, headless ? frame + 8 : frame,
                            headless ? bytes : bytes + 8, payload);
    trib_blob_unref(&payload);
}

/* What happens on the node's other sides. */
static void node_event(struct run *run) {
    struct subject *s = &run->subject;
    uint8_t b = feed_byte(&run->feed);
    bool edge = s->state->role == TRIB_ROLE_EDGE;
    if (b < 60) trib_aggregator_refuse_writes(run->aggregator, b % 2 * 100);
    if (b == 60) trib_aggregator_finish(run->aggregator, s->now_ms, "fuzzed");
    if (b == 61) trib_aggregator_malformed(run->aggregator, s->now_ms, 1, NULL, "three frames");
    if (b == 62) trib_aggregator_evaluated(run->aggregator, s->now_ms, s->state->version, 1.0f, 0.5f, 10, 10);
    subject_collect(s);
    if (!edge || b < 100) return;
    struct trib_record record = {.kind = TRIB_REC_PARENT};
    if (b < 200) {
        trib_rec_set(&record, MODEL_KIND, model_kind, TRIB_MODEL_SEED);
        trib_rec_set(&record, VERSION, version, s->state->parent_version + 1);
        trib_rec_set(&record, SEED, seed, b);
    } else {
        record.kind = b < 240 ? TRIB_REC_VOID : TRIB_REC_INCARNATION;
        trib_rec_set(&record, INCARNATION, incarnation, s->state->incarnation + 1);
    }
    subject_record(s, &record);
}

static void step(struct run *run) {
    uint8_t op = feed_byte(&run->feed);
    trib_child_route route = op / 16 % CHILDREN;
    switch (op % 16) {
    case 0: hello(run, route); break;
    case 1:
    case 2: pull(run, route); break;
    case 3:
    case 4:
    case 5: push(run, route); break;
    case 6:
    case 7: offer(run, route); break;
    case 8:
    case 9:
    case 10: chunk(run, route); break;
    case 11: credit(run, route); break;
    case 12: small(run, route); break;
    case 13: noise(run, route); break;
    case 14: node_event(run); break;
    default: run->subject.now_ms += (uint64_t)feed_byte(&run->feed) * feed_byte(&run->feed) * 4; break;
    }
    subject_collect(&run->subject);
    (void)trib_aggregator_poll(run->aggregator, run->subject.now_ms);
    subject_collect(&run->subject);
    struct trib_aggregator_status status = trib_aggregator_status(run->aggregator);
    TRIB_ASSERT(status.in_flight_bytes <= BUDGET || status.in_flight_bytes <= FUZZ_N * 8);
    TRIB_ASSERT(status.sessions <= MAX_PEERS && status.active <= status.sessions);
    TRIB_ASSERT(run->subject.state->peer_count <= MAX_PEERS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct run *run = trib_alloc(sizeof *run);
    TRIB_ASSERT(run != NULL);
    run->feed = (struct feed){data, bytes};
    size_t plan = feed_byte(&run->feed) % PLANS;
    subject_open(&run->subject, plan < FIRST_EDGE ? TRIB_ROLE_CLOUD : TRIB_ROLE_EDGE);
    run->subject.on_sent = on_sent;
    run->subject.on_other = on_other;
    run->subject.ctx = run;
    begin(run, plan);
    struct trib_aggregator_options options = {
        .seed = 3, .max_peers = MAX_PEERS, .budget_bytes = BUDGET, .window_bytes = WINDOW};
    enum trib_status status =
        trib_aggregator_new(&options, run->subject.state, &run->subject.outbox, &run->aggregator, NULL);
    TRIB_ASSERT(status == TRIB_OK);
    for (int i = 0; i < FUZZ_OPS && run->feed.left > 0; i++) step(run);
    subject_replay(&run->subject);
    trib_aggregator_free(&run->aggregator);
    subject_close(&run->subject);
    for (size_t i = 0; i < CHILDREN; i++) trib_blob_unref(&run->children[i].offered);
    trib_free(run);
    return 0;
}
