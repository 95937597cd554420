#include "shared/codec/ladder.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"

#include <string.h>

/* What stands between the bounds, where it is larger than the one and smaller than the other. A rung's place
 * is sent: who changes the list breaks protocol version 2. */
static const char *const steps[] = {
    "topk(0.01)+1bit+rice", "topk(0.05)+int4+rice", "rotate+1bit", "rotate+2bit",
    "rotate+3bit",          "rotate+4bit",          "int8",        "bf16"};
enum { STEPS = sizeof steps / sizeof *steps, ANY_MODEL = 1 << 20 };
_Static_assert(STEPS + 2 <= TRIB_LADDER_MAX, "a rung for each step and the bounds");

struct bounds {
    char *min, *max;
    double seconds, loss;
};

static const struct trib_option params[] = {
    {.name = "min",
     .type = TRIB_OPT_STRING,
     .offset = offsetof(struct bounds, min),
     .fallback = "rotate+1bit",
     .check = trib_codec_check_spec,
     .help = "The codec of the fewest bytes."},
    {.name = "max",
     .type = TRIB_OPT_STRING,
     .offset = offsetof(struct bounds, max),
     .fallback = "int8",
     .check = trib_codec_check_spec,
     .help = "The codec of the most bytes."},
    {.name = "seconds",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct bounds, seconds),
     .fallback = "1",
     .min = 0.001,
     .max = 86400,
     .help = "How long an update may be on the line."},
    {.name = "loss",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct bounds, loss),
     .fallback = "0.05",
     .min = 0,
     .max = 1,
     .help = "The part of an update's energy that may be lost (and is fed back) if that saves bytes."},
};
enum { PARAMS = sizeof params / sizeof *params };

struct trib_ladder {
    double seconds, loss;
    size_t count;
    struct trib_codec *rungs[TRIB_LADDER_MAX];
    size_t bytes[TRIB_LADDER_MAX];
};

const struct trib_option *trib_ladder_params(size_t *count) {
    *count = PARAMS;
    return params;
}

/* ---- specs ---- */

static enum trib_status add(struct trib_ladder *ladder, const char *spec, const struct trib_schema *schema,
                            struct trib_error *err) {
    struct trib_codec *codec = NULL;
    enum trib_status status = trib_codec_new_for(spec, schema, &codec, err);
    if (status != TRIB_OK) return status;
    ladder->rungs[ladder->count] = codec;
    ladder->bytes[ladder->count++] =
        trib_codec_max_bytes(codec, schema != NULL ? schema->parameters : ANY_MODEL);
    return TRIB_OK;
}

/* The upper bound goes in as the second rung, and leaves its place to each step that is below it. */
static enum trib_status add_steps(struct trib_ladder *ladder, const struct trib_schema *schema,
                                  struct trib_error *err) {
    for (size_t i = 0; i < STEPS; i++) {
        const size_t n = ladder->count;
        enum trib_status status = add(ladder, steps[i], schema, err);
        if (status != TRIB_OK) return status;
        struct trib_codec *step = ladder->rungs[n], *top = ladder->rungs[n - 1];
        const size_t bytes = ladder->bytes[n], top_bytes = ladder->bytes[n - 1];
        if (bytes <= ladder->bytes[n - 2] || bytes >= top_bytes) {
            ladder->count--;
            trib_codec_free(&ladder->rungs[n]);
            continue;
        }
        ladder->rungs[n - 1] = step;
        ladder->bytes[n - 1] = bytes;
        ladder->rungs[n] = top;
        ladder->bytes[n] = top_bytes;
    }
    return TRIB_OK;
}

static enum trib_status build(struct trib_ladder *ladder, const struct bounds *bounds,
                              const struct trib_schema *schema, struct trib_error *err) {
    ladder->seconds = bounds->seconds;
    ladder->loss = bounds->loss;
    enum trib_status status = add(ladder, bounds->min, schema, err);
    if (status == TRIB_OK) status = add(ladder, bounds->max, schema, err);
    if (status == TRIB_OK && ladder->bytes[0] >= ladder->bytes[1])
        status =
            trib_fail(err, TRIB_INVALID, "auto: min=%s is not smaller than max=%s", bounds->min, bounds->max);
    return status == TRIB_OK ? add_steps(ladder, schema, err) : status;
}

static enum trib_status read_auto(struct trib_ladder *ladder, const char *args, size_t bytes,
                                  const struct trib_schema *schema, struct trib_error *err) {
    struct bounds bounds = {0};
    enum trib_status status = trib_options_defaults(params, PARAMS, &bounds, err);
    if (status == TRIB_OK) status = trib_options_args(params, PARAMS, &bounds, args, bytes, "auto", err);
    if (status == TRIB_OK) status = build(ladder, &bounds, schema, err);
    trib_options_release(params, PARAMS, &bounds);
    return status;
}

/* Is it auto(...)? */
static bool is_auto(const char *spec, const char **args, size_t *args_bytes) {
    const char *name;
    size_t name_bytes;
    return trib_spec_split(spec, strlen(spec), &name, &name_bytes, args, args_bytes, NULL) == TRIB_OK &&
           name_bytes == strlen("auto") && memcmp(name, "auto", name_bytes) == 0;
}

enum trib_status trib_ladder_new(const char *spec, const struct trib_schema *schema, struct trib_ladder **out,
                                 struct trib_error *err) {
    struct trib_ladder *ladder = trib_alloc(sizeof *ladder);
    const char *args;
    size_t bytes;
    if (ladder == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    enum trib_status status = is_auto(spec, &args, &bytes) ? read_auto(ladder, args, bytes, schema, err)
                                                           : add(ladder, spec, schema, err);
    if (status == TRIB_OK)
        *out = ladder;
    else
        trib_ladder_free(&ladder);
    return status;
}

void trib_ladder_free(struct trib_ladder **ladder) {
    if (*ladder == NULL) return;
    for (size_t i = 0; i < (*ladder)->count; i++) trib_codec_free(&(*ladder)->rungs[i]);
    trib_free(*ladder);
    *ladder = NULL;
}

enum trib_status trib_ladder_check_spec(const char *spec, struct trib_error *err) {
    const char *args;
    size_t bytes;
    if (!is_auto(spec, &args, &bytes)) return trib_codec_check_spec(spec, err);
    struct trib_ladder *ladder = NULL;
    struct trib_error inner = {.status = TRIB_OK};
    enum trib_status status = trib_ladder_new(spec, NULL, &ladder, &inner);
    trib_ladder_free(&ladder);
    if (status == TRIB_OK || status == TRIB_UNSUPPORTED) return TRIB_OK; /* that, the model will say */
    return trib_fail(err, status, "%s", inner.text);
}

size_t trib_ladder_count(const struct trib_ladder *ladder) {
    return ladder->count;
}

const struct trib_codec *trib_ladder_codec(const struct trib_ladder *ladder, size_t rung) {
    TRIB_ASSERT(rung < ladder->count);
    return ladder->rungs[rung];
}

const struct trib_codec *trib_ladder_top(const struct trib_ladder *ladder) {
    return ladder->rungs[ladder->count - 1];
}

size_t trib_ladder_find(const struct trib_ladder *ladder, const char *spec, size_t bytes) {
    for (size_t i = 0; i < ladder->count; i++) {
        const char *name = trib_codec_spec(ladder->rungs[i]);
        if (strlen(name) == bytes && memcmp(name, spec, bytes) == 0) return i;
    }
    return SIZE_MAX;
}

/* ---- the choice ---- */

static bool is_admitted(const struct trib_ladder *l, const struct trib_ladder_line *line, size_t rung) {
    double seconds = l->seconds;
    if (line->bytes_per_s <= 0) return rung == 0;
    if (line->before != SIZE_MAX && rung == line->before) seconds *= 4.0 / 3;
    if (line->before != SIZE_MAX && rung > line->before) seconds *= 3.0 / 4;
    return (double)l->bytes[rung] * (1 + (double)line->waiting) <= line->bytes_per_s * seconds;
}

static bool keeps_enough(const struct trib_ladder *l, const struct trib_ladder_line *line, size_t rung,
                         double lost) {
    double most = l->loss;
    if (line->before != SIZE_MAX && rung == line->before) most *= 5.0 / 4;
    if (line->before != SIZE_MAX && rung < line->before) most *= 4.0 / 5;
    return lost <= most;
}

const char *trib_choice_name(uint64_t choice) {
    static const char *const names[TRIB_CHOICE_COUNT] = {
        [TRIB_CHOICE_ONLY] = "only",     [TRIB_CHOICE_ENERGY] = "energy",
        [TRIB_CHOICE_STEADY] = "steady", [TRIB_CHOICE_BANDWIDTH] = "bandwidth",
        [TRIB_CHOICE_QUEUE] = "queue",   [TRIB_CHOICE_UNMEASURED] = "unmeasured",
        [TRIB_CHOICE_MAX] = "max",
    };
    return choice < TRIB_CHOICE_COUNT ? names[choice] : "?";
}

/* What keeps the rung above this one away. */
static enum trib_choice held_back(const struct trib_ladder *l, const struct trib_ladder_line *line,
                                  size_t rung) {
    struct trib_ladder_line idle = *line;
    idle.waiting = 0;
    if (rung + 1 == l->count) return TRIB_CHOICE_MAX;
    if (line->bytes_per_s <= 0) return TRIB_CHOICE_UNMEASURED;
    return line->waiting > 0 && is_admitted(l, &idle, rung + 1) ? TRIB_CHOICE_QUEUE : TRIB_CHOICE_BANDWIDTH;
}

/* The part of the source's energy that its encoding does not carry. */
static enum trib_status measure_loss(const struct trib_codec *codec, const struct trib_source *source,
                                     const struct trib_blob *blob, double *lost, struct trib_error *err) {
    float room[TRIB_CODEC_BLOCK], left[TRIB_CODEC_BLOCK];
    struct trib_decoder decoder;
    struct trib_plain plain;
    double all = 0.0, missed = 0.0;
    enum trib_status status =
        trib_plain_open(codec, trib_blob_data(blob), trib_blob_size(blob), source->count, &plain, err);
    if (status != TRIB_OK) return status;
    trib_decoder_start(&decoder, codec, plain.data, plain.bytes, source->count);
    for (size_t at = 0, n; at < source->count; at += n) {
        n = source->count - at < TRIB_CODEC_BLOCK ? source->count - at : TRIB_CODEC_BLOCK;
        source->read(source->ctx, at, n, room);
        memcpy(left, room, n * sizeof *left);
        trib_decoder_add(&decoder, n, -1.0F, left);
        all += trib_kernels()->sum_squares(room, n);
        missed += trib_kernels()->sum_squares(left, n);
    }
    trib_plain_release(&plain);
    *lost = all > 0.0 ? missed / all : 0.0;
    return TRIB_OK;
}

/* Tries one; what it gives takes the place of *out if it is to be taken, which is a reason, or loses less. */
static enum trib_status try_rung(const struct trib_ladder *l, const struct trib_ladder_line *line,
                                 size_t rung, const struct trib_source *source, struct trib_blob **out,
                                 struct trib_ladder_choice *choice, struct trib_error *err) {
    struct trib_blob *blob = NULL;
    double lost = 0.0;
    enum trib_status status = trib_codec_encode(l->rungs[rung], source, &blob, err);
    if (status == TRIB_OK) status = measure_loss(l->rungs[rung], source, blob, &lost, err);
    const bool enough = keeps_enough(l, line, rung, lost);
    if (status != TRIB_OK || (!enough && *out != NULL && lost >= choice->lost)) {
        trib_blob_unref(&blob);
        return status;
    }
    trib_blob_unref(out);
    *out = blob;
    choice->rung = rung;
    choice->lost = lost;
    choice->reason = !enough ? TRIB_CHOICE_ONLY : lost <= l->loss ? TRIB_CHOICE_ENERGY : TRIB_CHOICE_STEADY;
    return TRIB_OK;
}

enum trib_status trib_ladder_encode(const struct trib_ladder *ladder, const struct trib_ladder_line *line,
                                    const struct trib_source *source, struct trib_blob **out,
                                    struct trib_ladder_choice *choice, struct trib_error *err) {
    *choice = (struct trib_ladder_choice){.reason = TRIB_CHOICE_ONLY};
    if (ladder->count == 1) return trib_codec_encode(ladder->rungs[0], source, out, err);
    struct trib_blob *best = NULL;
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; status == TRIB_OK && choice->reason == TRIB_CHOICE_ONLY && i < ladder->count; i++)
        if (is_admitted(ladder, line, i)) status = try_rung(ladder, line, i, source, &best, choice, err);
    if (status == TRIB_OK && best == NULL) status = try_rung(ladder, line, 0, source, &best, choice, err);
    if (status != TRIB_OK) {
        trib_blob_unref(&best);
        return status;
    }
    if (choice->reason == TRIB_CHOICE_ONLY) choice->reason = held_back(ladder, line, choice->rung);
    *out = best;
    return TRIB_OK;
}
