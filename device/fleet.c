#include "device/internal.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/json.h"
#include "shared/learn/blas.h"
#include "shared/net/descriptors.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

uint64_t fleet_now_ms(const struct fleet *fleet) {
    return trib_clock_ms() + fleet->wall_offset_ms;
}

static void end_loop(void *ctx) {
    struct fleet *fleet = ctx;
    trib_reactor_stop(fleet->reactor);
}

static void on_signal(void *ctx) {
    struct fleet *fleet = ctx;
    if (fleet->stopping) return;
    fleet->stopping = true;
    trib_log(fleet->log, TRIB_LOG_INFO, "stopping", "reason=signal");
    for (size_t i = 0; i < fleet->count; i++) {
        trib_participant_goodbye(fleet->agents[i].participant, fleet_now_ms(fleet));
        agent_carry_out(&fleet->agents[i]);
    }
    trib_timer_after(fleet->finish, LINGER_MS);
}

struct totals {
    uint64_t ready, updates, accepted, refused, up_bytes, down_bytes, waiting, unsaved, failing;
};

static struct totals add_up(const struct fleet *fleet) {
    struct totals t = {0};
    for (size_t i = 0; i < fleet->count; i++) {
        struct trib_participant_status status = trib_participant_status(fleet->agents[i].participant);
        t.ready += status.ready;
        t.up_bytes += status.up_bytes;
        t.down_bytes += status.down_bytes;
        t.accepted += status.accepted;
        t.refused += status.refused;
        t.updates += fleet->agents[i].updates;
        t.waiting += fleet->agents[i].state->held_count;
        t.unsaved += fleet->agents[i].keep > fleet->agents[i].saved;
        t.failing += fleet->agents[i].failing;
    }
    return t;
}

static bool answer_health(void *ctx, struct trib_buf *line) {
    struct fleet *fleet = ctx;
    struct totals t = add_up(fleet);
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {{"devices", fleet->count},
                {"ready", t.ready},
                {"training", trainer_running(fleet->trainer)},
                {"updates", t.updates},
                {"accepted", t.accepted},
                {"refused", t.refused},
                {"up_bytes", t.up_bytes},
                {"down_bytes", t.down_bytes},
                {"waiting", t.waiting},
                {"unsaved", t.unsaved},
                {"spools_failing", t.failing}};
    struct trib_json json = {.out = line};
    trib_json_begin(&json, '{');
    trib_json_key(&json, "name");
    trib_json_string(&json, fleet->config->node.name);
    trib_json_key(&json, "well");
    trib_json_bool(&json, t.failing == 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        trib_json_key(&json, rows[i].key);
        trib_json_u64(&json, rows[i].value);
    }
    trib_json_end(&json, '}');
    return t.failing == 0;
}

static size_t worker_count(const struct fleet *fleet) {
    size_t workers = (size_t)fleet->config->workers;
    if (workers == 0) workers = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    if (workers > fleet->count) workers = fleet->count;
    if (workers > 1 && !trib_blas_threadsafe()) {
        trib_log(fleet->log, TRIB_LOG_WARN, "blas_serial",
                 "workers=1 hint=\"this OpenBLAS is not thread-safe: install libopenblas0-pthread\"");
        workers = 1;
    }
    return workers > 0 ? workers : 1;
}

static const struct trib_state *state_of(void *ctx, size_t device, const char **name) {
    const struct fleet *fleet = ctx;
    *name = fleet->agents[device].name;
    return fleet->agents[device].state;
}

static void on_saved(void *ctx, size_t device, uint64_t position, const struct trib_error *err) {
    struct fleet *fleet = ctx;
    agent_saved(&fleet->agents[device], position, err);
}

static enum trib_status open_agents(struct fleet *fleet, struct trib_error *err) {
    const struct trib_spool_config *spool = &fleet->config->spool;
    struct spooler_events events = {.ctx = fleet, .state = state_of, .saved = on_saved};
    enum trib_status status = TRIB_OK;
    if (spool->path[0] != 0)
        status = spooler_new(&fleet->spooler, fleet->reactor, spool, fleet->count, &events, err);
    for (size_t i = 0; i < fleet->count && status == TRIB_OK; i++) status = agent_open(fleet, i, err);
    if (status == TRIB_OK && fleet->spooler != NULL)
        trib_log(fleet->log, TRIB_LOG_INFO, "spool_open", "path=%s devices=%zu resumed=%zu", spool->path,
                 fleet->count, fleet->resumed);
    return status;
}

static enum trib_status open_all(struct fleet *fleet, struct trib_error *err) {
    const struct trib_device_config *c = fleet->config;
    (void)trib_net_raise_descriptors(); /* a client that gets none says so */
    enum trib_status status = trib_spread_parse(c->speed_delay, &fleet->delay, err);
    if (status == TRIB_OK && c->keys_path[0] != 0)
        status = trib_keys_load(c->upstream.public_key, false, &fleet->parent_keys, NULL, err);
    if (status == TRIB_OK) status = trib_reactor_new(&fleet->reactor, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(fleet->reactor, SIGTERM, on_signal, fleet, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(fleet->reactor, SIGINT, on_signal, fleet, err);
    if (status == TRIB_OK) status = trib_timer_new(fleet->reactor, end_loop, fleet, &fleet->finish, err);
    if (status == TRIB_OK) status = trib_context_new(&fleet->context, 4 * fleet->count + 64, err);
    if (status == TRIB_OK && c->node.health[0] != 0)
        status = trib_health_new(&fleet->health, fleet->context, fleet->reactor, c->node.health,
                                 answer_health, fleet, err);
    if (status == TRIB_OK)
        status = trainer_new(&fleet->trainer, fleet->reactor, worker_count(fleet), work_trained, fleet, err);
    if (status == TRIB_OK) status = open_agents(fleet, err);
    return status;
}

enum trib_status fleet_new(struct fleet **out, const struct trib_device_config *config,
                           const struct trib_log *log, struct trib_error *err) {
    struct fleet *fleet = trib_alloc(sizeof *fleet);
    if (fleet == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for devices");
    fleet->config = config;
    fleet->log = log;
    fleet->wall_offset_ms = trib_clock_wall_ms() - trib_clock_ms();
    trib_buf_init(&fleet->task_plan, 0);
    trib_schema_init(&fleet->task.schema);
    fleet->count = (size_t)config->count;
    fleet->terms = trib_terms_cache_new();
    fleet->agents = trib_alloc_array(fleet->count, sizeof *fleet->agents);
    fleet->queue = trib_alloc_array(fleet->count, sizeof *fleet->queue);
    enum trib_status status = fleet->agents != NULL && fleet->queue != NULL
                                  ? open_all(fleet, err)
                                  : trib_fail(err, TRIB_NOMEM, "out of memory for devices");
    if (status != TRIB_OK) {
        fleet_free(&fleet);
        return status;
    }
    for (size_t i = 0; i < fleet->count; i++) agent_settle(&fleet->agents[i]);
    *out = fleet;
    return TRIB_OK;
}

enum trib_status fleet_run(struct fleet *fleet, struct trib_error *err) {
    enum trib_status status = trib_reactor_run(fleet->reactor, err);
    (void)signal(SIGTERM, SIG_IGN); /* it is ending already: one that comes now must not kill it */
    struct totals t = add_up(fleet);
    trib_log(fleet->log, TRIB_LOG_INFO, "stopped",
             "updates=%" PRIu64 " accepted=%" PRIu64 " refused=%" PRIu64 " up_bytes=%" PRIu64
             " down_bytes=%" PRIu64,
             t.updates, t.accepted, t.refused, t.up_bytes, t.down_bytes);
    if (status == TRIB_OK && fleet->failed)
        status = trib_fail(err, TRIB_NOMEM, "a device failed: see its line above");
    return status;
}

/* At a clean end verdicts and models are kept too, so that nothing is asked for again. */
static void keep_rest(struct fleet *fleet) {
    if (fleet->spooler == NULL) return;
    spooler_stop(fleet->spooler);
    struct trib_error err;
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < fleet->count && status == TRIB_OK; i++) {
        const struct agent *agent = &fleet->agents[i];
        const struct trib_state *state = agent->state;
        if (state == NULL || !state->started || state->position == agent->saved ||
            agent->outbox.failed != TRIB_OK)
            continue;
        status = spooler_write(fleet->spooler, agent->name, state, &err);
    }
    if (status == TRIB_OK) status = spooler_settle(fleet->spooler, &err);
    if (status != TRIB_OK) trib_log(fleet->log, TRIB_LOG_ERROR, "spool_failed", "error=\"%s\"", err.text);
}

void fleet_free(struct fleet **out) {
    struct fleet *fleet = *out;
    if (fleet == NULL) return;
    trainer_free(&fleet->trainer);
    keep_rest(fleet);
    for (size_t i = 0; fleet->agents != NULL && i < fleet->count; i++) agent_close(&fleet->agents[i]);
    spooler_free(&fleet->spooler);
    trib_terms_cache_free(&fleet->terms);
    trib_health_free(&fleet->health);
    trib_context_free(&fleet->context);
    trib_timer_free(&fleet->finish);
    trib_reactor_free(&fleet->reactor);
    trib_task_close(&fleet->task);
    trib_buf_release(&fleet->task_plan);
    trib_free(fleet->agents);
    trib_free(fleet->queue);
    trib_free(fleet);
    *out = NULL;
}
