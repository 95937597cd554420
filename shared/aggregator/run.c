/* What a cloud's program says of its run: evaluations, the gradient of the held-out loss, a rollback, the
 * end. */
#include "shared/aggregator/internal.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void trib_aggregator_evaluated(struct trib_aggregator *a, uint64_t now_ms, uint64_t version, float loss,
                               float accuracy, uint64_t samples, uint64_t duration_ms) {
    a->now_ms = now_ms;
    a->evaluated_version = version;
    a->evaluated_accuracy = accuracy;
    struct trib_record record = {.kind = TRIB_REC_EVALUATION};
    trib_rec_set(&record, VERSION, version, version);
    trib_rec_set(&record, LOSS, loss, loss);
    trib_rec_set(&record, ACCURACY, accuracy, accuracy);
    trib_rec_set(&record, EVAL_SAMPLES, eval_samples, samples);
    trib_rec_set(&record, DURATION_MS, duration_ms, duration_ms);
    (void)trib_aggregator_record(a, &record);
}

bool trib_aggregator_wants_gradient(const struct trib_aggregator *a) {
    const struct trib_state *s = a->state;
    return s->role == TRIB_ROLE_CLOUD && s->started && !s->stopped && trib_rule_needs_effect(s->rule);
}

void trib_aggregator_gradient(struct trib_aggregator *a, const float *gradient) {
    size_t n = a->state->schema.model_parameters;
    if (a->gradient == NULL) a->gradient = trib_alloc_floats(n);
    if (a->gradient == NULL) return;
    memcpy(a->gradient, gradient, n * sizeof *gradient);
    a->gradient_norm = sqrt(trib_kernels()->sum_squares(gradient, n));
}

bool trib_aggregator_rollback(struct trib_aggregator *a, uint64_t now_ms, uint64_t version,
                              struct trib_blob *model) {
    const struct trib_state *s = a->state;
    a->now_ms = now_ms;
    if (s->role != TRIB_ROLE_CLOUD || !s->started || s->stopped || version >= s->version ||
        (trib_blob_size(model) != trib_state_parameters(s) * sizeof(float) &&
         trib_blob_size(model) != trib_state_rollback_bytes(s)))
        return false;
    struct trib_record record = {.kind = TRIB_REC_ROLLBACK, .payload = model};
    trib_rec_set(&record, VERSION, version, s->version + 1);
    trib_rec_set(&record, FROM, from_version, version);
    if (!trib_aggregator_record(a, &record)) return false;
    trib_aggregator_event(a, TRIB_LOG_WARN, "rollback", "version=%" PRIu64 " from=%" PRIu64, s->version,
                          version);
    return true;
}

void trib_aggregator_finish(struct trib_aggregator *a, uint64_t now_ms, const char *reason) {
    a->now_ms = now_ms;
    if (!a->state->stopped) {
        trib_cohort_tell(a);
        struct trib_record record = {.kind = TRIB_REC_STOP};
        trib_rec_set(&record, TEXT, text, ((struct trib_text){reason, strlen(reason)}));
        if (!trib_aggregator_record(a, &record)) return;
    }
    trib_aggregator_goodbye(a, now_ms, TRIB_BYE_FINISHED);
}
