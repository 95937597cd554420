/* One tortured federation, and what its parts share. A federation's whole history follows from its number:
 * what it is made of (draw.c), what happens to it (faults.c, mallory.c), and what is looked at after every
 * step (observer.c). */
#ifndef TRIBUTARY_TESTS_TORTURE_H
#define TRIBUTARY_TESTS_TORTURE_H

#include "tests/support/federation.h"

#include "shared/base/rng.h"

enum { NODES_MAX = 16, STRANGERS = 2, PLAN_TEXT = 1024, SCHEMA_TEXT = 64 };

/* ---- draw.c: what a federation is made of ---- */

struct drawn {
    size_t edges, devices, nodes;
    size_t parents[NODES_MAX];
    bool spool[NODES_MAX]; /* this device keeps its state over restarts */
    char plan[PLAN_TEXT], schema[SCHEMA_TEXT];
    size_t parameters;
    bool f32;     /* nothing is lost on the way: a model is the sum of the updates in it */
    bool exact;   /* ... to the bit, because the rules only add and halve */
    bool linear;  /* no rule mixes */
    bool settled; /* nothing is refused or void unless something goes wrong: asynchronous rules, no cap */
    size_t budget_bytes, frame_bytes;
    uint64_t latency_ms, jitter_ms, commit_ms, train_ms;
    uint64_t faulty_ms;   /* how long things go wrong */
    uint64_t calamity_ms; /* mean time between two faults */
    unsigned weight[16];  /* of each fault, enum fault */
    double lose, repeat, late;
};

enum fault {
    FAULT_CRASH,
    FAULT_CUT,     /* a link */
    FAULT_WEATHER, /* a link's latency and losses */
    FAULT_WIPE,    /* a device comes back with nothing */
    FAULT_ROAM,    /* a device goes to another parent */
    FAULT_LOST_DISK,
    FAULT_BACKUP,
    FAULT_RESTORE,
    FAULT_IO,   /* the next operations on a disk fail */
    FAULT_FULL, /* a disk is full for a while */
    FAULT_STRANGER,
    FAULT_ROLLBACK,
    FAULT_KINDS
};

void draw_federation(uint64_t number, struct drawn *out);

/* ---- one federation ---- */

struct observer;
struct disks;
struct strangers;

struct torture {
    uint64_t number;
    struct drawn drawn;
    struct trib_rng rng;
    struct federation *fed;
    struct observer *observer;
    struct disks *disks;
    struct strangers *strangers;
    bool calm;    /* no more faults */
    bool resting; /* devices do not train */
    bool logs;
    uint64_t crashes, returns_ms[NODES_MAX];
    uint64_t disasters, rollbacks; /* so far */
    bool violated;
    char violation[400];
};

struct outcome {
    uint64_t events, crashes;
    bool violated;
    char violation[400];
};

/* Runs federation `number` to its end or its first violation. */
void torture_one(uint64_t number, bool logs, struct outcome *out);

/* The first one counts. */
void violate(struct torture *t, const char *fmt, ...) TRIB_PRINTF(2, 3);
/* A line of the history. */
void tell(struct torture *t, const char *fmt, ...) TRIB_PRINTF(2, 3);

static inline size_t pick(struct trib_rng *rng, size_t bound) {
    return (size_t)trib_rng_below(rng, bound);
}
static inline bool chance(struct trib_rng *rng, double p) {
    return trib_rng_unit(rng) < p;
}

/* ---- faults.c ---- */
void faults_begin(struct torture *t);
void faults_alarm(struct torture *t, uint64_t what);
/* A node's disk refused: the node is down for a moment. */
void faults_failed(struct torture *t, size_t node);
/* Everything is mended, and who is down comes back. */
void faults_end(struct torture *t);

/* ---- disks ---- */
struct disks *disks_new(struct torture *t);
void disks_free(struct disks **disks);
struct federation_disk disks_interface(struct disks *disks);
void disk_wipe(struct disks *disks, size_t node);
void disk_backup(struct disks *disks, size_t node);
bool disk_has_backup(const struct disks *disks, size_t node);
void disk_restore(struct disks *disks, size_t node);
/* The power fails in the middle of what the disk is doing next: at its n-th operation from now. */
void disk_fail_at(struct disks *disks, size_t node, uint64_t operations);
void disk_fill(struct disks *disks, size_t node, bool full);
/* The node has died; the machine too, if `power`: what was not synced may be lost. */
void disk_died(struct disks *disks, size_t node, bool power);
void disk_mend(struct disks *disks, size_t node);

/* ---- mallory.c ---- */
struct strangers *strangers_new(struct torture *t);
void strangers_free(struct strangers **strangers);
void stranger_acts(struct torture *t);
/* A message to a stranger, and one of anybody's that strangers may say again. */
void stranger_hears(struct torture *t, size_t stranger, size_t from, const struct trib_action *action);
/* The lowest `after` that a stranger has said with this number. */
uint64_t stranger_said_after(const struct torture *t, size_t stranger, uint64_t number);
void stranger_overhears(struct torture *t, size_t from, size_t to, const struct trib_action *action);

#endif
