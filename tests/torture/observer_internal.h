/* What the files of the observer share; nobody else includes this. */
#ifndef TRIBUTARY_TESTS_OBSERVER_INTERNAL_H
#define TRIBUTARY_TESTS_OBSERVER_INTERNAL_H

#include "tests/torture/observer.h"
#include "tests/torture/shadow.h"

struct update {
    size_t node;
    bool accepted;     /* somebody has, durably: it must be somewhere from now on */
    bool lost_is_fine; /* a disk that was lost was the last to hold it */
    bool two_is_fine;  /* an old disk came back with it */
    bool abandoned;    /* was below the cloud when it was rolled back: must not come up any more */
};

struct session { /* as a parent has told a child */
    uint64_t number, incarnation, lineage;
    size_t parent, child;
};

struct watched {
    struct shadow shadow, backup;
    bool has_backup, digest_known;
    uint64_t lineage;  /* disks it has had */
    uint64_t compared; /* position */
    uint64_t digest_position, model_version;
    uint8_t digest[TRIB_DIGEST_BYTES], model_chain[TRIB_DIGEST_BYTES];
};

enum { MODELS = 6 };

struct observer {
    struct torture *t;
    struct shadow_world world;
    size_t nodes;
    struct watched *watched;
    size_t parcel_count, parcel_capacity;
    struct parcel *parcels;
    size_t update_count, update_capacity;
    struct update *updates;
    size_t session_count, session_capacity;
    struct session *sessions;
    size_t place_capacity;
    uint8_t *there, *live;
    size_t now; /* the node whose records are applied */
    struct {
        uint64_t version, lineage;
        struct trib_blob *parameters;
    } models[MODELS];   /* of the cloud, durable */
    size_t model_count; /* ever */
};

void *observer_grown(void *items, size_t *capacity, size_t count, size_t item_bytes);

/* said.c: as the parent has told the child, or NULL */
const struct session *observer_session(const struct observer *o, size_t parent, size_t child,
                                       uint64_t number);

#endif
