/* The losses, on the outputs [n][classes] of a net. */
#include "shared/learn/layer.h"

#include <math.h>

/* -log softmax(out)[label]; gradient (softmax - onehot) / n. */
static double cross_entropy(const float *out, const void *targets, size_t n, size_t classes, float *d_out) {
    const uint8_t *labels = targets;
    double sum = 0.0;
    for (size_t r = 0; r < n; r++, out += classes) {
        float most = out[0];
        for (size_t i = 1; i < classes; i++) most = out[i] > most ? out[i] : most;
        float total = 0.0f, e[TRIB_NET_MAX_CLASSES];
        for (size_t i = 0; i < classes; i++) {
            e[i] = expf(out[i] - most);
            total += e[i];
        }
        sum += (double)logf(total) - (double)(out[labels[r]] - most);
        if (d_out == NULL) continue;
        float factor = 1.0f / (total * (float)n);
        for (size_t i = 0; i < classes; i++) d_out[r * classes + i] = e[i] * factor;
        d_out[r * classes + labels[r]] -= 1.0f / (float)n;
    }
    return sum;
}

/* (out - value)^2; gradient 2 (out - value) / n. */
static double error_of_values(const float *out, const float *values, size_t n, float *d_out) {
    double sum = 0.0;
    for (size_t r = 0; r < n; r++) {
        float miss = out[r] - values[r];
        sum += (double)miss * (double)miss;
        if (d_out != NULL) d_out[r] = 2.0f / (float)n * miss;
    }
    return sum;
}

/* Mean over the classes of (out - onehot)^2; gradient 2 (out - onehot) / (n classes). */
static double squared_error(const float *out, const void *targets, size_t n, size_t classes, float *d_out) {
    if (classes == 1) return error_of_values(out, targets, n, d_out);
    const uint8_t *labels = targets;
    double sum = 0.0;
    float factor = 2.0f / (float)(n * classes);
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < classes; i++) {
            size_t at = r * classes + i;
            float miss = out[at] - (i == labels[r] ? 1.0f : 0.0f);
            sum += (double)miss * (double)miss;
            if (d_out != NULL) d_out[at] = factor * miss;
        }
    return sum / (double)classes;
}

const struct trib_loss_kind trib_loss_cross_entropy = {
    .row = {.name = "cross-entropy",
            .summary = "loss: cross-entropy of the softmax of the outputs (the default)",
            .example = "cross-entropy"},
    .apply = cross_entropy,
};

const struct trib_loss_kind trib_loss_mse = {
    .row = {.name = "mse",
            .summary = "loss: mean squared error against 1 for the label and 0 for the others, or against a "
                       "number (regression)",
            .example = "mse"},
    .apply = squared_error,
};
