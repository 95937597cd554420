/* A whole federation in one process under a virtual clock: the shipped roles, real messages, no sockets, no
 * sleeping. Deterministic: one seed, one history. Messages may be lost, doubled and delayed; nodes may crash
 * and come back from what they had committed. */
#ifndef TRIBUTARY_TESTS_FEDERATION_H
#define TRIBUTARY_TESTS_FEDERATION_H

#include "shared/aggregator/aggregator.h"
#include "shared/participant/participant.h"

struct federation;

struct federation_options {
    uint64_t seed;
    const char *plan;   /* "name: value" lines */
    const char *schema; /* its text */
    size_t edges;       /* 0: devices connect to the cloud */
    size_t devices;
    uint64_t latency_ms, jitter_ms;                /* of a message */
    uint64_t commit_ms;                            /* of a journal write */
    double lose, repeat;                           /* chances of a message */
    size_t budget_bytes, chunk_bytes, frame_bytes; /* 0: the roles' own */
    bool keep_journal;                             /* records are kept, so that a node can crash */
    /* The trainer: from G to `difference` (both `n` floats). Returns the virtual duration; fills the rest in.
     */
    uint64_t (*train)(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission);
    void *train_ctx;
};

enum { FED_CLOUD = 0 }; /* nodes: 0 is the cloud, then the edges, then the devices */

struct federation *federation_new(const struct federation_options *options);
void federation_free(struct federation **fed);
/* Runs until the virtual time, or until `done` says so; returns the time reached. */
uint64_t federation_run(struct federation *fed, uint64_t until_ms,
                        bool (*done)(struct federation *fed, void *ctx), void *ctx);
/* From now on no message is lost or doubled, and devices train no more: everything that is under way arrives.
 */
void federation_calm(struct federation *fed);
size_t federation_node_count(const struct federation *fed);
size_t federation_device(const struct federation *fed, size_t device); /* its node */
size_t federation_parent(const struct federation *fed, size_t node);
const struct trib_state *federation_state(const struct federation *fed, size_t node);
struct trib_aggregator *federation_aggregator(struct federation *fed, size_t node);
uint64_t federation_now(const struct federation *fed);
uint64_t federation_messages(const struct federation *fed);
uint64_t federation_trained(const struct federation *fed, size_t device); /* updates submitted */
uint64_t federation_trained_samples(const struct federation *fed);
/* The node loses everything after its last committed record and starts again. */
void federation_crash(struct federation *fed, size_t node);
/* Cuts (or mends) the connection between a node and its parent. */
void federation_cut(struct federation *fed, size_t node, bool cut);
/* BLAKE2b over every node's state. */
void federation_digest(struct federation *fed, uint8_t out[TRIB_DIGEST_BYTES]);
/* Every invariant that can be read off the states; fails the test otherwise. `where` is printed. */
void federation_check(struct federation *fed, const char *where);
/* Records that a node has journalled. */
size_t federation_journal(const struct federation *fed, size_t node, const struct trib_record *const **out);

#endif
