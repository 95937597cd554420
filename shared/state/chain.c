#include "shared/state/chain.h"

#include "shared/base/bytes.h"
#include "shared/base/number.h"
#include "shared/model/digest.h"

#include <inttypes.h>
#include <string.h>

/* ---- lines ---- */

struct lines {
    struct trib_buf text;
    const struct trib_record *record;
};

/* The ledger's integers are signed. */
static void put_int(struct lines *l, uint64_t value) {
    trib_buf_printf(&l->text, "%" PRIu64 "\n", value > INT64_MAX ? (uint64_t)INT64_MAX : value);
}

static void put_hex64(struct lines *l, uint64_t value) {
    trib_buf_printf(&l->text, "%016" PRIx64 "\n", value);
}

static void put_float(struct lines *l, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    trib_buf_printf(&l->text, "%08" PRIx32 "\n", bits);
}

static void put_text(struct lines *l, struct trib_text text) {
    trib_buf_append(&l->text, text.data != NULL ? text.data : "", text.size);
    trib_buf_append(&l->text, "\n", 1);
}

static void put_digest(struct lines *l, const uint8_t *digest) {
    char hex[2 * TRIB_DIGEST_BYTES + 1];
    trib_buf_printf(&l->text, "%s\n", trib_digest_hex(digest, hex));
}

#define PUT(l, put, KEY, field)                                                                              \
    (trib_rec_has((l)->record, KEY) ? put((l), (l)->record->field) : trib_buf_append(&(l)->text, "\n", 1))

static void begin(struct lines *l, const struct trib_record *record) {
    trib_buf_init(&l->text, 0);
    l->record = record;
}

/* `digest` = H(previous || lines). */
static bool end(struct lines *l, const uint8_t previous[TRIB_DIGEST_BYTES],
                uint8_t digest[TRIB_DIGEST_BYTES]) {
    bool done = !l->text.failed;
    if (done) trib_digest_chain(previous, l->text.data, l->text.size, digest);
    trib_buf_release(&l->text);
    return done;
}

/* ---- a run ---- */

static void put_run(struct lines *l, const uint8_t run[16]) {
    char hex[33];
    trib_buf_printf(&l->text, "%s\n", trib_hex(run, 16, hex));
}

bool trib_chain_run(struct trib_chain *chain, const struct trib_record *start) {
    chain->format = trib_rec_has(start, LEDGER_FORMAT) ? start->ledger_format : 1;
    chain->verdicts = 0;
    memset(chain->verdict, 0, sizeof chain->verdict);
    memset(chain->publish, 0, sizeof chain->publish);
    if (chain->format < 2) return true;
    struct lines l;
    begin(&l, start);
    put_run(&l, start->run);
    PUT(&l, put_text, TEXT, text);
    PUT(&l, put_hex64, SEED, seed);
    PUT(&l, put_text, PLAN, plan);
    PUT(&l, put_text, SCHEMA, schema);
    return end(&l, chain->ledger, chain->ledger);
}

/* ---- verdicts ---- */

static void put_origins(struct lines *l) {
    const struct trib_u64s *h = &l->record->histogram;
    if (trib_rec_has(l->record, HISTOGRAM)) {
        trib_buf_append(&l->text, "[", 1);
        for (size_t i = 0; i + 1 < h->count; i += 2)
            trib_buf_printf(&l->text, "%s[%" PRIu64 ",%" PRIu64 "]", i == 0 ? "" : ",", h->items[i],
                            h->items[i + 1]);
        trib_buf_append(&l->text, "]", 1);
    }
    trib_buf_append(&l->text, "\n", 1);
}

static void put_hops(struct lines *l) {
    const struct trib_u64s *h = &l->record->hops;
    for (size_t i = 0; i < h->count; i++) {
        bool first = i % TRIB_HOP_NUMBERS == 0, last = (i + 1) % TRIB_HOP_NUMBERS == 0;
        trib_buf_printf(&l->text, "%s%" PRIu64 "%s",
                        i == 0  ? "[["
                        : first ? "["
                                : "",
                        h->items[i],
                        i + 1 == h->count ? "]]\n"
                        : last            ? "],"
                                          : ",");
    }
}

bool trib_chain_verdict(struct trib_chain *chain, const struct trib_record *r) {
    chain->verdicts++;
    if (chain->format < 2) return true;
    struct lines l;
    begin(&l, r);
    put_int(&l, r->now_ms);
    put_text(&l, r->peer);
    put_hex64(&l, r->incarnation);
    put_int(&l, r->number);
    PUT(&l, put_int, BASE, base_version);
    PUT(&l, put_int, STALENESS, staleness);
    put_origins(&l);
    PUT(&l, put_float, FACTOR, factor);
    PUT(&l, put_float, APPLIED, applied);
    PUT(&l, put_float, NORM_ADD, norm_add);
    PUT(&l, put_int, WEIGHT, weight);
    PUT(&l, put_int, REGION, region);
    PUT(&l, put_int, SAMPLES, samples);
    PUT(&l, put_float, STEPS, steps);
    PUT(&l, put_float, LOSS, loss);
    PUT(&l, put_float, UPDATE_NORM, update_norm);
    PUT(&l, put_float, COSINE, cosine);
    PUT(&l, put_text, CODEC, codec);
    PUT(&l, put_int, WIRE_BYTES, wire_bytes);
    PUT(&l, put_int, RAW_BYTES, raw_bytes);
    PUT(&l, put_int, PAYLOAD_CRC, payload_crc);
    trib_buf_printf(&l.text, "%s\n", trib_verdict_name(r->verdict));
    bool reason = trib_rec_has(r, REASON) && r->reason != TRIB_REASON_NONE;
    trib_buf_printf(&l.text, "%s\n", reason ? trib_reason_name(r->reason) : "");
    PUT(&l, put_int, BELOW_UPDATES, below_updates);
    PUT(&l, put_int, BELOW_UP, below_up_bytes);
    PUT(&l, put_int, BELOW_DOWN, below_down_bytes);
    PUT(&l, put_int, BELOW_RAW, below_raw_bytes);
    if (chain->format >= 3) {
        PUT(&l, put_float, EFFECT, effect);
        PUT(&l, put_float, DIVERGENCE, divergence);
        if (trib_rec_has(r, HOPS)) put_hops(&l); /* below edges of edges alone */
    }
    return end(&l, chain->verdict, chain->verdict);
}

bool trib_chain_publish(struct trib_chain *chain, const struct trib_record *r, size_t increment_bytes) {
    if (chain->format < 2) return true;
    static const uint8_t nothing[TRIB_DIGEST_BYTES];
    struct lines l;
    begin(&l, r);
    put_int(&l, r->version);
    put_int(&l, r->now_ms);
    PUT(&l, put_int, FROM, from_version);
    PUT(&l, put_digest, DIGEST, digest);
    PUT(&l, put_digest, CHAIN, chain);
    put_int(&l, increment_bytes);
    if (trib_rec_has(r, TEXT)) { /* under auto(...) alone: which codec was chosen, and why */
        PUT(&l, put_text, CODEC, codec);
        PUT(&l, put_text, TEXT, text);
    }
    return end(&l, nothing, chain->publish);
}

/* ---- versions ---- */

void trib_chain_member(const struct trib_chain *chain, struct trib_buf *members, const char *identity,
                       uint64_t incarnation, uint64_t number, float applied) {
    if (chain->format >= 2) {
        if (number > INT64_MAX) number = INT64_MAX;
        trib_buf_printf(members, "%s\n%016" PRIx64 "\n%" PRIu64 "\n", identity, incarnation, number);
        return;
    }
    uint8_t numbers[20];
    trib_put_u64(numbers, incarnation);
    trib_put_u64(numbers + 8, number);
    trib_put_f32(numbers + 16, applied);
    trib_buf_append(members, identity, strlen(identity) + 1);
    trib_buf_append(members, numbers, sizeof numbers);
}

bool trib_chain_version(struct trib_chain *chain, const struct trib_record *r,
                        const struct trib_buf *members) {
    struct lines l;
    begin(&l, r);
    if (chain->format < 2) {
        trib_buf_append(&l.text, members->data, members->size);
        trib_buf_append(&l.text, r->digest, sizeof r->digest);
        return !members->failed && end(&l, chain->ledger, chain->ledger);
    }
    trib_buf_printf(&l.text, "%s\n", trib_record_name(r->kind));
    put_int(&l, r->version);
    PUT(&l, put_int, FROM, from_version);
    put_int(&l, r->now_ms);
    PUT(&l, put_text, RULE, rule);
    PUT(&l, put_int, COMMITS, commits);
    PUT(&l, put_int, CONTRIBUTIONS, contributions);
    PUT(&l, put_float, SCALE, scale);
    put_digest(&l, r->digest);
    PUT(&l, put_int, DOWN_BYTES, down_bytes);
    PUT(&l, put_int, UP_BYTES, up_bytes);
    put_int(&l, chain->verdicts);
    put_digest(&l, chain->verdict);
    put_digest(&l, chain->publish);
    trib_buf_append(&l.text, members->data, members->size);
    memset(chain->verdict, 0, sizeof chain->verdict);
    memset(chain->publish, 0, sizeof chain->publish);
    bool done = end(&l, chain->ledger, chain->ledger);
    return done && !members->failed;
}
