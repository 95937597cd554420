/* What the files of shared/sim share: sim.c (making it), loop.c (events), link.c (messages on their way),
 * work.c (training), cloud.c (the run, evaluation), journal.c (stores), resume.c (what was trained before).
 * Nobody else includes this. */
#ifndef TRIB_SIM_INTERNAL_H
#define TRIB_SIM_INTERNAL_H

#include "shared/aggregator/aggregator.h"
#include "shared/learn/local.h"
#include "shared/ledger/ledger.h"
#include "shared/participant/participant.h"
#include "shared/sim/attack.h"
#include "shared/sim/delay.h"
#include "shared/sim/kept.h"
#include "shared/sim/pool.h"
#include "shared/sim/queue.h"
#include "shared/sim/sim.h"

enum sim_event {
    SIM_UP,        /* a message from a child; what: struct sim_message */
    SIM_DOWN,      /* ... from a parent */
    SIM_WAKE,      /* a role wants to be asked */
    SIM_JOIN,      /* a node comes to life */
    SIM_CONNECT,   /* it has a connection */
    SIM_LEAVE,     /* its stay ends; what: the number of the stay */
    SIM_TRAINED,   /* what: struct sim_job */
    SIM_EVALUATED, /* what: struct sim_evaluation */
    SIM_TIME_UP    /* plan.stop.time */
};

#define SIM_NEVER UINT64_MAX
enum { SIM_CLOUD = 0 }; /* nodes: 0 is the cloud, then the edges by depth, then the devices */

struct sim_message {
    struct sim_message *next; /* of those that are free */
    trib_child_route route;   /* of the child, on the connection that it belongs to */
    uint8_t *frame;
    size_t frame_bytes;
    struct trib_blob *payload;
};

/* An update under way. */
struct sim_job {
    struct trib_sim_task task; /* first */
    struct trib_sim *sim;
    uint64_t number; /* of all trainings, as they are begun */
    uint32_t node;
    bool kept;                  /* its result was computed before */
    bool forsaken;              /* its device does not want it any more */
    const float *G;             /* the device's; stays as it is while it trains */
    const float *const *memory; /* the same: what it keeps (trib_state.local) */
    uint64_t most_epochs;       /* 0: the plan's */
    uint64_t turn;              /* as device/work.c */
    double sample_ms;           /* what a sample takes; 0: the scenario does not say */
    struct trib_local *local;   /* owned; made by the worker, which leaves the result in it */
    struct trib_submission submission;
    enum trib_status status;
    struct trib_error err;
};

/* A piece of an evaluation: its samples are the same for any number of threads. */
struct sim_piece {
    struct trib_sim_task task; /* first */
    struct sim_evaluation *evaluation;
    size_t from, count, correct;
    double loss_sum;
    enum trib_status status;
    struct trib_error err;
};

/* The gradient of the held-out loss, where the cloud's rule wants it. */
struct sim_gradient {
    struct trib_sim_task task; /* first */
    struct sim_evaluation *evaluation;
    float *values; /* owned; NULL: it is not wanted */
    enum trib_status status;
    struct trib_error err;
};

struct sim_evaluation {
    struct trib_sim *sim;
    struct sim_gradient gradient;
    uint64_t version;
    uint64_t number; /* of all evaluations, as they are begun */
    bool kept;       /* it was computed before */
    float *parameters;
    size_t samples, piece_count;
    struct sim_piece pieces[];
};

struct sim_journal; /* a node's store */

struct sim_honest {
    size_t device, parent; /* nodes' numbers differ: `parent` is one */
    uint64_t version;      /* that it was trained on */
    float *difference;     /* owned */
};

struct sim_attackers {
    struct trib_attack attack;
    size_t count, honest_count;
    struct sim_honest honest[TRIB_ATTACK_HONEST_MAX]; /* newest first */
    /* What attackers who are alike forged last, and of which state of the above. */
    float *forged;              /* owned */
    struct trib_partition *any; /* the data of attack.data: any; owned */
    struct trib_task task;      /* the fleet's, with that in place of its parts */
    uint64_t serial, forged_serial, forged_version;
    size_t forged_parent;
};

struct sim_worker {
    struct trib_workspace *training, *evaluating;
};

struct sim_node {
    struct trib_state *state; /* NULL: not there */
    struct trib_aggregator *aggregator;
    struct trib_participant *participant;
    struct sim_job *job;
    struct sim_journal *journal;     /* NULL: it keeps nothing */
    struct trib_rng rng;             /* of its delays */
    uint64_t wake_us;                /* of the wake that counts */
    uint64_t free_us[2], last_us[2]; /* its link to its parent, down and up: has sent everything; the last
                                        message arrives */
    uint32_t parent, connection;
    uint32_t part;       /* of the data */
    uint32_t unnumbered; /* trainings that became no update */
    float speed;
    float phase; /* of its window, in periods */
    uint8_t role, depth;
    bool attacks;
    bool comes;           /* it was called: it will be there soon */
    bool leaves;          /* after this event */
    uint32_t stay, turns; /* how often it has come; its updates that were judged in this stay */
    /* While it is away: what it would have in its spool. */
    uint64_t incarnation, next_number;
    struct trib_blob *spool; /* NULL: these two are all */
};

struct trib_sim {
    struct trib_sim_options options;
    const struct trib_scenario *scenario;
    char out[TRIB_SIM_OUT_BYTES];
    int folder;            /* of the result, locked; -1: none */
    struct trib_plan plan; /* the scenario's with this seed; its texts are borrowed */
    struct trib_buf plan_text, schema_text;
    struct trib_delay join, speed, delay, sample_delay, stay, away;
    uint64_t now_us, events;
    struct trib_sim_queue queue;
    const char *heap_end; /* that was seen, see trib_alloc_huge_pages */
    struct sim_message *free_messages;
    struct trib_terms_cache *terms;
    struct trib_outbox outbox;     /* of whichever node is at work: it is empty between events */
    size_t at_work;                /* which one that is */
    struct trib_rng rng;           /* of links */
    struct trib_rng turns;         /* of whose turn it is */
    size_t coming;                 /* devices that were called */
    size_t node_count, edge_count; /* edges without the cloud */
    struct sim_node *nodes;
    struct trib_conditions *conditions; /* of each device, by its number; NULL: they tell nothing */
    char *classes;                      /* their texts */
    /* work */
    struct trib_task task;
    bool has_task;
    size_t parameters;
    float *pretended; /* the update at hand, where nothing is trained */
    struct trib_sim_pool *pool;
    struct sim_worker *workers;
    struct trib_shards *shards; /* for commits; NULL: no rule has use for them, or there is one thread */
    struct sim_attackers attackers;
    uint32_t *measured; /* test samples that count in evaluations; NULL: all */
    size_t measured_count;
    unsigned complaints;               /* trainings that failed, of which this many were told */
    uint64_t failures;                 /* trainings that failed since one did not */
    struct trib_error failure;         /* of the newest one that did */
    struct sim_evaluation *evaluation; /* under way */
    uint64_t evaluated_us;
    bool begun_evaluation;
    uint64_t evaluating;             /* the newest version that an evaluation was begun of */
    struct trib_kept *kept;          /* NULL: nothing is kept */
    struct trib_buf entry;           /* of it, for a while */
    uint64_t trainings, evaluations; /* begun */
    bool over;
    struct trib_error err; /* of what went wrong inside; status TRIB_OK: nothing */
    struct trib_sim_status status;
};

static inline uint64_t trib_sim_now_ms(const struct trib_sim *sim) {
    return TRIB_SIM_EPOCH_MS + sim->now_us / 1000;
}
static inline size_t trib_sim_device(const struct trib_sim *sim, size_t node) {
    return node - 1 - sim->edge_count;
}
static inline uint64_t trib_sim_seconds_us(double seconds) {
    return (uint64_t)(seconds * 1e6);
}
/* Something failed that the simulation cannot go on without; the first one counts. */
void trib_sim_fail(struct trib_sim *sim, const struct trib_error *err);
void trib_sim_out_of_memory(struct trib_sim *sim);
void trib_sim_put(struct trib_sim *sim, uint64_t at_us, enum sim_event kind, size_t node, void *what);

/* tree.c */
enum { SIM_NAME = 32 };
const char *trib_sim_name(const struct trib_sim *sim, size_t node, char out[SIM_NAME]);
enum trib_status trib_sim_make_nodes(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
/* Makes a node's state and roles. */
enum trib_status trib_sim_node_open(struct trib_sim *sim, size_t node, struct trib_error *err) TRIB_MUST_USE;
void trib_sim_node_close(struct trib_sim *sim, size_t node);

/* conditions.c */
enum trib_status trib_sim_conditions_open(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
void trib_sim_conditions_close(struct trib_sim *sim);
/* For trib_participant_options; ctx: one of the above. */
void trib_sim_report(void *ctx, struct trib_conditions *out);

/* loop.c */
/* Carries out what a node's roles asked for, and asks them what is due. */
void trib_sim_settle(struct trib_sim *sim, size_t node);
void trib_sim_handle(struct trib_sim *sim, const struct trib_sim_event *event);

void trib_sim_set_to_work(struct trib_sim *sim, size_t node);
void trib_sim_carry_out(struct trib_sim *sim, size_t node);

/* presence.c */
/* Into a device's new state goes what it kept. */
enum trib_status trib_sim_recall(struct sim_node *node, struct trib_error *err) TRIB_MUST_USE;
/* Calls the devices that are there first. */
void trib_sim_call_first(struct trib_sim *sim);
/* A node's time to join has come; false: its window is closed, it will come later. */
bool trib_sim_may_join(struct trib_sim *sim, size_t node);
void trib_sim_stay_ends(struct trib_sim *sim, size_t node, uintptr_t stay);
/* An update of it was judged: another one's turn may have come (leaves). */
void trib_sim_answered(struct trib_sim *sim, size_t node);
void trib_sim_next_turn(struct trib_sim *sim, size_t node);

/* link.c */
/* Consumes the action. */
void trib_sim_send(struct trib_sim *sim, size_t from, struct trib_action *action);
void trib_sim_message_free(struct trib_sim *sim, struct sim_message *message);
void trib_sim_messages_close(struct trib_sim *sim);
uint64_t trib_sim_round_trip_us(const struct trib_sim *sim, size_t child);

/* work.c */
/* The task alone, without anybody to work on it; trib_sim_work_close closes it. */
enum trib_status trib_sim_task_open(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_sim_work_open(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
void trib_sim_work_close(struct trib_sim *sim);
void trib_sim_train(struct trib_sim *sim, size_t node);
void trib_sim_trained(struct trib_sim *sim, struct sim_job *job); /* consumes it */
/* Its device goes, or begins anew: nothing reads its model any more when this returns. */
void trib_sim_forsake(struct trib_sim *sim, size_t node);
void trib_sim_job_free(struct sim_job *job);
/* Have so many trainings failed one after the other that nothing else is to be expected? */
bool trib_sim_hopeless(const struct trib_sim *sim);

/* attackers.c */
enum trib_status trib_sim_attackers_open(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
void trib_sim_attackers_close(struct trib_sim *sim);
/* What a device trains, and the part of the data there that is its own. */
const struct trib_task *trib_sim_task_of(const struct trib_sim *sim, const struct sim_node *node);
/* A device has trained: an attacker forges `difference`, an honest one's may be remembered. */
void trib_sim_attack(struct trib_sim *sim, const struct sim_job *job, float *difference);
/* Until when an attacker who knows the honest ones' updates keeps his back: in a synchronous round he answers
 * after those who train in it. Now, or before: he need not wait. */
uint64_t trib_sim_attack_waits_us(const struct trib_sim *sim, const struct sim_job *job);

/* evaluate.c */
enum trib_status trib_sim_choose_measured(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
void trib_sim_evaluate(struct trib_sim *sim, uint64_t needed_us);
void trib_sim_evaluated(struct trib_sim *sim, struct sim_evaluation *evaluation); /* consumes it */
void trib_sim_evaluation_free(struct sim_evaluation *evaluation);

/* cloud.c */
enum trib_status trib_sim_begin_run(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
/* After an event of the cloud, or one that may end the run: is it over, is there something to evaluate? */
void trib_sim_cloud_advanced(struct trib_sim *sim);
void trib_sim_finish(struct trib_sim *sim, const char *reason);
/* TRIB_INVALID with what went wrong, where the run ended because it diverged. */
enum trib_status trib_sim_diverged(const struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;

/* journal.c */
enum trib_status trib_sim_journal_open(struct trib_sim *sim, size_t node,
                                       struct trib_error *err) TRIB_MUST_USE;
/* Consumes the record. */
void trib_sim_journal_write(struct trib_sim *sim, size_t node, struct trib_record **record);
/* What was written goes to the store; a checkpoint, if it is time for one. */
void trib_sim_journal_flush(struct trib_sim *sim, size_t node);
/* After an event of the node. */
void trib_sim_journal_settle(struct trib_sim *sim, size_t node);
void trib_sim_journal_close(struct sim_journal **journal);

/* resume.c */
/* Opens what an interrupted simulation left, if it is asked for and there. */
enum trib_status trib_sim_resume(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
/* In place of an older one a file to keep things in, if there is none yet. */
enum trib_status trib_sim_keep_open(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
/* Nothing is kept from now on; the file stays. */
void trib_sim_keep_close(struct trib_sim *sim);
/* The simulation is over: there is nothing to resume. */
void trib_sim_keep_nothing(struct trib_sim *sim);
void trib_sim_keep_flush(struct trib_sim *sim);
bool trib_sim_has_kept(const struct trib_sim *sim, enum trib_kept_kind kind, uint64_t number);
/* A result is taken, before anybody changes it; or its device has forsaken it. */
void trib_sim_keep_training(struct trib_sim *sim, const struct sim_job *job);
void trib_sim_keep_evaluation(struct trib_sim *sim, const struct sim_evaluation *evaluation, double loss,
                              double accuracy);
/* Into the job, also that it failed. */
enum trib_status trib_sim_take_training(struct trib_sim *sim, struct sim_job *job,
                                        struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_sim_take_evaluation(struct trib_sim *sim, const struct sim_evaluation *evaluation,
                                          double *loss, double *accuracy,
                                          struct trib_error *err) TRIB_MUST_USE;
void trib_sim_resume_status(const struct trib_sim *sim, struct trib_sim_status *status);

/* out.c */
/* Which folder that is; "": the simulation leaves nothing. */
enum trib_status trib_sim_out_name(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;
/* Makes the result's folder, or clears it of an older result. */
enum trib_status trib_sim_out_open(struct trib_sim *sim, struct trib_error *err) TRIB_MUST_USE;

#endif
