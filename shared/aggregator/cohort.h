/* Who trains next: which of an aggregator's devices are given a model. Private to this folder.
 *
 * Without plan.select.count and plan.select.fraction that is whoever asks. With them devices that ask are
 * told to wait, for an hour, and ADVANCE tells those that were chosen that it is their turn; who was not
 * chosen costs its heartbeats and nothing else.
 *
 * - Rounds (a synchronous rule): for each round count x over of the devices that are there and idle are
 *   drawn; it ends when `count` have answered, or by the rule's own deadline.
 * - No rounds: at most `count` are at work; when one has answered, the policy picks another among those that
 *   have asked.
 *
 * A place is given up by a device that leaves, is quiet, is refused, takes a new incarnation, or has not
 * answered for select.patience; somebody else is drawn for it at once. What such a device still sends is
 * judged like any update. Edges below a cloud do not train: they are never chosen among, and always served.
 *
 * All of this is volatile: after a restart the places of a round that has begun are drawn anew. */
#ifndef TRIB_AGGREGATOR_COHORT_H
#define TRIB_AGGREGATOR_COHORT_H

#include "shared/rules/select.h"
#include "shared/wire/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is known of a participant for choosing, beside its presence. */
struct choice {
    bool device, here; /* here: it has a session, and is not quiet */
    bool idle;         /* it has asked for a model in this session and not been given one since */
    bool came;         /* it has asked since it was chosen */
    bool known;        /* it has answered: duration, loss and norm are those of its last answer */
    uint8_t battery;   /* percent, plus 1; 0: it has not said */
    uint16_t group;    /* of its class */
    uint32_t place;    /* in members, plus 1; 0: not chosen */
    uint32_t times;    /* it was chosen; a newcomer begins with the mean of the others */
    float duration_ms, loss, norm;
    uint64_t weight;     /* n_k, as the state has it, where a draw can read it without going there */
    uint64_t last_round; /* when it was chosen; 0: never */
    uint64_t since_ms;   /* when it was chosen */
    uint64_t called_ms;  /* when it was last told so */
    uint64_t given_ms;   /* when it was given the model that it works on; 0: it works on none */
    uint64_t link;       /* bytes/s; 0: it has not said */
};

enum { TRIB_COHORT_UNTOLD = 64 };

struct cohort {
    struct trib_select *policy;
    struct trib_select_memory memory;
    bool begun;              /* the round below was drawn for */
    uint64_t commits, fence; /* ... when the state had these */
    uint64_t rounds, choices;
    size_t untold_count,
        untold_of;      /* without rounds: who was chosen since the last event of it, of how many */
    uint64_t untold_ms; /* since when there is somebody */
    uint32_t untold[TRIB_COHORT_UNTOLD];
    double mean;   /* times that one of those who may be chosen was, at the last draw */
    bool short_of; /* nobody may be chosen: that was said */
    size_t group_count;
    char groups[TRIB_SELECT_GROUPS][TRIB_CLASS_MAX + 1]; /* classes of devices; the first is "" */
    uint32_t group_size[TRIB_SELECT_GROUPS], group_busy[TRIB_SELECT_GROUPS];
    size_t here;      /* devices */
    uint64_t here_ms; /* since when there has been one */
    uint64_t up_ms;   /* since when this aggregator has been running */
    size_t member_count;
    uint32_t *members; /* participants that were chosen */
    size_t scratch_capacity;
    struct trib_select_candidate *candidates;
    uint32_t *candidate_peers, *chosen;
    double *score;
};

struct trib_aggregator;
struct session;

/* Does this aggregator choose? */
bool trib_cohort_on(struct trib_aggregator *a);
/* Forgets all but what is in the presences. */
void trib_cohort_release(struct trib_aggregator *a);

/* A session was opened by HELLO. `again`: the same incarnation as before. */
void trib_cohort_joined(struct trib_aggregator *a, const struct session *session,
                        const struct trib_msg *hello, bool again);
/* A session is there, or not (closed, quiet). */
void trib_cohort_here(struct trib_aggregator *a, const struct session *session, bool here);
/* It is gone, as far as anybody knows: its place is another's. */
void trib_cohort_left(struct trib_aggregator *a, const struct session *session);
/* It asks for a model: may it have one? If not, *wait_ms is how long it is to wait. */
bool trib_cohort_asked(struct trib_aggregator *a, struct session *session, const struct trib_msg *pull,
                       uint64_t *wait_ms);
/* It is being sent one. */
void trib_cohort_given(struct trib_aggregator *a, const struct session *session);
/* Its update was judged; norm 0: not looked at. Loss and norm of one that was refused for what it holds are
 * 0: it is not chosen for them. */
void trib_cohort_answered(struct trib_aggregator *a, const struct session *session, bool accepted, float loss,
                          float norm);

/* A new version may be published, or a round goes on after a restart: draws, if that has not been done. */
void trib_cohort_begin(struct trib_aggregator *a);
/* The ledger is told of everybody who was chosen: a round's at once, others when they are many, a minute
 * later, or by this, when the run or this process ends. */
void trib_cohort_tell(struct trib_aggregator *a);
/* Is ADVANCE for this version not meant for it? */
bool trib_cohort_skips(struct trib_aggregator *a, const struct session *session);
/* Once a second: patience, empty places, calls that may have been lost. */
void trib_cohort_look(struct trib_aggregator *a);
/* Synchronous rules: chosen devices, and edges, that have not answered this version, and one for those that
 * may still be drawn after a restart (asked again after *wake_ms, if that is sooner); and whether enough
 * devices have answered. */
uint64_t trib_cohort_expected(const struct trib_aggregator *a, uint64_t *wake_ms);
bool trib_cohort_enough(const struct trib_aggregator *a);
/* Synchronous rules: is an answer of this participant wanted in this round? Where there is no choice, and of
 * edges, always; else of the devices that were chosen for it, those that have lost their place since too. */
bool trib_cohort_wants(struct trib_aggregator *a, size_t peer);

#endif
