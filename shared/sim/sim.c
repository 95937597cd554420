#include "shared/sim/internal.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/model/digest.h"

#include <string.h>
#include <unistd.h>

void trib_sim_fail(struct trib_sim *sim, const struct trib_error *err) {
    if (sim->err.status == TRIB_OK) sim->err = *err;
}

void trib_sim_out_of_memory(struct trib_sim *sim) {
    struct trib_error err;
    (void)trib_fail(&err, TRIB_NOMEM, "out of memory at event %llu", (unsigned long long)sim->events);
    trib_sim_fail(sim, &err);
}

static void drop_event(struct trib_sim *sim, struct trib_sim_event *event) {
    switch ((enum sim_event)event->kind) {
    case SIM_UP:
    case SIM_DOWN: trib_sim_message_free(sim, event->what); break;
    case SIM_TRAINED: trib_sim_job_free(event->what); break;
    case SIM_EVALUATED: trib_sim_evaluation_free(event->what); break;
    case SIM_WAKE:
    case SIM_JOIN:
    case SIM_CONNECT:
    case SIM_LEAVE:
    case SIM_TIME_UP: break;
    }
}

void trib_sim_put(struct trib_sim *sim, uint64_t at_us, enum sim_event kind, size_t node, void *what) {
    struct trib_sim_event event = {.at_us = at_us, .node = (uint32_t)node, .kind = kind, .what = what};
    if (trib_sim_queue_put(&sim->queue, event)) return;
    trib_sim_out_of_memory(sim);
    if (kind == SIM_TRAINED) trib_sim_forsake(sim, node);
    drop_event(sim, &event);
}

/* ---- making ---- */

static enum trib_status parse_delays(struct trib_sim *sim, struct trib_error *err) {
    const struct trib_scenario *s = sim->scenario;
    const struct {
        const char *key, *spec;
        struct trib_delay *delay;
    } rows[] = {{"fleet.join", s->fleet.join, &sim->join},
                {"fleet.speed", s->fleet.speed, &sim->speed},
                {"fleet.stay", s->fleet.stay, &sim->stay},
                {"fleet.away", s->fleet.away, &sim->away},
                {"fleet.delay", s->fleet.delay, &sim->delay},
                {"fleet.sample_delay", s->fleet.sample_delay, &sim->sample_delay}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct trib_error inner;
        enum trib_status status = trib_delay_parse(rows[i].spec, rows[i].delay, &inner);
        if (status != TRIB_OK) return trib_fail(err, status, "%s: %s", rows[i].key, inner.text);
    }
    return TRIB_OK;
}

static enum trib_status make_texts(struct trib_sim *sim, struct trib_error *err) {
    trib_options_flat(trib_plan_options, trib_plan_option_count, &sim->plan, &sim->plan_text);
    trib_schema_text(&sim->task.schema, &sim->schema_text);
    if (!sim->plan_text.failed && !sim->schema_text.failed) return TRIB_OK;
    return trib_fail(err, TRIB_NOMEM, "out of memory for the plan");
}

static enum trib_status open_all(struct trib_sim *sim, struct trib_error *err) {
    enum trib_status status = parse_delays(sim, err);
    if (status == TRIB_OK) status = trib_sim_work_open(sim, err);
    if (status == TRIB_OK) status = trib_sim_choose_measured(sim, err);
    if (status == TRIB_OK) status = make_texts(sim, err);
    if (status == TRIB_OK) status = trib_sim_out_open(sim, err);
    if (status == TRIB_OK) status = trib_sim_make_nodes(sim, err);
    if (status == TRIB_OK) status = trib_sim_conditions_open(sim, err);
    if (status == TRIB_OK) status = trib_sim_attackers_open(sim, err);
    if (status == TRIB_OK) status = trib_sim_begin_run(sim, err);
    if (status == TRIB_OK && sim->err.status != TRIB_OK) {
        *err = sim->err;
        status = err->status;
    }
    return status;
}

enum trib_status trib_sim_new(const struct trib_sim_options *options, struct trib_sim **out,
                              struct trib_error *err) {
    struct trib_sim *sim = trib_alloc(sizeof *sim);
    if (sim == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for a simulation");
    sim->options = *options;
    sim->scenario = options->scenario;
    sim->plan = options->scenario->plan;
    sim->plan.seed = options->seed;
    sim->rng = trib_rng_seed(options->seed, 1);
    sim->turns = trib_rng_seed(options->seed, 3);
    sim->status.reason = "";
    sim->folder = -1;
    trib_buf_init(&sim->plan_text, TRIB_MAP_MAX_BYTES);
    trib_buf_init(&sim->schema_text, TRIB_SCHEMA_MAX_TEXT);
    trib_buf_init(&sim->entry, 0);
    trib_outbox_init(&sim->outbox);
    sim->terms = trib_terms_cache_new(); /* without one every device reads the plan for itself */
    enum trib_status status = open_all(sim, err);
    if (status != TRIB_OK)
        trib_sim_free(&sim);
    else
        *out = sim;
    return status;
}

void trib_sim_free(struct trib_sim **out) {
    struct trib_sim *sim = *out;
    if (sim == NULL) return;
    trib_sim_keep_close(sim); /* trainings that are dropped now may be needed when it is resumed */
    for (size_t i = 0; sim->nodes != NULL && i < sim->node_count; i++) {
        trib_sim_node_close(sim, i);
        trib_blob_unref(&sim->nodes[i].spool);
    }
    struct trib_sim_event event;
    while (trib_sim_queue_take(&sim->queue, &event)) drop_event(sim, &event);
    trib_sim_queue_release(&sim->queue);
    trib_sim_messages_close(sim);
    trib_sim_work_close(sim);
    trib_terms_cache_free(&sim->terms);
    trib_sim_attackers_close(sim);
    trib_outbox_release(&sim->outbox);
    trib_sim_conditions_close(sim);
    trib_free(sim->nodes);
    trib_free(sim->measured);
    struct trib_delay *delays[] = {&sim->join,         &sim->speed, &sim->delay,
                                   &sim->sample_delay, &sim->stay,  &sim->away};
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) trib_delay_release(delays[i]);
    trib_buf_release(&sim->plan_text);
    trib_buf_release(&sim->schema_text);
    if (sim->folder >= 0) (void)close(sim->folder);
    trib_free(sim);
    *out = NULL;
}

/* ---- running ---- */

/* Nodes are many and far apart in memory, and waiting for that is most of what an event would take: what the
 * next ones will touch is fetched while this one is handled. First what their entries point to, later what
 * that points to. */
static void fetch(const void *from, size_t bytes) {
    enum { LINE = 64 };
    for (size_t i = 0; from != NULL && i < bytes; i += LINE) __builtin_prefetch((const char *)from + i);
}

static bool carries(const struct trib_sim_event *event) {
    return event->kind == SIM_UP || event->kind == SIM_DOWN;
}

static void fetch_node(const struct trib_sim *sim, const struct trib_sim_event *event) {
    fetch(&sim->nodes[event->node], sizeof *sim->nodes);
    if (carries(event)) fetch(event->what, sizeof(struct sim_message));
    if (event->kind == SIM_TRAINED) fetch(event->what, offsetof(struct sim_job, err));
}

static void fetch_roles(const struct trib_sim *sim, const struct trib_sim_event *event) {
    enum { PARTICIPANT_BYTES = 768, FRAME_BYTES = 128 };
    const struct sim_node *node = &sim->nodes[event->node];
    if (carries(event)) fetch(((const struct sim_message *)event->what)->frame, FRAME_BYTES);
    if (node->aggregator != NULL) return; /* few, and often at work */
    fetch(node->state, offsetof(struct trib_state, gathered.histogram.items));
    fetch(node->participant, PARTICIPANT_BYTES);
}

static void fetch_session(const struct trib_sim *sim, const struct trib_sim_event *event, bool peer) {
    const struct sim_node *node = &sim->nodes[event->node];
    const struct sim_message *message = event->what;
    if (event->kind == SIM_UP && node->aggregator != NULL)
        trib_aggregator_fetch(node->aggregator, message->frame, message->frame_bytes, peer);
}

static void fetch_vectors(const struct trib_sim *sim, const struct trib_sim_event *event) {
    enum { VECTOR_BYTES = 256 };
    const struct trib_state *state = sim->nodes[event->node].state;
    if (state == NULL || sim->nodes[event->node].aggregator != NULL) return;
    size_t bytes = trib_state_parameters(state) * sizeof(float);
    if (bytes > VECTOR_BYTES) bytes = VECTOR_BYTES;
    fetch(state->G, bytes);
    fetch(state->own, bytes);
    fetch(&state->parents[(state->parent_count + TRIB_PARENTS_KEPT - 1) % TRIB_PARENTS_KEPT],
          2 * sizeof state->parents[0]);
}

static void fetch_ahead(const struct trib_sim *sim) {
    enum { NODE = 16, ROLES = 11, SESSION = 7, LAST = 3 };
    const struct trib_sim_event *event;
    if ((event = trib_sim_queue_peek(&sim->queue, NODE)) != NULL) fetch_node(sim, event);
    if ((event = trib_sim_queue_peek(&sim->queue, ROLES)) != NULL) fetch_roles(sim, event);
    if ((event = trib_sim_queue_peek(&sim->queue, SESSION)) != NULL) fetch_session(sim, event, false);
    if ((event = trib_sim_queue_peek(&sim->queue, LAST)) != NULL) {
        fetch_session(sim, event, true);
        fetch_vectors(sim, event);
    }
}

static bool handle_next(struct trib_sim *sim) {
    struct trib_sim_event event;
    uint64_t most = sim->scenario->stop.events;
    if (sim->over || sim->err.status != TRIB_OK) return false;
    if (most > 0 && sim->events >= most) {
        trib_sim_finish(sim, "events");
        return false;
    }
    if (!trib_sim_queue_take(&sim->queue, &event)) {
        trib_sim_finish(sim, "nothing happens any more");
        return false;
    }
    fetch_ahead(sim);
    trib_sim_handle(sim, &event);
    return true;
}

enum trib_status trib_sim_run(struct trib_sim *sim, uint64_t ms, bool *over, struct trib_error *err) {
    enum { LOOK_EVERY = 64 }; /* events between two looks at the clock */
    uint64_t end_ms = trib_clock_ms() + ms;
    for (unsigned i = 1; handle_next(sim); i++)
        if (ms > 0 && i % LOOK_EVERY == 0 && trib_clock_ms() >= end_ms) break;
    trib_sim_keep_flush(sim);
    *over = sim->over;
    if (sim->err.status != TRIB_OK) *err = sim->err;
    return sim->err.status;
}

enum trib_status trib_sim_close(struct trib_sim *sim, struct trib_error *err) {
    for (size_t i = 0; i <= sim->edge_count; i++) trib_sim_journal_flush(sim, i);
    if (sim->over && sim->err.status == TRIB_OK) trib_sim_keep_nothing(sim);
    if (sim->err.status == TRIB_OK) return trib_sim_diverged(sim, err);
    if (err != NULL) *err = sim->err;
    return sim->err.status;
}

/* ---- reading ---- */

struct trib_sim_status trib_sim_status(const struct trib_sim *sim) {
    struct trib_sim_status status = sim->status;
    const struct trib_state *cloud = sim->nodes[SIM_CLOUD].state;
    status.virtual_ms = sim->now_us / 1000;
    status.events = sim->events;
    status.version = cloud->version;
    status.commits = cloud->commits;
    status.out = sim->out;
    trib_sim_resume_status(sim, &status);
    return status;
}

enum trib_status trib_sim_digest(const struct trib_sim *sim, uint8_t out[TRIB_DIGEST_BYTES],
                                 struct trib_error *err) {
    memset(out, 0, TRIB_DIGEST_BYTES);
    for (size_t i = 0; i <= sim->edge_count; i++) {
        uint8_t both[2 * TRIB_DIGEST_BYTES] = {0};
        memcpy(both, out, TRIB_DIGEST_BYTES);
        const struct trib_state *state = sim->nodes[i].state;
        if (state != NULL && trib_state_digest(state, both + TRIB_DIGEST_BYTES) != TRIB_OK)
            return trib_fail(err, TRIB_NOMEM, "out of memory for a digest");
        trib_digest_bytes(both, sizeof both, out);
    }
    return TRIB_OK;
}

const uint8_t *trib_sim_model_digest(const struct trib_sim *sim) {
    return sim->nodes[SIM_CLOUD].state->digest;
}
