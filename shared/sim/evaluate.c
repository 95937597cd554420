/* Evaluation: a version's accuracy on held-out data, in pieces that the workers share. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"

#include <string.h>

enum { PIECE = 1000 }; /* samples */

static void evaluate_piece(struct trib_sim_task *task, size_t worker) {
    struct sim_piece *piece = (struct sim_piece *)task;
    const struct sim_evaluation *e = piece->evaluation;
    const struct trib_sim *sim = e->sim;
    piece->status = trib_evaluate_part(sim->task.net, sim->workers[worker].evaluating, sim->task.dataset,
                                       e->parameters, sim->measured, piece->from, piece->count,
                                       &piece->loss_sum, &piece->correct, &piece->err);
}

static void evaluate_gradient(struct trib_sim_task *task, size_t worker) {
    struct sim_gradient *gradient = (struct sim_gradient *)task;
    const struct sim_evaluation *e = gradient->evaluation;
    const struct trib_sim *sim = e->sim;
    gradient->status = trib_evaluate_gradient(
        sim->task.net, sim->workers[worker].evaluating, sim->task.dataset, e->parameters,
        sim->scenario->evaluate.max_samples, gradient->values, NULL, &gradient->err);
}

static bool counts(const struct trib_scenario *scenario, uint8_t label) {
    uint64_t class;
    for (size_t i = 0; trib_scenario_class(scenario, i, &class); i++)
        if (class == label) return true;
    return false;
}

enum trib_status trib_sim_choose_measured(struct trib_sim *sim, struct trib_error *err) {
    uint64_t class;
    if (!sim->has_task || !trib_scenario_class(sim->scenario, 0, &class)) return TRIB_OK;
    const struct trib_split *test = trib_dataset_test(sim->task.dataset);
    if (test->labels == NULL)
        return trib_fail(err, TRIB_INVALID, "evaluate.classes is given and the data set has no classes");
    sim->measured = trib_alloc_array(test->count, sizeof *sim->measured);
    if (sim->measured == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for evaluations");
    for (size_t i = 0; i < test->count; i++)
        if (counts(sim->scenario, test->labels[i])) sim->measured[sim->measured_count++] = (uint32_t)i;
    if (sim->measured_count > 0) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "evaluate.classes names no class that held-out samples have");
}

static struct sim_evaluation *new_evaluation(struct trib_sim *sim) {
    size_t samples =
        sim->measured != NULL ? sim->measured_count : trib_dataset_test(sim->task.dataset)->count;
    uint64_t most = sim->scenario->evaluate.max_samples;
    if (most > 0 && most < samples) samples = (size_t)most;
    size_t pieces = (samples + PIECE - 1) / PIECE;
    struct sim_evaluation *e = trib_alloc(sizeof *e + pieces * sizeof e->pieces[0]);
    if (e == NULL) return NULL;
    e->sim = sim;
    e->samples = samples;
    e->parameters = trib_alloc_floats(sim->parameters);
    if (e->parameters == NULL) {
        trib_free(e);
        return NULL;
    }
    const struct trib_state *cloud = sim->nodes[SIM_CLOUD].state;
    e->version = cloud->version;
    memcpy(e->parameters, cloud->own, sim->parameters * sizeof *e->parameters);
    trib_task_round(&sim->task, e->parameters);
    return e;
}

static void put_pieces(struct trib_sim *sim, struct sim_evaluation *e, uint64_t needed_us) {
    for (size_t from = 0; from < e->samples; from += PIECE) {
        struct sim_piece *piece = &e->pieces[e->piece_count];
        piece->task = (struct trib_sim_task){.needed_us = needed_us, .run = evaluate_piece};
        piece->evaluation = e;
        piece->from = from;
        piece->count = e->samples - from < PIECE ? e->samples - from : PIECE;
        struct trib_error err;
        if (trib_sim_pool_put(sim->pool, &piece->task, &err) != TRIB_OK) {
            trib_sim_fail(sim, &err);
            return;
        }
        e->piece_count++;
    }
}

/* It is not kept (resume.c): it is as large as the model, and needs no longer than a few updates. */
static void put_gradient(struct trib_sim *sim, struct sim_evaluation *e, uint64_t needed_us) {
    struct trib_error err;
    if (!trib_aggregator_wants_gradient(sim->nodes[SIM_CLOUD].aggregator)) return;
    e->gradient.task = (struct trib_sim_task){.needed_us = needed_us, .run = evaluate_gradient};
    e->gradient.evaluation = e;
    e->gradient.values = trib_alloc_floats(trib_net_parameters(sim->task.net));
    if (e->gradient.values == NULL)
        trib_sim_out_of_memory(sim);
    else if (trib_sim_pool_put(sim->pool, &e->gradient.task, &err) != TRIB_OK)
        trib_sim_fail(sim, &err);
}

void trib_sim_evaluate(struct trib_sim *sim, uint64_t needed_us) {
    struct sim_evaluation *e = new_evaluation(sim);
    if (e == NULL) {
        trib_sim_out_of_memory(sim);
        return;
    }
    e->number = sim->evaluations++;
    e->kept = trib_sim_has_kept(sim, TRIB_KEPT_EVALUATION, e->number);
    sim->evaluation = e;
    sim->begun_evaluation = true;
    sim->evaluating = e->version;
    sim->evaluated_us = sim->now_us;
    if (!e->kept) put_pieces(sim, e, needed_us);
    put_gradient(sim, e, needed_us);
    if (needed_us == sim->now_us)
        trib_sim_evaluated(sim, e);
    else
        trib_sim_put(sim, needed_us, SIM_EVALUATED, SIM_CLOUD, e);
}

void trib_sim_evaluation_free(struct sim_evaluation *e) {
    if (e == NULL) return;
    for (size_t i = 0; i < e->piece_count; i++) trib_sim_pool_cancel(e->sim->pool, &e->pieces[i].task);
    if (e->gradient.values != NULL) trib_sim_pool_cancel(e->sim->pool, &e->gradient.task);
    trib_free(e->gradient.values);
    trib_free(e->parameters);
    trib_free(e);
}

static void take_gradient(struct trib_sim *sim, struct sim_evaluation *e) {
    if (e->gradient.values == NULL) return;
    trib_sim_pool_wait(sim->pool, &e->gradient.task);
    if (e->gradient.status == TRIB_OK)
        trib_aggregator_gradient(sim->nodes[SIM_CLOUD].aggregator, e->gradient.values);
    else if (e->gradient.status == TRIB_NOMEM)
        trib_sim_fail(sim, &e->gradient.err);
}

static void measure(struct trib_sim *sim, struct sim_evaluation *e, double *out, double *accuracy) {
    double loss = 0;
    size_t correct = 0;
    for (size_t i = 0; i < e->piece_count; i++) {
        struct sim_piece *piece = &e->pieces[i];
        trib_sim_pool_wait(sim->pool, &piece->task);
        if (piece->status != TRIB_OK) trib_sim_fail(sim, &piece->err);
        loss += piece->loss_sum;
        correct += piece->correct;
    }
    loss /= (double)e->samples;
    const struct trib_dataset *data = sim->task.dataset;
    *out = loss;
    *accuracy = trib_dataset_accuracy(data, trib_dataset_test(data), loss, correct, e->samples);
    trib_sim_keep_evaluation(sim, e, *out, *accuracy);
}

void trib_sim_evaluated(struct trib_sim *sim, struct sim_evaluation *e) {
    double loss = 0, accuracy = 0;
    struct trib_error err;
    if (!e->kept)
        measure(sim, e, &loss, &accuracy);
    else if (trib_sim_take_evaluation(sim, e, &loss, &accuracy, &err) != TRIB_OK)
        trib_sim_fail(sim, &err);
    struct trib_sim_status *status = &sim->status;
    status->evaluated = true;
    status->evaluations++;
    status->evaluated_version = e->version;
    status->accuracy = accuracy;
    status->loss = loss;
    if (accuracy > status->best_accuracy) status->best_accuracy = accuracy;
    trib_aggregator_evaluated(sim->nodes[SIM_CLOUD].aggregator, trib_sim_now_ms(sim), e->version, (float)loss,
                              (float)accuracy, e->samples, sim->scenario->evaluate.delay_ms);
    take_gradient(sim, e);
    sim->evaluation = NULL;
    trib_sim_evaluation_free(e);
}
