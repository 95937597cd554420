#include "tests/support/ledger_kit.h"

#include <string.h>

void ledger_kit_reopen(struct ledger_kit *k) {
    struct trib_error err = {0};
    trib_store_close(&k->store);
    struct trib_store_options options = {.path = k->kit.path,
                                         .durability = TRIB_DURABLE_NONE,
                                         .projection = trib_ledger_projection(k->ledger)};
    TRIB_ASSERT(trib_store_open(&options, &k->store, &err) == TRIB_OK);
}

void ledger_kit_init(struct ledger_kit *k, const char *role) {
    *k = (struct ledger_kit){.now_ms = 1700000000000};
    struct trib_error err = {0};
    struct trib_ledger_options options = {
        .role = role, .node = "north", .build = "1.2.3", .environment = "kernels=avx2"};
    kit_init(&k->kit);
    TRIB_ASSERT(trib_ledger_new(&options, &k->ledger, &err) == TRIB_OK);
    ledger_kit_reopen(k);
}

void ledger_kit_release(struct ledger_kit *k) {
    trib_store_close(&k->store);
    trib_ledger_free(&k->ledger);
    kit_release(&k->kit);
}

void ledger_kit_put(struct ledger_kit *k, struct trib_record record) {
    struct trib_error err = {0};
    k->now_ms += 10;
    record.position = trib_store_position(k->store) + 1;
    trib_rec_set(&record, NOW, now_ms, k->now_ms);
    TRIB_ASSERT(trib_store_write(k->store, &record, 1, &err) == TRIB_OK);
    trib_blob_unref(&record.payload);
}

struct trib_text kit_text(const char *text) {
    return (struct trib_text){text, strlen(text)};
}

struct trib_record kit_start(uint8_t run) {
    struct trib_record r = {.kind = TRIB_REC_START};
    memset(r.run, run, sizeof r.run);
    r.present |= (uint64_t)1 << TRIB_R_RUN;
    trib_rec_set(&r, INCARNATION, incarnation, 0xABCDEF);
    trib_rec_set(&r, PLAN, plan, kit_text("model: 2nn\n"));
    trib_rec_set(&r, SCHEMA, schema, kit_text("w 10\n"));
    trib_rec_set(&r, SEED, seed, 7);
    trib_rec_set(&r, TEXT, text, kit_text(run == 0x33 ? "spring" : ""));
    return r;
}

struct trib_record kit_peer(const char *name, uint64_t incarnation, uint64_t kind) {
    struct trib_record r = {.kind = TRIB_REC_PEER};
    trib_rec_set(&r, PEER, peer, kit_text(name));
    trib_rec_set(&r, INCARNATION, incarnation, incarnation);
    trib_rec_set(&r, KIND_OF_PEER, kind_of_peer, kind);
    return r;
}

struct trib_record kit_verdict(const char *name, uint64_t number, uint64_t base, uint64_t staleness,
                               uint64_t reason) {
    struct trib_record r = {.kind = TRIB_REC_VERDICT};
    trib_rec_set(&r, PEER, peer, kit_text(name));
    trib_rec_set(&r, INCARNATION, incarnation, 5);
    trib_rec_set(&r, NUMBER, number, number);
    trib_rec_set(&r, VERDICT, verdict, reason == 0 ? TRIB_ACCEPTED : TRIB_REFUSED);
    trib_rec_set(&r, REASON, reason, reason);
    trib_rec_set(&r, BASE, base_version, base);
    trib_rec_set(&r, STALENESS, staleness, staleness);
    trib_rec_set(&r, FACTOR, factor, 0.5f);
    trib_rec_set(&r, APPLIED, applied, 0.25f);
    trib_rec_set(&r, SAMPLES, samples, 600);
    trib_rec_set(&r, WEIGHT, weight, 500);
    trib_rec_set(&r, REGION, region, 900);
    trib_rec_set(&r, LOSS, loss, 0.75f);
    trib_rec_set(&r, UPDATE_NORM, update_norm, 2.0f);
    trib_rec_set(&r, COSINE, cosine, -0.5f);
    trib_rec_set(&r, EFFECT, effect, -0.25f);
    trib_rec_set(&r, CODEC, codec, kit_text("int8"));
    trib_rec_set(&r, WIRE_BYTES, wire_bytes, 1000);
    trib_rec_set(&r, RAW_BYTES, raw_bytes, 4000);
    r.histogram = (struct trib_u64s){.count = 2, .items = {base, 600}};
    r.present |= (uint64_t)1 << TRIB_R_HISTOGRAM;
    trib_rec_set(&r, BELOW_UPDATES, below_updates, 3);
    trib_rec_set(&r, BELOW_UP, below_up_bytes, 3100);
    trib_rec_set(&r, BELOW_DOWN, below_down_bytes, 6200);
    trib_rec_set(&r, BELOW_RAW, below_raw_bytes, 12000);
    return r;
}

struct trib_record kit_commit(uint64_t version, uint64_t contributions) {
    struct trib_record r = {.kind = TRIB_REC_COMMIT};
    trib_rec_set(&r, VERSION, version, version);
    trib_rec_set(&r, COMMITS, commits, version);
    trib_rec_set(&r, CONTRIBUTIONS, contributions, contributions);
    trib_rec_set(&r, SCALE, scale, 0.5f);
    trib_rec_set(&r, RULE, rule, kit_text("fedasync"));
    trib_rec_set(&r, UP_BYTES, up_bytes, 2100);
    trib_rec_set(&r, DOWN_BYTES, down_bytes, 5000);
    memset(r.digest, (int)version, sizeof r.digest);
    r.present |= (uint64_t)1 << TRIB_R_DIGEST;
    memset(r.ledger_chain, (int)version + 1, sizeof r.ledger_chain);
    r.present |= (uint64_t)1 << TRIB_R_LEDGER_CHAIN;
    return r;
}

static struct trib_record publish(uint64_t version, size_t bytes) {
    struct trib_record r = {.kind = TRIB_REC_PUBLISH, .payload = trib_blob_new(bytes)};
    trib_rec_set(&r, VERSION, version, version);
    if (version > 0) trib_rec_set(&r, FROM, from_version, version - 1);
    memset(r.chain, 0xC0, sizeof r.chain);
    r.present |= (uint64_t)1 << TRIB_R_CHAIN;
    return r;
}

struct trib_record kit_evaluation(uint64_t version, float accuracy) {
    struct trib_record r = {.kind = TRIB_REC_EVALUATION};
    trib_rec_set(&r, VERSION, version, version);
    trib_rec_set(&r, ACCURACY, accuracy, accuracy);
    trib_rec_set(&r, LOSS, loss, 1.0f - accuracy);
    trib_rec_set(&r, EVAL_SAMPLES, eval_samples, 2000);
    trib_rec_set(&r, DURATION_MS, duration_ms, 12);
    return r;
}

struct trib_record kit_stop(const char *why) {
    struct trib_record r = {.kind = TRIB_REC_STOP};
    trib_rec_set(&r, TEXT, text, kit_text(why));
    return r;
}

static struct trib_record event(const char *id, const char *text) {
    struct trib_record r = {.kind = TRIB_REC_EVENT};
    trib_rec_set(&r, LEVEL, level, 2);
    trib_rec_set(&r, EVENT, event, kit_text(id));
    trib_rec_set(&r, TEXT, text, kit_text(text));
    return r;
}

void ledger_kit_cloud_run(struct ledger_kit *k, uint8_t run, uint64_t versions) {
    ledger_kit_put(k, kit_start(run));
    ledger_kit_put(k, publish(0, 0));
    ledger_kit_put(k, kit_peer("east", 5, TRIB_CHILD_EDGE));
    ledger_kit_put(k, kit_peer("west", 4, TRIB_CHILD_EDGE));
    ledger_kit_put(k, kit_peer("west", 5, TRIB_CHILD_EDGE)); /* came back anew */
    for (uint64_t v = 1; v <= versions; v++) {
        ledger_kit_put(k, kit_verdict("east", v, v - 1, 0, 0));
        ledger_kit_put(k, kit_verdict("west", v, v - 1 - (v - 1) % 4, (v - 1) % 4, 0));
        ledger_kit_put(k, kit_commit(v, 2));
        ledger_kit_put(k, publish(v, 777));
        ledger_kit_put(k, kit_evaluation(v, 1.0f - 0.5f / (float)v));
    }
    ledger_kit_put(k, kit_verdict("west", versions + 1, 0, versions, TRIB_REASON_STALE));
    ledger_kit_put(k, kit_verdict("east", versions + 1, versions, 0, 0));
    struct trib_record voided = {.kind = TRIB_REC_VOID};
    trib_rec_set(&voided, TEXT, text, kit_text("rollback"));
    ledger_kit_put(k, voided);
    ledger_kit_put(k, event("push_refused", "peer=west reason=stale"));
    ledger_kit_put(k, kit_stop("accuracy"));
}
