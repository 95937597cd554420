/* What the files of device/ share: fleet.c (the process), agent.c (one device: its role, connection and
 * spool), work.c (training) and spooler.c (the thread for the disk). Nobody else includes this. */
#ifndef TRIB_DEVICE_INTERNAL_H
#define TRIB_DEVICE_INTERNAL_H

#include "device/fleet.h"
#include "device/spooler.h"
#include "device/trainer.h"
#include "shared/daemon/spread.h"
#include "shared/net/client.h"
#include "shared/net/health.h"

enum {
    LINGER_MS = 300,
    SPOOL_RETRY_MS = 5000, /* after a spool that could not be written */
    HELD_SENDS_MAX = 4     /* that wait for the spool; beyond it they are lost, and asked for again */
};

struct held_send; /* a send that waits for the spool */

struct agent {
    struct fleet *fleet;
    size_t index; /* in the plan's partition */
    char name[TRIB_NAME_MAX + 1];
    struct trib_state *state;
    struct trib_outbox outbox;
    struct trib_participant *participant;
    struct trib_client *client;
    struct trib_timer *wake, *ready;
    struct trib_keys keys;
    struct trib_rng rng;
    double factor;
    double sample_ms;                      /* what a sample took in its last training; 0: not known */
    char device_class[TRIB_CLASS_MAX + 1]; /* told the parent; "": none */
    bool queued, finished;
    bool complained; /* said once why it cannot train */
    bool refused;    /* said once that its parent does not take it */
    uint64_t updates;
    uint64_t
        unnumbered;   /* of these, those that became no update: diverged, or on a model that was replaced */
    struct job *done; /* trained, and held back until its device would have had it */

    /* What must be in the spool before it may be told, and what is there: positions of the state. */
    uint64_t keep, saved;
    bool saving;             /* waits for its turn, or is being written */
    bool failing;            /* the last try failed */
    uint64_t spool_retry_ms; /* not before */
    size_t held_count;
    struct held_send *held, **held_end;
};

struct fleet {
    const struct trib_device_config *config;
    const struct trib_log *log;
    struct trib_reactor *reactor;
    struct trib_context *context;
    struct trib_health *health;
    struct trib_timer *finish;
    struct trib_keys parent_keys;
    struct trib_spread delay;
    struct trainer *trainer;
    struct spooler *spooler; /* NULL: devices keep nothing */
    struct trib_terms_cache *terms;
    struct trib_task task;
    bool task_open, stopping, failed;
    uint64_t task_serial;
    uint64_t wall_offset_ms;
    struct trib_buf task_plan; /* of the task that is open */
    size_t count, finished;
    size_t resumed; /* came back from their spools */
    struct agent *agents;
    size_t queue_count, queue_first; /* agents that wait for a training thread, a ring of `count` */
    size_t *queue;
};

uint64_t fleet_now_ms(const struct fleet *fleet);

/* agent.c */
enum trib_status agent_open(struct fleet *fleet, size_t i, struct trib_error *err) TRIB_MUST_USE;
void agent_close(struct agent *agent);
/* Carries out what the role asked for. */
void agent_carry_out(struct agent *agent);
/* The end of whatever happened to a device: the role does what is due, then the spool, then training. */
void agent_settle(struct agent *agent);
/* Its state as of `position` is in its spool; or it is not, for this reason. */
void agent_saved(struct agent *agent, uint64_t position, const struct trib_error *err);

/* work.c */
void work_want(struct agent *agent);
/* Gives free training threads to the devices that wait, in turn. */
void work_dispatch(struct fleet *fleet);
void work_submit(void *agent); /* the timer of `done` */
void work_trained(void *fleet, struct job *job);

#endif
