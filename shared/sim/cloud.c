/* What the cloud's program does around its role: it begins the run, has versions evaluated, ends the run. */
#include "shared/sim/internal.h"

#include <string.h>

static uint64_t hash_text(const char *text) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *text != 0; text++) hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static struct trib_text text_of(const struct trib_buf *buf) {
    return (struct trib_text){(const char *)buf->data, buf->size};
}

enum trib_status trib_sim_begin_run(struct trib_sim *sim, struct trib_error *err) {
    struct sim_node *cloud = &sim->nodes[SIM_CLOUD];
    struct trib_record record = {.kind = TRIB_REC_START};
    const char *label = sim->scenario->name;
    uint64_t name = trib_mix64(hash_text(label) ^ sim->options.seed), halves[2] = {name, trib_mix64(name)};
    trib_rec_set(&record, NOW, now_ms, trib_sim_now_ms(sim));
    trib_rec_set(&record, INCARNATION, incarnation, trib_mix64(sim->options.seed ^ 0x636c6f7564) | 1);
    trib_rec_set(&record, PLAN, plan, text_of(&sim->plan_text));
    trib_rec_set(&record, SCHEMA, schema, text_of(&sim->schema_text));
    trib_rec_set(&record, TEXT, text, ((struct trib_text){label, strlen(label)}));
    memcpy(record.run, halves, sizeof record.run);
    record.present |= (uint64_t)1 << TRIB_R_RUN;
    trib_rec_set(&record, LEDGER_FORMAT, ledger_format, (uint64_t)TRIB_CHAIN_FORMAT);
    trib_rec_set(&record, SEED, seed, sim->plan.seed);
    enum trib_status status = trib_sim_node_open(sim, SIM_CLOUD, err);
    if (status == TRIB_OK) status = trib_sim_journal_open(sim, SIM_CLOUD, err);
    if (status != TRIB_OK) return status;
    trib_sim_set_to_work(sim, SIM_CLOUD);
    if (!trib_outbox_record(&sim->outbox, cloud->state, &record))
        return trib_fail(err, sim->outbox.error.status, "the run cannot be begun: %s",
                         sim->outbox.error.text);
    if (sim->plan.stop_ms > 0) trib_sim_put(sim, sim->plan.stop_ms * 1000, SIM_TIME_UP, SIM_CLOUD, NULL);
    trib_sim_settle(sim, SIM_CLOUD);
    trib_sim_cloud_advanced(sim);
    return TRIB_OK;
}

/* ---- evaluation ---- */

static bool evaluation_due(const struct trib_sim *sim) {
    const struct trib_scenario *s = sim->scenario;
    uint64_t version = sim->nodes[SIM_CLOUD].state->version;
    if (!sim->has_task || sim->evaluation != NULL) return false;
    if (!sim->begun_evaluation) return true;
    if (version < sim->evaluating + s->evaluate.every) return false;
    return sim->now_us - sim->evaluated_us >= s->evaluate.interval_ms * 1000;
}

static bool accurate_enough(const struct trib_sim *sim) {
    return sim->plan.stop_accuracy > 0 && sim->status.evaluated &&
           sim->status.accuracy >= sim->plan.stop_accuracy;
}

/* ---- the end ---- */

static const char diverged[] = "diverged";

static const char *reason_to_stop(const struct trib_sim *sim) {
    const struct trib_state *cloud = sim->nodes[SIM_CLOUD].state;
    const struct trib_plan *plan = &sim->plan;
    uint64_t updates = sim->scenario->stop.updates;
    if (cloud->stopped || trib_sim_hopeless(sim)) return diverged; /* the role stops for nothing else */
    if (accurate_enough(sim)) return "accuracy";
    if (plan->stop_versions > 0 && cloud->version >= plan->stop_versions) return "versions";
    if (plan->stop_ms > 0 && sim->now_us >= plan->stop_ms * 1000) return "time";
    if (updates > 0 && sim->status.updates.accepted >= updates) return "updates";
    return NULL;
}

void trib_sim_finish(struct trib_sim *sim, const char *reason) {
    struct sim_node *cloud = &sim->nodes[SIM_CLOUD];
    sim->over = true;
    trib_sim_set_to_work(sim, SIM_CLOUD);
    sim->status.reason = reason;
    trib_aggregator_finish(cloud->aggregator, trib_sim_now_ms(sim), reason);
    trib_sim_settle(sim, SIM_CLOUD);
    /* The last version is measured before the end; an evaluation that is under way ends too late for it. */
    bool measured = sim->status.evaluated && sim->status.evaluated_version == cloud->state->version;
    if (sim->has_task && !measured && sim->err.status == TRIB_OK) {
        trib_sim_evaluate(sim, sim->now_us);
        trib_sim_settle(sim, SIM_CLOUD);
    }
}

enum trib_status trib_sim_diverged(const struct trib_sim *sim, struct trib_error *err) {
    if (sim->status.reason != diverged) return TRIB_OK;
    if (!trib_sim_hopeless(sim))
        return trib_fail(err, TRIB_INVALID, "the run diverged: the cloud's model is not finite any more");
    return trib_fail(err, TRIB_INVALID, "the run diverged: the last %llu trainings failed, all of them: %s",
                     (unsigned long long)sim->failures, sim->failure.text);
}

void trib_sim_cloud_advanced(struct trib_sim *sim) {
    if (sim->over || sim->err.status != TRIB_OK) return;
    if (evaluation_due(sim)) {
        trib_sim_set_to_work(sim, SIM_CLOUD);
        trib_sim_evaluate(sim, sim->now_us + sim->scenario->evaluate.delay_ms * 1000);
        trib_sim_settle(sim, SIM_CLOUD);
    }
    const char *reason = reason_to_stop(sim);
    if (reason != NULL) trib_sim_finish(sim, reason);
}
