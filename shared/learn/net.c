#include "shared/learn/net.h"

#include "shared/base/alloc.h"
#include "shared/learn/gemm.h"
#include "shared/learn/net_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- specs ---- */

/* One line of a layer list: a layer or a loss. */
struct line {
    const struct trib_layer_kind *kind; /* NULL: a loss */
    const struct trib_loss_kind *loss;
    void *config; /* owned until the net has it */
};

static void line_release(struct line *line) {
    if (line->kind != NULL && line->config != NULL)
        trib_options_release(line->kind->row.params, line->kind->row.param_count, line->config);
    trib_free(line->config);
    line->config = NULL;
}

static enum trib_status read_config(struct line *line, const char *args, size_t args_bytes,
                                    struct trib_error *err) {
    const struct trib_layer_row *row = &line->kind->row;
    if (line->kind->config_bytes == 0 && args_bytes == 0) return TRIB_OK;
    if (line->kind->config_bytes == 0)
        return trib_fail(err, TRIB_INVALID, "%s takes no parameters, found '%.*s'", row->name,
                         (int)(args_bytes < 60 ? args_bytes : 60), args);
    line->config = trib_alloc(line->kind->config_bytes);
    if (line->config == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a layer");
    enum trib_status status = trib_options_defaults(row->params, row->param_count, line->config, err);
    if (status == TRIB_OK)
        status =
            trib_options_args(row->params, row->param_count, line->config, args, args_bytes, row->name, err);
    if (status != TRIB_OK) line_release(line);
    return status;
}

static enum trib_status read_line(struct line *line, const char *text, size_t bytes, struct trib_error *err) {
    const char *name, *args;
    size_t name_bytes, args_bytes;
    *line = (struct line){.kind = NULL};
    enum trib_status status = trib_spec_split(text, bytes, &name, &name_bytes, &args, &args_bytes, err);
    if (status != TRIB_OK) return status;
    line->kind = trib_layer_find(name, name_bytes);
    if (line->kind != NULL) return read_config(line, args, args_bytes, err);
    line->loss = trib_loss_find(name, name_bytes);
    if (line->loss == NULL) return trib_layer_unknown(name, name_bytes, err);
    if (args_bytes > 0) return trib_fail(err, TRIB_INVALID, "%s takes no parameters", line->loss->row.name);
    return TRIB_OK;
}

/* The lines of a list, blank ones left out. */
struct cursor {
    const char *rest;
    size_t number; /* of the line last taken, from 1 */
    const char *text;
    size_t bytes;
};

static bool next_line(struct cursor *cursor) {
    while (*cursor->rest != '\0') {
        const char *end = strchr(cursor->rest, '\n');
        size_t bytes = end != NULL ? (size_t)(end - cursor->rest) : strlen(cursor->rest);
        cursor->text = cursor->rest;
        cursor->rest += bytes + (end != NULL);
        cursor->number++;
        cursor->bytes = bytes;
        if (strspn(cursor->text, " \t\r") < bytes) return true;
    }
    return false;
}

/* Puts the line before the error that it caused. */
static enum trib_status at_line(const struct cursor *cursor, enum trib_status status,
                                struct trib_error *err) {
    if (err == NULL || status == TRIB_NOMEM) return status;
    struct trib_error cause = *err;
    return trib_fail(err, status, "layer %zu, '%.*s': %.380s", cursor->number,
                     (int)(cursor->bytes < 60 ? cursor->bytes : 60), cursor->text, cause.text);
}

/* ---- building ---- */

/* Appends a layer after those there are; takes over `config` on success. */
static enum trib_status append(struct trib_net *net, const struct trib_layer_kind *kind, void *config,
                               struct trib_error *err) {
    TRIB_ASSERT(net->layer_count < MAX_PLANNED);
    struct trib_layer *layer = &net->layers[net->layer_count];
    const struct trib_layer *before = net->layer_count > 0 ? layer - 1 : NULL;
    *layer = (struct trib_layer){.kind = kind,
                                 .config = config,
                                 .in = before != NULL ? before->out : net->input,
                                 .in_layout = before != NULL ? before->out_layout : TRIB_ROWS,
                                 .classes = net->classes};
    enum trib_status status = kind->plan(layer, err);
    if (status != TRIB_OK) return status;
    struct trib_shape out = layer->out;
    if (out.channels > TRIB_NET_MAX_FEATURES / out.height / out.width ||
        layer->keep_each > 32 * (size_t)TRIB_NET_MAX_FEATURES)
        return trib_fail(err, TRIB_LIMIT, "it puts out %zux%zux%zu values a sample; the limit is %d",
                         out.channels, out.height, out.width, TRIB_NET_MAX_FEATURES);
    net->layer_count++;
    return TRIB_OK;
}

static enum trib_status flatten(struct trib_net *net, struct trib_error *err) {
    if (net->layer_count == 0 || net->layers[net->layer_count - 1].out_layout == TRIB_ROWS) return TRIB_OK;
    return append(net, &trib_layer_flatten, NULL, err);
}

static enum trib_status add_line(struct trib_net *net, struct line *line, struct trib_error *err) {
    if (line->kind == NULL) {
        net->loss = line->loss;
        return TRIB_OK;
    }
    if (net->layer_count >= 2 * TRIB_NET_MAX_LAYERS - 1)
        return trib_fail(err, TRIB_LIMIT, "more than %d layers", TRIB_NET_MAX_LAYERS);
    enum trib_status status = line->kind->rows_only ? flatten(net, err) : TRIB_OK;
    if (status == TRIB_OK) status = append(net, line->kind, line->config, err);
    if (status == TRIB_OK) line->config = NULL;
    return status;
}

static enum trib_status add_lines(struct trib_net *net, const char *layers, struct trib_error *err) {
    struct cursor cursor = {.rest = layers};
    while (next_line(&cursor)) {
        struct line line;
        if (net->loss != NULL)
            return at_line(&cursor, trib_fail(err, TRIB_INVALID, "there is a line behind the loss"), err);
        enum trib_status status = read_line(&line, cursor.text, cursor.bytes, err);
        if (status != TRIB_OK) return at_line(&cursor, status, err);
        status = add_line(net, &line, err);
        line_release(&line);
        if (status != TRIB_OK) return at_line(&cursor, status, err);
    }
    return flatten(net, err);
}

/* Names the layers with parameters and gives them their places in the flat vector: weight, then bias. */
static void number(struct trib_net *net) {
    net->first_trained = net->layer_count;
    for (size_t i = 0; i < net->layer_count; i++) {
        struct trib_layer *layer = &net->layers[i];
        if (layer->weight_rank == 0) continue;
        if (net->first_trained == net->layer_count) net->first_trained = i;
        size_t same = 1;
        for (size_t j = 0; j < i; j++) same += net->layers[j].kind == layer->kind;
        (void)snprintf(layer->name, sizeof layer->name, "%s%zu", layer->kind->prefix, same);
        layer->weight_count = 1;
        for (size_t d = 0; d < layer->weight_rank; d++) layer->weight_count *= layer->weight_dims[d];
        layer->weight_offset = net->parameters;
        layer->bias_offset = net->parameters + layer->weight_count;
        net->parameters = layer->bias_offset + layer->bias_count;
    }
}

static enum trib_status finish(struct trib_net *net, struct trib_error *err) {
    if (net->loss == NULL) net->loss = net->classes > 1 ? &trib_loss_cross_entropy : &trib_loss_mse;
    if (net->classes == 1 && net->loss != &trib_loss_mse)
        return trib_fail(err, TRIB_INVALID, "%s is for classes, and a number is to be predicted; take mse",
                         net->loss->row.name);
    number(net);
    if (net->parameters == 0)
        return trib_fail(err, TRIB_INVALID, "the list has no layer that learns; add at least 'dense'");
    size_t outputs = trib_shape_count(&net->layers[net->layer_count - 1].out);
    if (outputs != net->classes)
        return trib_fail(
            err, TRIB_INVALID,
            "the last layer has %zu outputs and there are %zu classes; end the list with 'dense'", outputs,
            net->classes);
    if (net->parameters > TRIB_SCHEMA_MAX_PARAMETERS)
        return trib_fail(err, TRIB_LIMIT, "%zu parameters; the limit is %zu", net->parameters,
                         TRIB_SCHEMA_MAX_PARAMETERS);
    return TRIB_OK;
}

static const struct trib_model_row *find_model(const char *name) {
    size_t count;
    const struct trib_model_row *rows = trib_model_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

/* The layer list of a model: a ready one's, or `layers`. */
static enum trib_status layers_of(const char *model, const char *layers, const char **out,
                                  struct trib_error *err) {
    if (strcmp(model, "layers") == 0) {
        if (layers == NULL || *layers == '\0')
            return trib_fail(err, TRIB_INVALID, "model is 'layers' and the list of layers is empty");
        *out = layers;
        return TRIB_OK;
    }
    const struct trib_model_row *row = find_model(model);
    *out = row != NULL ? row->layers : NULL;
    return row != NULL ? TRIB_OK : trib_net_check_model(model, err);
}

static enum trib_status check_input(const struct trib_shape *input, size_t classes, struct trib_error *err) {
    if (input->channels == 0 || input->height == 0 || input->width == 0 || input->height > 4096 ||
        input->width > 4096 || input->channels > TRIB_NET_MAX_FEATURES / input->height / input->width)
        return trib_fail(err, TRIB_INVALID, "an input of %zux%zux%zu values; 1 to %d are possible",
                         input->channels, input->height, input->width, TRIB_NET_MAX_FEATURES);
    if (classes < 1 || classes > TRIB_NET_MAX_CLASSES)
        return trib_fail(err, TRIB_INVALID, "%zu classes; 2 to %d are possible, or 1 to predict a number",
                         classes, TRIB_NET_MAX_CLASSES);
    return TRIB_OK;
}

enum trib_status trib_net_new(const char *model, const char *layers, const struct trib_shape *input,
                              size_t classes, struct trib_net **out, struct trib_error *err) {
    const char *list;
    enum trib_status status = check_input(input, classes, err);
    if (status == TRIB_OK) status = layers_of(model, layers, &list, err);
    if (status != TRIB_OK) return status;
    struct trib_net *net = trib_alloc(sizeof *net);
    if (net == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a model");
    net->input = *input;
    net->classes = classes;
    net->loops = trib_loops();
    net->small = trib_gemm_small();
    status = add_lines(net, list, err);
    if (status == TRIB_OK) status = finish(net, err);
    if (status != TRIB_OK) {
        trib_net_free(&net);
        return status;
    }
    *out = net;
    return TRIB_OK;
}

void trib_net_free(struct trib_net **net) {
    struct trib_net *n = *net;
    *net = NULL;
    if (n == NULL) return;
    for (size_t i = 0; i < n->layer_count; i++) {
        struct line line = {.kind = n->layers[i].kind, .config = n->layers[i].config};
        line_release(&line);
    }
    trib_free(n);
}

/* ---- what it is ---- */

size_t trib_net_parameters(const struct trib_net *net) {
    return net->parameters;
}

size_t trib_net_classes(const struct trib_net *net) {
    return net->classes;
}

struct trib_shape trib_net_input(const struct trib_net *net) {
    return net->input;
}

static enum trib_status add_tensors(const struct trib_layer *layer, struct trib_schema *out,
                                    struct trib_error *err) {
    char name[sizeof layer->name + 8];
    float bound = sqrtf(1.0f / (float)layer->fan_in);
    (void)snprintf(name, sizeof name, "%s.weight", layer->name);
    enum trib_status status = trib_schema_add(out, name, layer->weight_dims, layer->weight_rank, bound, err);
    if (status != TRIB_OK) return status;
    if (layer->bias_count == 0) return TRIB_OK;
    (void)snprintf(name, sizeof name, "%s.bias", layer->name);
    return trib_schema_add(out, name, &layer->bias_count, 1, 0.0f, err);
}

enum trib_status trib_net_schema(const struct trib_net *net, struct trib_schema *out,
                                 struct trib_error *err) {
    trib_schema_init(out);
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < net->layer_count && status == TRIB_OK; i++)
        if (net->layers[i].weight_rank > 0) status = add_tensors(&net->layers[i], out, err);
    if (status == TRIB_OK) status = trib_schema_finish(out, err);
    if (status != TRIB_OK) trib_schema_release(out);
    return status;
}

/* ---- checks for option tables ---- */

enum trib_status trib_net_check_model(const char *model, struct trib_error *err) {
    if (strcmp(model, "layers") == 0 || find_model(model) != NULL) return TRIB_OK;
    size_t count, used = 0;
    const struct trib_model_row *rows = trib_model_rows(&count);
    char names[200] = "";
    for (size_t i = 0; i < count && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s, ", rows[i].name);
    return trib_fail(err, TRIB_INVALID, "unknown model '%.60s'; there are %sand layers (a list of your own)",
                     model, names);
}

enum trib_status trib_net_check_layers(const char *layers, struct trib_error *err) {
    struct cursor cursor = {.rest = layers};
    while (next_line(&cursor)) {
        struct line line;
        enum trib_status status = read_line(&line, cursor.text, cursor.bytes, err);
        if (status != TRIB_OK) return at_line(&cursor, status, err);
        line_release(&line);
    }
    return TRIB_OK;
}
