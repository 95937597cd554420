/* The simulator: a whole federation in one process under a virtual clock, by the roles that ship (aggregator,
 * participant), with their real messages and records. No sockets, no sleeping: the time it takes is that of
 * the training and of the events. Training and evaluation are real too, on threads of a pool.
 *
 * Everything happens in the order of the virtual time, and at one time in the order in which it was begun, so
 * that a scenario and a seed give one history, with one digest, for any number of threads. What the cloud
 * records goes into an ordinary store with its ledger; virtual time begins at 2000-01-01 there. */
#ifndef TRIB_SIM_SIM_H
#define TRIB_SIM_SIM_H

#include "shared/base/log.h"
#include "shared/model/schema.h"
#include "shared/sim/scenario.h"

enum { TRIB_SIM_HOPS_MAX = TRIB_SIM_LEVELS_MAX + 1, TRIB_SIM_OUT_BYTES = 512 };
#define TRIB_SIM_EPOCH_MS UINT64_C(946684800000) /* 2000-01-01T00:00:00Z */

struct trib_sim;

struct trib_sim_options {
    const struct trib_scenario *scenario; /* finished; borrowed for the simulation's life */
    uint64_t seed;
    const char *out;            /* folder of the result; "": run/sim/NAME-seedN */
    bool resume;                /* go on from where one that was interrupted there came to, if there is one */
    const struct trib_log *log; /* of the roles' events; borrowed; NULL: none */
};

/* Opens data and model, makes the tree and begins the run. The folder of an older simulation is cleared;
 * TRIB_INVALID where something else is in it. To be resumed, the older one must have been the same: build,
 * kernels, data, traces, and scenario but for threads, out and resume.limit; TRIB_INVALID says what differs,
 * and nothing is cleared.
 *
 * A resumed simulation begins at the beginning too, and its history is that of one that was never
 * interrupted; but it takes what was trained and evaluated from the folder, and so comes soon to where the
 * other one was. */
enum trib_status trib_sim_new(const struct trib_sim_options *options, struct trib_sim **out,
                              struct trib_error *err) TRIB_MUST_USE;
void trib_sim_free(struct trib_sim **sim); /* NULL is fine */

/* Goes on until it is over, or for about `ms` of real time (0: until it is over). */
enum trib_status trib_sim_run(struct trib_sim *sim, uint64_t ms, bool *over,
                              struct trib_error *err) TRIB_MUST_USE;
/* Once it is over, or is left: everything is written that there is. TRIB_INVALID: the run diverged, and that
 * is how it ended. It has when the cloud's model is not finite any more, and when trainings fail (loss or
 * update not finite) and no other one comes between: 10 for each device that takes part, but at least 100,
 * and at most 1000. */
enum trib_status trib_sim_close(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;

/* The result in its folder is whole now: trib_sim_ended finds it. After trib_sim_close returned TRIB_OK, and
 * when all else was written that belongs to it. */
enum trib_status trib_sim_seal(const struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
/* Is there the whole result of this simulation already? `folder` is where, "" if not. TRIB_INVALID: one of
 * another simulation is there, in the sense of trib_sim_new; the error says what differs. */
enum trib_status trib_sim_ended(const struct trib_sim_options *options, char folder[TRIB_SIM_OUT_BYTES],
                                struct trib_error *err) TRIB_MUST_USE;

/* A hop: the connections between nodes of one depth and their parents. */
struct trib_sim_hop {
    uint64_t up_messages, up_bytes, down_messages, down_bytes; /* as sent, ZMTP's headers included */
};

/* Updates as their receivers judged them. */
struct trib_sim_judged {
    uint64_t accepted, refused, staleness_max;
    double staleness_sum; /* of the accepted ones */
};

struct trib_sim_status {
    uint64_t virtual_ms; /* since the run began */
    uint64_t events;     /* handled */
    uint64_t version, commits;
    uint64_t trained, dropped;       /* updates that devices made; that of these were not delivered */
    uint64_t failed;                 /* trainings that came to nothing: they diverged */
    uint64_t present, left;          /* devices that are there; how often one left */
    struct trib_sim_judged updates;  /* of devices */
    struct trib_sim_judged forwards; /* of edges */
    bool evaluated;
    uint64_t evaluated_version, evaluations;
    double accuracy, loss, best_accuracy; /* of the newest one evaluated; the best of all */
    size_t hop_count;                     /* the first one is the cloud's, the last one the devices' */
    struct trib_sim_hop hops[TRIB_SIM_HOPS_MAX];
    bool resumed;              /* there was something to resume */
    bool catching_up;          /* it has not come to where it was yet */
    bool keeps, keeps_no_more; /* what is trained is kept for resuming; resume.limit was reached */
    uint64_t kept;             /* so many trainings */
    const char *reason; /* why it is over: "accuracy", "versions", "time", "updates", "events", "diverged",
                           "nothing happens any more"; else "" */
    const char *out;
};
struct trib_sim_status trib_sim_status(const struct trib_sim *sim);
/* Over the states of cloud and edges: two simulations that went the same way have the same one. */
enum trib_status trib_sim_digest(const struct trib_sim *sim, uint8_t out[TRIB_DIGEST_BYTES],
                                 struct trib_error *err) TRIB_MUST_USE;
/* Of the cloud's model, as in the ledger. */
const uint8_t *trib_sim_model_digest(const struct trib_sim *sim);

#endif
