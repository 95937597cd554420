/* A small federation's records, written through a store into a ledger. */
#ifndef TESTS_SUPPORT_LEDGER_KIT_H
#define TESTS_SUPPORT_LEDGER_KIT_H

#include "shared/ledger/ledger.h"
#include "tests/support/store_kit.h"

struct ledger_kit {
    struct kit kit;
    struct trib_ledger *ledger;
    struct trib_store *store;
    uint64_t now_ms;
};

/* An open store under `role` in a folder of its own, with nothing in it. */
void ledger_kit_init(struct ledger_kit *k, const char *role);
void ledger_kit_reopen(struct ledger_kit *k);
void ledger_kit_release(struct ledger_kit *k);
/* Gives the record its position and time (10 ms after the one before) and writes it; takes its payload. */
void ledger_kit_put(struct ledger_kit *k, struct trib_record record);

struct trib_text kit_text(const char *text);
struct trib_record kit_start(uint8_t run); /* a run whose name is this byte, 16 times */
struct trib_record kit_peer(const char *name, uint64_t incarnation, uint64_t kind);
/* An update with a histogram {base, samples}, 1,000 bytes on the wire, 4,000 in f32. reason 0: accepted. */
struct trib_record kit_verdict(const char *name, uint64_t number, uint64_t base, uint64_t staleness,
                               uint64_t reason);
struct trib_record kit_commit(uint64_t version, uint64_t contributions);
struct trib_record kit_evaluation(uint64_t version, float accuracy);
struct trib_record kit_stop(const char *why);

/* A whole run at a cloud with two edges: `versions` commits of two updates each, with staleness 0 and
 * version % 4, one refusal, one void update, events, evaluations, a stop. */
void ledger_kit_cloud_run(struct ledger_kit *k, uint8_t run, uint64_t versions);

#endif
