#include "shared/ledger/replay.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <string.h>

struct replay {
    const struct trib_replay_request *request;
    struct trib_replay *out;
    uint64_t until;   /* where the journal ends */
    bool nothing;     /* a checkpoint will do after which there is nothing to compare */
    bool unfit;       /* the checkpoint is of another run, or of a later version */
    bool reached;     /* the version has been made */
    bool done;        /* and nothing more is wanted */
    bool seen;        /* the run was met */
    uint64_t oldest;  /* the oldest version that its checkpoints lead to */
    uint64_t highest; /* the newest version of the run that was passed */
};

static bool of_this_run(const struct replay *r) {
    const struct trib_state *state = r->out->state;
    return state->started && memcmp(state->run, r->request->run, sizeof state->run) == 0;
}

/* What a rule adds at once stands in the model before the commit that speaks for it. */
static bool is_whole(const struct trib_state *state) {
    return state->pending_count == 0 || !trib_rule_at_once(state->rule);
}

static void look(struct replay *r) {
    const struct trib_state *state = r->out->state;
    if (!of_this_run(r)) return;
    r->seen = true;
    if (state->version > r->highest) r->highest = state->version;
    if (!r->request->newest && state->version == r->request->version && is_whole(state)) r->reached = true;
}

static enum trib_status take_checkpoint(void *ctx, uint64_t position, const struct trib_feed *feed,
                                        struct trib_error *err) {
    struct replay *r = ctx;
    struct trib_state *state = r->out->state;
    enum trib_status status = trib_state_take_checkpoint(state, position, feed, err);
    if (status != TRIB_OK) return status;
    look(r);
    uint64_t first = state->version + (is_whole(state) ? 0 : 1);
    if (of_this_run(r) && first < r->oldest) r->oldest = first;
    bool late = r->request->newest ? position > r->until : first > r->request->version;
    bool last = r->request->newest ? position == r->until : r->reached;
    r->unfit = !of_this_run(r) || late || (last && !r->nothing);
    r->out->from_version = state->version;
    return r->unfit ? trib_fail(err, TRIB_NOT_FOUND, "the checkpoint is not of the run") : TRIB_OK;
}

/* Once the version is there: its publication is looked at too, if that is what comes next. */
static bool may_follow(uint8_t kind) {
    return kind == TRIB_REC_PUBLISH || kind == TRIB_REC_EVENT || kind == TRIB_REC_EVALUATION ||
           kind == TRIB_REC_PEER;
}

static void count(struct trib_replay *out, const struct trib_record *record, bool told) {
    out->records++;
    out->contributions += record->kind == TRIB_REC_VERDICT && record->verdict == TRIB_ACCEPTED;
    out->publications += told && record->kind == TRIB_REC_PUBLISH;
    out->versions += told && record->kind != TRIB_REC_PUBLISH;
}

static enum trib_status take_record(void *ctx, const struct trib_record *record, struct trib_error *err) {
    struct replay *r = ctx;
    bool ends = r->seen && record->kind == TRIB_REC_START &&
                memcmp(record->run, r->request->run, sizeof record->run) != 0;
    if ((r->reached && !may_follow(record->kind)) || ends) {
        r->done = true;
        return trib_fail(err, TRIB_NOT_FOUND, "enough");
    }
    bool told = trib_rec_has(record, DIGEST);
    enum trib_status status = trib_state_take_record(r->out->state, record, err);
    if (status != TRIB_OK) return status;
    count(r->out, record, told);
    if (!r->reached) look(r);
    if (r->request->progress != NULL) r->request->progress(r->request->ctx, record->position, r->until);
    return TRIB_OK;
}

/* ---- from where ---- */

struct positions {
    size_t count, capacity;
    uint64_t *at;
};

static enum trib_status note_position(void *ctx, const struct trib_store_checkpoint *it,
                                      struct trib_error *err) {
    struct positions *p = ctx;
    if (p->count == p->capacity) {
        size_t capacity = p->capacity > 0 ? 2 * p->capacity : 16;
        uint64_t *more = trib_realloc(p->at, capacity * sizeof *more);
        if (more == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a list of checkpoints");
        p->at = more;
        p->capacity = capacity;
    }
    p->at[p->count++] = it->position;
    return TRIB_OK;
}

static enum trib_status begin_at(struct replay *r, struct trib_store *store, uint64_t from,
                                 struct trib_error *err) {
    struct trib_state_limits limits = {.ring_bytes = TRIB_REPLAY_RING_BYTES};
    struct trib_replay *out = r->out;
    trib_state_free(&out->state);
    *out = (struct trib_replay){.from = from};
    r->unfit = r->reached = r->done = r->seen = false;
    r->highest = 0;
    enum trib_status status = trib_state_new(r->request->role, &limits, &out->state, err);
    if (status != TRIB_OK) return status;
    status = trib_store_replay(store, from, UINT64_MAX, take_checkpoint, take_record, r, err);
    return r->done ? TRIB_OK : status;
}

static enum trib_status not_kept(const struct replay *r, struct trib_error *err) {
    if (r->oldest == UINT64_MAX)
        return trib_fail(err, TRIB_NOT_FOUND,
                         "nothing of this run can be rebuilt: its records are not kept any more "
                         "(store.checkpoint.keep says how many checkpoints stay; 0: all, and every record)");
    return trib_fail(err, TRIB_NOT_FOUND,
                     "version %" PRIu64 " cannot be rebuilt: its records are not kept any more; the oldest "
                     "version that can be is %" PRIu64
                     " (store.checkpoint.keep says how many checkpoints stay; 0: all, and every record)",
                     r->request->version, r->oldest);
}

static enum trib_status not_made(const struct replay *r, struct trib_error *err) {
    if (!r->seen) return not_kept(r, err);
    return trib_fail(err, TRIB_NOT_FOUND,
                     "version %" PRIu64 " of this run was not made; its newest is %" PRIu64,
                     r->request->version, r->highest);
}

/* From the newest checkpoint before the version, or from the journal's beginning, where that is kept; else
 * from one that is the version. */
static enum trib_status find(struct replay *r, struct trib_store *store, const struct positions *p,
                             struct trib_error *err) {
    enum trib_status status = TRIB_NOT_FOUND;
    for (int turn = 0; turn < 2; turn++) {
        r->nothing = turn == 1;
        for (size_t i = p->count; i > 0; i--) {
            status = begin_at(r, store, p->at[i - 1], err);
            if (status == TRIB_OK || !r->unfit) return status;
        }
        status = begin_at(r, store, 0, err);
        bool empty = status == TRIB_OK && !r->seen; /* a journal that ends with its checkpoint */
        if (status != TRIB_NOT_FOUND && !empty) return status;
    }
    return not_kept(r, err);
}

enum trib_status trib_replay(struct trib_store *store, const struct trib_replay_request *request,
                             struct trib_replay *out, struct trib_error *err) {
    struct replay r = {.request = request, .out = out, .oldest = UINT64_MAX};
    struct positions p = {0};
    *out = (struct trib_replay){0};
    r.until = trib_store_position(store);
    enum trib_status status = trib_store_checkpoints(store, note_position, &p, err);
    if (status == TRIB_OK) status = find(&r, store, &p, err);
    if (status == TRIB_OK && (request->newest ? !r.seen : !r.reached)) status = not_made(&r, err);
    if (status != TRIB_OK) trib_state_free(&out->state);
    trib_free(p.at);
    return status;
}
