/* Who is there: devices that join, leave and come back. A device that is away has no state and no role; what
 * it would have in its spool is kept for it, as small as it is. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"

#include <string.h>

/* ---- what a device keeps ---- */

static enum trib_status append(void *ctx, const void *data, size_t bytes, struct trib_error *err) {
    struct trib_buf *buf = ctx;
    trib_buf_append(buf, data, bytes);
    return buf->failed ? trib_fail(err, TRIB_NOMEM, "out of memory for a device's spool") : TRIB_OK;
}

struct reading {
    const uint8_t *data;
    size_t left;
};

static enum trib_status take(void *ctx, void *out, size_t bytes, struct trib_error *err) {
    struct reading *reading = ctx;
    if (bytes > reading->left) return trib_fail(err, TRIB_CORRUPT, "a device's spool is too short");
    memcpy(out, reading->data, bytes);
    reading->data += bytes;
    reading->left -= bytes;
    return TRIB_OK;
}

/* Is there something that cannot be had again, beside who it is and its next number? */
static bool has_memory(const struct trib_state *state) {
    if (state->held_count > 0) return true;
    for (size_t i = 0; i < TRIB_LOCAL_MAX; i++)
        if (state->local[i] != NULL) return true;
    return state->own != NULL && trib_kernels()->sum_squares(state->own, trib_state_parameters(state)) > 0;
}

static enum trib_status keep(struct trib_sim *sim, struct sim_node *node, struct trib_error *err) {
    struct trib_state *state = node->state;
    if (sim->scenario->fleet.forget || !state->started) return TRIB_OK;
    node->incarnation = state->incarnation;
    node->next_number = state->next_number;
    if (!has_memory(state)) return TRIB_OK;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    struct trib_sink sink = {.write = append, .ctx = &buf};
    enum trib_status status = trib_state_save_own(state, &sink, err);
    if (status == TRIB_OK) node->spool = trib_blob_copy(buf.data, buf.size);
    if (status == TRIB_OK && node->spool == NULL)
        status = trib_fail(err, TRIB_NOMEM, "out of memory for a spool");
    trib_buf_release(&buf);
    return status;
}

enum trib_status trib_sim_recall(struct sim_node *node, struct trib_error *err) {
    enum trib_status status = TRIB_OK;
    if (node->spool != NULL) {
        struct reading reading = {trib_blob_data(node->spool), trib_blob_size(node->spool)};
        struct trib_feed feed = {.read = take, .ctx = &reading};
        status = trib_state_load(node->state, &feed, err);
        trib_blob_unref(&node->spool);
    } else if (node->incarnation != 0) {
        node->state->incarnation = node->incarnation;
        node->state->next_number = node->next_number;
    }
    return status;
}

/* ---- leaving ---- */

static void leave(struct trib_sim *sim, size_t index, bool goodbye) {
    struct sim_node *node = &sim->nodes[index];
    struct trib_error err;
    if (node->state == NULL) return;
    if (goodbye) {
        trib_participant_goodbye(node->participant, trib_sim_now_ms(sim));
        trib_sim_carry_out(sim, index);
    }
    if (keep(sim, node, &err) != TRIB_OK) trib_sim_fail(sim, &err);
    trib_sim_node_close(sim, index);
    node->connection++; /* what is on its way to it is lost */
    node->wake_us = SIM_NEVER;
    node->turns = 0;
    node->leaves = false;
    sim->status.left++;
    sim->status.present--;
}

/* ---- whose turn it is ---- */

/* A device that is not there, drawn at random; false: all are. */
static bool draw_absent(struct trib_sim *sim, size_t *out) {
    size_t devices = (size_t)sim->scenario->fleet.devices, first = 1 + sim->edge_count;
    if (sim->status.present + sim->coming >= devices) return false;
    size_t at = (size_t)trib_rng_below(&sim->turns, devices);
    while (sim->nodes[first + at].state != NULL || sim->nodes[first + at].comes) at = (at + 1) % devices;
    *out = first + at;
    return true;
}

static void call(struct trib_sim *sim, size_t index, uint64_t in_us) {
    sim->nodes[index].comes = true;
    sim->coming++;
    trib_sim_put(sim, sim->now_us + in_us, SIM_JOIN, index, NULL);
}

void trib_sim_call_first(struct trib_sim *sim) {
    size_t devices = (size_t)sim->scenario->fleet.devices, count = (size_t)sim->scenario->fleet.active;
    if (count == 0 || count > devices) count = devices;
    for (size_t i = 0, index; i < count; i++) {
        if (count == devices)
            index = 1 + sim->edge_count + i;
        else if (!draw_absent(sim, &index))
            return;
        call(sim, index, trib_sim_seconds_us(trib_delay_draw(&sim->join, &sim->nodes[index].rng)));
    }
}

/* An update of a device was judged: with fleet.active, another one's turn may have come. */
void trib_sim_answered(struct trib_sim *sim, size_t index) {
    struct sim_node *node = &sim->nodes[index];
    const struct trib_scenario *s = sim->scenario;
    if (node->role != TRIB_ROLE_DEVICE || s->fleet.active == 0 || s->fleet.active >= s->fleet.devices) return;
    node->leaves = ++node->turns >= s->fleet.turn;
}

void trib_sim_next_turn(struct trib_sim *sim, size_t index) {
    size_t next;
    leave(sim, index, true);
    if (draw_absent(sim, &next)) call(sim, next, 0);
}

/* ---- windows and churn ---- */

/* Where in its window a device is: true if it is open, and then until when; else when it opens. */
static bool window_open(const struct trib_sim *sim, const struct sim_node *node, uint64_t *until_us) {
    uint64_t period_us = sim->scenario->fleet.period_ms * 1000;
    uint64_t open_us = (uint64_t)(sim->scenario->fleet.share * (double)period_us);
    *until_us = SIM_NEVER;
    if (period_us == 0) return true;
    uint64_t phase = (sim->now_us + (uint64_t)((double)node->phase * (double)period_us)) % period_us;
    *until_us = sim->now_us + (phase < open_us ? open_us - phase : period_us - phase);
    return phase < open_us;
}

bool trib_sim_may_join(struct trib_sim *sim, size_t index) {
    struct sim_node *node = &sim->nodes[index];
    if (node->role != TRIB_ROLE_DEVICE) return true;
    if (node->state != NULL) return false;
    uint64_t until_us;
    if (!window_open(sim, node, &until_us)) {
        trib_sim_put(sim, until_us, SIM_JOIN, index, NULL);
        return false;
    }
    if (node->comes) sim->coming--;
    node->comes = false;
    if (!trib_delay_is_zero(&sim->stay)) {
        uint64_t stay_us = trib_sim_seconds_us(trib_delay_draw(&sim->stay, &node->rng));
        if (sim->now_us + stay_us < until_us) until_us = sim->now_us + stay_us;
    }
    sim->status.present++;
    node->stay++; /* whether it is still the same one when its end comes */
    if (until_us != SIM_NEVER) trib_sim_put(sim, until_us, SIM_LEAVE, index, (void *)(uintptr_t)node->stay);
    return true;
}

void trib_sim_stay_ends(struct trib_sim *sim, size_t index, uintptr_t stay) {
    struct sim_node *node = &sim->nodes[index];
    if (node->state == NULL || node->stay != stay) return;
    leave(sim, index, sim->scenario->fleet.goodbye);
    /* Where a window ended it, the next one is waited for. Its place among the active ones stays its own. */
    double away = trib_delay_is_zero(&sim->stay) ? 0 : trib_delay_draw(&sim->away, &node->rng);
    call(sim, index, trib_sim_seconds_us(away) + 1);
}
