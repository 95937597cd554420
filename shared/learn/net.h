/* Models that can be trained: a list of layers, their forward and backward passes in batches on OpenBLAS, and
 * the schema of their parameters.
 *
 * A net is the architecture only: immutable, shared by any number of threads. Parameters are one flat float
 * vector in the schema's order, gradients another of the same length; activations live in a workspace, one
 * for each thread. Tensors have PyTorch's names for shapes (a dense layer's weight is [out, in], a
 * convolution's [out, in, height, width]), so that a state_dict with the same names can be loaded as it is.
 *
 * A model is the name of a ready one (trib_model_rows) or "layers" with one layer spec on each line:
 *     conv(12, 5)
 *     maxpool(2)
 *     relu
 *     dense
 * The last layer has as many outputs as there are classes (`dense` alone does). A last line `mse` or
 * `cross-entropy` chooses the loss; cross-entropy of the softmax of the outputs is the default. With one
 * class the net predicts a number and the loss is mse.
 *
 * Layers are named by kind and number: conv1.weight, conv1.bias, conv2.weight, ..., fc1.weight, ... */
#ifndef TRIB_LEARN_NET_H
#define TRIB_LEARN_NET_H

#include "shared/base/option.h"
#include "shared/model/schema.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_NET_MAX_LAYERS = 64,
    TRIB_NET_MAX_CLASSES = 256,
    TRIB_NET_MAX_BATCH = 4096,
    TRIB_NET_MAX_FEATURES = 1 << 22 /* floats that one layer puts out for one sample */
};

struct trib_shape {
    size_t channels, height, width;
};

struct trib_net;
struct trib_workspace;

/* Builds a net. `layers` is used only where model is "layers" (else NULL or ""). Errors name the line, what
 * was found and what is possible. Free with trib_net_free. */
enum trib_status trib_net_new(const char *model, const char *layers, const struct trib_shape *input,
                              size_t classes, struct trib_net **out, struct trib_error *err) TRIB_MUST_USE;
void trib_net_free(struct trib_net **net);

size_t trib_net_parameters(const struct trib_net *net);
size_t trib_net_classes(const struct trib_net *net);
struct trib_shape trib_net_input(const struct trib_net *net);

/* The schema of the parameters into `out` (initialised by this; release it). In version 0 weights are uniform
 * within sqrt(1 / fan_in) and biases 0 (of 1 to 2.4 times that, with and without biases, this trained best at
 * lr 0.05, batch 10). */
enum trib_status trib_net_schema(const struct trib_net *net, struct trib_schema *out,
                                 struct trib_error *err) TRIB_MUST_USE;

/* For option tables: is this a ready model or "layers"? Are these lines layer specs? */
enum trib_status trib_net_check_model(const char *model, struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_net_check_layers(const char *layers, struct trib_error *err) TRIB_MUST_USE;

/* The memory of one thread for batches of up to `max_batch` samples (1..TRIB_NET_MAX_BATCH): activations and
 * scratch, no parameters. The net must outlive it. */
enum trib_status trib_workspace_new(const struct trib_net *net, size_t max_batch, struct trib_workspace **out,
                                    struct trib_error *err) TRIB_MUST_USE;
void trib_workspace_free(struct trib_workspace **workspace);
size_t trib_workspace_max_batch(const struct trib_workspace *workspace);

/* What a batch gave: the mean loss, and how many samples had their label as the largest output (0 where
 * numbers are predicted). */
struct trib_batch_result {
    double loss;
    size_t correct;
};

/* The gradient of the batch's mean loss into `gradient` (trib_net_parameters floats, overwritten).
 * `x`: batch samples of channels * height * width floats each, row by row; `targets`: labels below the number
 * of classes, uint8_t; or where that is 1 the numbers to be predicted, float; batch in 1..max_batch. `result`
 * may be NULL. */
void trib_net_gradient(const struct trib_net *net, struct trib_workspace *workspace, const float *parameters,
                       const float *x, const void *targets, size_t batch, float *gradient,
                       struct trib_batch_result *result);

/* One step of plain gradient descent: parameters -= lr * gradient, without the gradient in between, and so
 * faster than the two. Equal to them up to rounding. */
void trib_net_step(const struct trib_net *net, struct trib_workspace *workspace, float *parameters,
                   const float *x, const void *targets, size_t batch, float lr,
                   struct trib_batch_result *result);

/* Forward only. Returns the outputs before the loss, batch x classes floats, in the workspace: valid until
 * its next use. */
const float *trib_net_forward(const struct trib_net *net, struct trib_workspace *workspace,
                              const float *parameters, const float *x, size_t batch);

/* Forward and loss. */
void trib_net_loss(const struct trib_net *net, struct trib_workspace *workspace, const float *parameters,
                   const float *x, const void *targets, size_t batch, struct trib_batch_result *result);

/* The tables, for --help, docs and tests. */
struct trib_layer_row {
    const char *name, *summary;
    const char *example;
    const struct trib_option *params;
    size_t param_count;
};
/* Row i, losses behind the layers, or NULL behind the last. */
const struct trib_layer_row *trib_layer_row(size_t i);

struct trib_model_row {
    const char *name, *summary;
    const char *layers; /* one spec a line */
};
const struct trib_model_row *trib_model_rows(size_t *count);

#endif
