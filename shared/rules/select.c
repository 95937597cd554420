#include "shared/rules/select_kind.h"

#include "shared/base/alloc.h"

#include <math.h>
#include <string.h>

struct trib_select {
    const struct trib_select_kind *kind;
    const struct trib_rule_row *row;
    char spec[TRIB_RULE_MAX_SPEC + 1];
    _Alignas(16) unsigned char config[];
};

/* ---- the table: a policy is a file, a name here, and a row ---- */

enum { RANDOM, BY_SIZE, FEDCS, STRATIFIED, OORT, POWER_OF_CHOICE, BY_NORM, POLICIES };

static const struct trib_select_kind *const kinds[POLICIES] = {
    [RANDOM] = &trib_select_random,   [BY_SIZE] = &trib_select_by_size,
    [FEDCS] = &trib_select_fedcs,     [STRATIFIED] = &trib_select_stratified,
    [OORT] = &trib_select_oort,       [POWER_OF_CHOICE] = &trib_select_power_of_choice,
    [BY_NORM] = &trib_select_by_norm,
};

static const struct trib_rule_row rows[POLICIES] = {
    [RANDOM] = {.name = "random",
                .summary = "everybody has the same chance",
                .formula = "uniform, without replacement",
                .source = "McMahan et al. 2017, arXiv 1602.05629, algorithm 1",
                .memory = "none",
                .example = "random"},
    [BY_SIZE] = {.name = "by_size",
                 .summary = "who has more data has the greater chance",
                 .formula = "p_k = n_k / sum n, without replacement",
                 .source = "Li et al. 2020 (FedProx), arXiv 1812.06127, algorithm 2",
                 .memory = "none",
                 .example = "by_size"},
    [FEDCS] = {.name = "fedcs",
               .summary = "as many as will be done before a deadline, the fastest first",
               .formula = "the shortest t_k <= deadline, of `among` drawn at random",
               .source = "Nishio, Yonetani 2019, arXiv 1804.08333, algorithms 2 and 3",
               .memory = "none",
               .example = "fedcs(deadline=30s, among=20)",
               .params = trib_select_fedcs_params,
               .param_count = TRIB_SELECT_FEDCS_PARAMS},
    [STRATIFIED] = {.name = "stratified",
                    .summary = "each class of devices has its share of the places",
                    .formula = "P p_c places for class c, at random within it",
                    .source = "stratified sampling, Cochran 1977, section 5.5",
                    .memory = "none",
                    .example = "stratified(shares=equal)",
                    .params = trib_select_stratified_params,
                    .param_count = TRIB_SELECT_STRATIFIED_PARAMS},
    [OORT] = {.name = "oort",
              .summary = "who teaches the model most in the least time, and some who were never tried",
              .formula =
                  "(u_k + sqrt(0.1 ln(R + 1) / L_k)) * (T / t_k)^penalty where t_k > T; u: n loss, cut "
                  "off at its 90th percentile, scaled to 0 .. 1",
              .source = "Lai et al., OSDI 2021, arXiv 2010.06081, algorithm 1",
              .memory = "four numbers",
              .example = "oort(explore=0.9, decay=0.98, least=0.3)",
              .params = trib_select_oort_params,
              .param_count = TRIB_SELECT_OORT_PARAMS},
    [POWER_OF_CHOICE] = {.name = "power_of_choice",
                         .summary = "of d drawn by size, those with the highest loss",
                         .formula = "the highest loss_k, of d drawn with p_k = n_k / sum n",
                         .source = "Cho, Wang, Joshi 2020, arXiv 2010.01243, pi_rpow-d",
                         .memory = "none",
                         .example = "power_of_choice(d=20)",
                         .params = trib_select_power_of_choice_params,
                         .param_count = TRIB_SELECT_POWER_OF_CHOICE_PARAMS},
    [BY_NORM] = {.name = "by_norm",
                 .summary = "whose last update was larger has the greater chance",
                 .formula = "p_k = ||F_k|| / sum ||F||, without replacement",
                 .source = "Chen, Horvath, Richtarik 2020, arXiv 2010.13723",
                 .memory = "none",
                 .example = "by_norm"},
};

const struct trib_rule_row *trib_select_rows(size_t *count) {
    *count = POLICIES;
    return rows;
}

/* ---- specs ---- */

static size_t largest_config(void) {
    size_t bytes = 1;
    for (size_t i = 0; i < POLICIES; i++)
        if (kinds[i]->config_bytes > bytes) bytes = kinds[i]->config_bytes;
    return bytes;
}

static enum trib_status name_policy(struct trib_select *select, struct trib_error *err) {
    struct trib_buf text;
    trib_buf_init(&text, TRIB_RULE_MAX_SPEC);
    trib_variant_print(select->row, select->config, &text);
    enum trib_status status = TRIB_OK;
    if (text.failed)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the name of a selection policy");
    else
        memcpy(select->spec, text.data, text.size);
    trib_buf_release(&text);
    return status;
}

enum trib_status trib_select_new(const char *spec, struct trib_select **out, struct trib_error *err) {
    size_t room = largest_config(), index = 0;
    struct trib_select *select = trib_alloc(sizeof *select + room);
    *out = NULL;
    if (select == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a selection policy");
    enum trib_status status =
        trib_variant_parse(rows, POLICIES, "selection policy", spec, &index, select->config, room, err);
    select->kind = kinds[index];
    select->row = &rows[index];
    TRIB_ASSERT(strcmp(select->kind->name, select->row->name) == 0);
    if (status == TRIB_OK) status = name_policy(select, err);
    if (status != TRIB_OK) {
        trib_select_free(&select);
        return status;
    }
    *out = select;
    return TRIB_OK;
}

void trib_select_free(struct trib_select **select) {
    struct trib_select *s = *select;
    *select = NULL;
    if (s == NULL) return;
    trib_options_release(s->row->params, s->row->param_count, s->config);
    trib_free(s);
}

const char *trib_select_spec(const struct trib_select *select) {
    return select->spec;
}

const char *trib_select_name(const struct trib_select *select) {
    return select->row->name;
}

enum trib_status trib_select_check_spec(const char *spec, struct trib_error *err) {
    struct trib_select *select = NULL;
    enum trib_status status = trib_select_new(spec, &select, err);
    trib_select_free(&select);
    return status;
}

size_t trib_select_choose(const struct trib_select *select, const struct trib_select_draw *draw) {
    struct trib_select_draw limited = *draw;
    if (limited.want > limited.count) limited.want = limited.count;
    if (limited.want == 0) return 0;
    size_t chosen = select->kind->choose(select->config, &limited);
    TRIB_ASSERT((chosen > 0 || draw->busy > 0) && chosen <= limited.want);
    return chosen;
}

/* ---- what policies share ---- */

void trib_select_shuffle(const struct trib_select_draw *draw) {
    for (size_t i = 0; i < draw->count; i++) draw->chosen[i] = (uint32_t)i;
    trib_rng_shuffle(draw->rng, draw->chosen, draw->count);
}

static void swap(uint32_t *items, size_t i, size_t j) {
    uint32_t kept = items[i];
    items[i] = items[j];
    items[j] = kept;
}

/* Hoare's quickselect: O(among) on what comes in any order. */
void trib_select_highest(const struct trib_select_draw *draw, size_t among, size_t want) {
    uint32_t *items = draw->chosen;
    size_t low = 0, high = among;
    while (high - low > 1 && want > low && want < high) {
        double pivot = draw->score[items[low + (high - low) / 2]];
        size_t i = low, j = high - 1;
        for (;;) {
            while (draw->score[items[i]] > pivot) i++;
            while (draw->score[items[j]] < pivot) j--;
            if (i >= j) break;
            swap(items, i++, j--);
        }
        /* low .. i-1 are not below the pivot, i .. high-1 not above it. */
        size_t middle = i > low ? i : low + 1;
        if (want <= middle)
            high = middle;
        else
            low = middle;
    }
}

/* An exponential race: the time to the first event at rate w is Exp(1) / w, and the first of them is k with
 * probability w_k / sum w. Efraimidis, Spirakis 2006. */
void trib_select_race(const struct trib_select_draw *draw, size_t among) {
    for (size_t i = 0; i < among; i++) {
        double race = trib_rng_exponential(draw->rng), *score = &draw->score[draw->chosen[i]];
        *score = *score > 0 ? -race / *score : -INFINITY;
    }
}

size_t trib_select_in_proportion(const struct trib_select_draw *draw) {
    trib_select_shuffle(draw);
    trib_select_race(draw, draw->count);
    trib_select_highest(draw, draw->count, draw->want);
    return draw->want;
}

void trib_select_fill_in(const struct trib_select_draw *draw) {
    double sum = 0;
    size_t positive = 0;
    for (size_t i = 0; i < draw->count; i++) {
        if (!(draw->score[i] > 0)) continue;
        sum += draw->score[i];
        positive++;
    }
    double mean = positive > 0 ? sum / (double)positive : 1.0;
    for (size_t i = 0; i < draw->count; i++)
        if (!(draw->score[i] > 0)) draw->score[i] = mean;
}

void trib_select_sizes(const struct trib_select_draw *draw) {
    for (size_t i = 0; i < draw->count; i++) draw->score[i] = (double)draw->candidates[i].weight;
    trib_select_fill_in(draw);
}
