/* What a node must be, by the rules alone: which updates are in which part of it, followed through its
 * durable records. It shares no code with shared/state: where the two differ, one of them is wrong. */
#ifndef TRIBUTARY_TESTS_SHADOW_H
#define TRIBUTARY_TESTS_SHADOW_H

#include "shared/state/state.h"

#include <stdbool.h>

/* A set of updates, each the number that the observer gave it. */
struct ids {
    size_t count, capacity;
    uint32_t *at;
};
void ids_add(struct ids *ids, uint32_t id);
void ids_append(struct ids *ids, const struct ids *more);
void ids_copy(struct ids *to, const struct ids *from);
void ids_release(struct ids *ids);

/* What a participant pushes under a number. Never changes. */
struct parcel {
    size_t node;
    uint64_t incarnation, number, samples;
    uint32_t crc;
    struct ids ids;
    double *sum; /* of the updates in it, as weighted; NULL where values are not followed */
};

enum fate { FATE_REFUSED, FATE_PENDING, FATE_COMMITTED, FATE_VOID };

struct judged {
    uint64_t incarnation, number, run;
    uint32_t crc;
    uint8_t verdict;
    enum fate fate;
    size_t parcel;
    double applied;
    uint64_t version; /* FATE_COMMITTED: the version it went into; FATE_VOID: that which voided it */
};

struct shadow_child {
    bool known; /* it was admitted once */
    uint64_t incarnation, last;
    size_t count, capacity;
    struct judged *judged; /* of all incarnations */
};

struct shadow_held {
    size_t parcel;
    bool acknowledged;
};

struct shadow_base {
    uint64_t version;
    uint8_t chain[TRIB_DIGEST_BYTES];
};

/* A version of the cloud, to which a rollback may go back. */
struct shadow_version {
    uint64_t version;
    double *sum;
};

struct shadow {
    size_t parameters;
    uint64_t position, run, version, incarnation, parent_incarnation, next_number, parent_version, fence;
    bool started, has_model, immediate;
    struct ids own; /* edge: U; cloud: in the model */
    uint64_t own_updates, own_samples;
    double *sum; /* of `own` */
    size_t held_count;
    struct shadow_held held[TRIB_HELD_MAX + 1];
    struct ids voided;
    struct ids refused; /* parcels; void, wherever their makers still have them */
    struct ids
        dropped; /* parcels that were held and are void; counts as void what their parent did not accept */
    size_t child_count;
    struct shadow_child *children; /* by node */
    size_t pending_count, pending_capacity;
    struct {
        size_t child, judged;
    } * pending;
    size_t version_count, version_capacity;
    struct shadow_version *versions;
    size_t base_count, base_capacity;
    struct shadow_base *bases;
    size_t seen_bytes;
    uint8_t *seen; /* by id: accepted here before */
};

void shadow_init(struct shadow *shadow, size_t children, size_t parameters);
void shadow_release(struct shadow *shadow);
void shadow_copy(struct shadow *to, const struct shadow *from);

/* What shadows are told of the rest of the world. */
struct shadow_world {
    void *ctx;
    /* The node (or stranger) of that name. */
    size_t (*find)(void *ctx, const struct trib_text *name);
    /* The parcel that a verdict is about, SIZE_MAX if nobody made it. */
    size_t (*parcel)(void *ctx, size_t child, const struct trib_record *record);
    /* A new one; `made` is taken over. */
    size_t (*make)(void *ctx, struct parcel *made);
    /* A device's update gets its number. */
    uint32_t (*update)(void *ctx, size_t node, const struct trib_record *record);
    struct parcel *(*get)(void *ctx, size_t parcel);
    void (*violate)(void *ctx, const char *what, uint64_t number);
    /* The highest number that had to be here before this one could be judged, as far as is known. */
    uint64_t (*after)(void *ctx, size_t child, const struct trib_record *record);
    void (*accepted)(void *ctx, const struct parcel *parcel);
    void (*rolled_back)(void *ctx);
};

/* One durable record of the node. */
void shadow_apply(struct shadow *shadow, const struct shadow_world *world, size_t node, enum trib_role role,
                  const struct trib_record *record);
const struct judged *shadow_judged(const struct shadow *shadow, size_t child, uint64_t incarnation,
                                   uint64_t number);
/* Was this version published here, with this chain digest? */
bool shadow_published(const struct shadow *shadow, uint64_t version, const uint8_t chain[TRIB_DIGEST_BYTES]);
/* Compares with the state that the same records have made; NULL: they agree. */
const char *shadow_differs(const struct shadow *shadow, const struct trib_state *state, enum trib_role role,
                           const struct shadow_world *world, double tolerance);

#endif
