/* What a plan and a schema mean to a node: read from their texts, or taken from a state of the same role that
 * has read the same ones. */
#include "shared/state/internal.h"

#include "shared/base/alloc.h"

#include <string.h>

/* What was read: immutable, so that states share it. */
struct parts {
    struct trib_plan plan;
    struct trib_buf plan_text;
    struct trib_schema schema;
    struct trib_ladder *ladder_out, *ladder_in, *ladder_held, *ladder_pub;
};

struct trib_terms {
    size_t refs;
    enum trib_role role;
    char *schema_text; /* owned */
    size_t schema_bytes;
    struct parts parts;
};

enum { KEPT = 4 }; /* roles, and a run before this one */

struct trib_terms_cache {
    struct trib_terms *kept[KEPT]; /* newest first */
};

static void release(struct parts *parts) {
    trib_ladder_free(&parts->ladder_out);
    trib_ladder_free(&parts->ladder_in);
    trib_ladder_free(&parts->ladder_held);
    trib_ladder_free(&parts->ladder_pub);
    trib_schema_release(&parts->schema);
    trib_options_release(trib_plan_options, trib_plan_option_count, &parts->plan);
    trib_buf_release(&parts->plan_text);
}

static void unref(struct trib_terms *terms) {
    if (terms == NULL || --terms->refs > 0) return;
    release(&terms->parts);
    trib_free(terms->schema_text);
    trib_free(terms);
}

struct trib_terms_cache *trib_terms_cache_new(void) {
    return trib_alloc(sizeof(struct trib_terms_cache));
}

void trib_terms_cache_free(struct trib_terms_cache **cache) {
    if (*cache == NULL) return;
    for (size_t i = 0; i < KEPT; i++) unref((*cache)->kept[i]);
    trib_free(*cache);
    *cache = NULL;
}

/* ---- a state's ---- */

static struct parts parts_of(const struct trib_state *state) {
    return (struct parts){.plan = state->plan,
                          .plan_text = state->plan_text,
                          .schema = state->schema,
                          .ladder_out = state->ladder_out,
                          .ladder_in = state->ladder_in,
                          .ladder_held = state->ladder_held,
                          .ladder_pub = state->ladder_pub};
}

static void put_parts(struct trib_state *state, const struct parts *parts) {
    state->plan = parts->plan;
    state->plan_text = parts->plan_text;
    state->schema = parts->schema;
    state->ladder_out = parts->ladder_out;
    state->ladder_in = parts->ladder_in;
    state->codec_in = parts->ladder_in != NULL ? trib_ladder_top(parts->ladder_in) : NULL;
    state->ladder_held = parts->ladder_held;
    state->ladder_pub = parts->ladder_pub;
}

static void borrow(struct trib_state *state, struct trib_terms *terms) {
    terms->refs++;
    state->terms = terms;
    put_parts(state, &terms->parts);
}

void trib_state_drop_terms(struct trib_state *state) {
    struct parts none = {.plan = {0}}, own = parts_of(state);
    trib_buf_init(&none.plan_text, TRIB_MAP_MAX_BYTES);
    trib_schema_init(&none.schema);
    if (state->terms == NULL)
        release(&own);
    else
        unref(state->terms);
    state->terms = NULL;
    put_parts(state, &none);
}

static struct trib_terms *find(const struct trib_state *state, const struct trib_text *plan,
                               const struct trib_text *schema) {
    const struct trib_terms_cache *cache = state->limits.terms;
    for (size_t i = 0; cache != NULL && i < KEPT && cache->kept[i] != NULL; i++) {
        struct trib_terms *terms = cache->kept[i];
        if (terms->role == state->role && terms->parts.plan_text.size == plan->size &&
            terms->schema_bytes == schema->size &&
            memcmp(terms->parts.plan_text.data, plan->data, plan->size) == 0 &&
            memcmp(terms->schema_text, schema->data, schema->size) == 0)
            return terms;
    }
    return NULL;
}

/* The state has read them: others may have them too. Without memory they stay its own. */
static void share(struct trib_state *state, const struct trib_text *schema) {
    struct trib_terms_cache *cache = state->limits.terms;
    if (cache == NULL || schema->size == 0 || state->plan_text.size == 0) return;
    struct trib_terms *terms = trib_alloc(sizeof *terms);
    char *text = trib_alloc(schema->size);
    if (terms == NULL || text == NULL) {
        trib_free(terms);
        trib_free(text);
        return;
    }
    memcpy(text, schema->data, schema->size);
    *terms = (struct trib_terms){.refs = 1,
                                 .role = state->role,
                                 .schema_text = text,
                                 .schema_bytes = schema->size,
                                 .parts = parts_of(state)};
    unref(cache->kept[KEPT - 1]);
    memmove(&cache->kept[1], &cache->kept[0], (KEPT - 1) * sizeof cache->kept[0]);
    cache->kept[0] = terms;
    borrow(state, terms);
}

static enum trib_status make_codecs(struct trib_state *state, struct trib_error *err) {
    bool device = state->role == TRIB_ROLE_DEVICE, edge = state->role == TRIB_ROLE_EDGE;
    const struct trib_plan *plan = &state->plan;
    const char *out = device ? plan->codec_up : plan->codec_forward;
    const char *in = edge ? plan->codec_up : plan->codec_forward;
    const char *held = device ? plan->codec_down : plan->codec_global;
    const char *pub = edge ? plan->codec_down : plan->codec_global;
    enum trib_status status = trib_ladder_new(out, &state->schema, &state->ladder_out, err);
    if (status == TRIB_OK) status = trib_ladder_new(in, &state->schema, &state->ladder_in, err);
    if (status == TRIB_OK) state->codec_in = trib_ladder_top(state->ladder_in);
    if (status == TRIB_OK) status = trib_ladder_new(held, &state->schema, &state->ladder_held, err);
    if (status == TRIB_OK) status = trib_ladder_new(pub, &state->schema, &state->ladder_pub, err);
    return status;
}

static enum trib_status check_size(const struct trib_state *state, struct trib_error *err) {
    if (state->schema.parameters <= state->limits.max_parameters) return TRIB_OK;
    return trib_fail(err, TRIB_LIMIT, "the model has %zu parameters; this node takes at most %zu",
                     state->schema.parameters, state->limits.max_parameters);
}

enum trib_status trib_state_take_terms(struct trib_state *state, const struct trib_text *plan,
                                       const struct trib_text *schema, const char *origin,
                                       struct trib_error *err) {
    struct trib_terms *known = find(state, plan, schema);
    if (known != NULL) {
        borrow(state, known);
        return check_size(state, err);
    }
    enum trib_status status = trib_plan_read(plan->data, plan->size, origin, &state->plan, err);
    if (status != TRIB_OK) return status;
    trib_buf_append(&state->plan_text, plan->data, plan->size);
    if (state->plan_text.failed) return trib_fail(err, TRIB_NOMEM, "out of memory for the plan");
    status = trib_schema_parse(&state->schema, schema->size > 0 ? schema->data : "", schema->size, err);
    if (status == TRIB_OK) status = check_size(state, err);
    if (status == TRIB_OK) status = make_codecs(state, err);
    if (status == TRIB_OK) share(state, schema);
    return status;
}
