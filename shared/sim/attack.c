#include "shared/sim/attack.h"

#include "shared/sim/forge.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PARAM(I, NAME, FALLBACK, LEAST, MOST, HELP)                                                          \
    {                                                                                                        \
        .name = NAME, .type = TRIB_OPT_F64, .offset = offsetof(struct trib_attack, params[I]),               \
        .fallback = FALLBACK, .min = LEAST, .max = MOST, .help = HELP                                        \
    }

#define PARAMS(ROWS_OF) .params = (ROWS_OF), .param_count = sizeof(ROWS_OF) / sizeof *(ROWS_OF)

static const struct trib_option sign_flip_params[] = {
    PARAM(0, "scale", "1", 0, 1e6, "the difference is multiplied by minus this")};
static const struct trib_option bit_flip_params[] = {
    PARAM(0, "bit", "30", 0, 31,
          "which one: 31 the sign, 30 the highest of the exponent, 22 of the mantissa"),
    PARAM(1, "share", "1", 0, 1, "of the numbers, drawn for each update")};
static const struct trib_option label_flip_params[] = {
    PARAM(0, "scale", "1", 0, 1e6, "the difference is multiplied by this")};
static const struct trib_option gaussian_params[] = {PARAM(0, "std", "1", 0, 1e6, "standard deviation")};
static const struct trib_option alie_params[] = {
    PARAM(0, "z", "0", 0, 1e3,
          "deviations from the mean; 0: as many as hide them, by the counts of devices and attackers")};
static const struct trib_option ipm_params[] = {
    PARAM(0, "eps", "0.1", 0, 1e6, "the mean is multiplied by minus this")};
static const struct trib_option mimic_params[] = {
    PARAM(0, "target", "0", 0, 1e6, "which honest device, by number: 0 the first")};
static const struct trib_option min_max_params[] = {
    PARAM(0, "direction", "0", 0, 2,
          "from the mean: 0 against the deviation, 1 against the mean, 2 against its sign")};

static const struct trib_attack_row rows[] = {
    {.name = "sign_flip",
     .summary = "submits the opposite of what it trained",
     PARAMS(sign_flip_params),
     .forge = trib_forge_sign_flip},
    {.name = "bit_flip",
     .summary = "flips a bit of the numbers that it submits, as failing memory does",
     PARAMS(bit_flip_params),
     .forge = trib_forge_bit_flip},
    {.name = "label_flip",
     .summary = "trains on classes - 1 - y instead of the label y",
     .flips_labels = true,
     PARAMS(label_flip_params),
     .forge = trib_forge_label_flip},
    {.name = "gaussian", .summary = "submits noise", PARAMS(gaussian_params), .forge = trib_forge_gaussian},
    {.name = "alie",
     .summary = "a little is enough: the honest mean less z deviations",
     .honest = TRIB_ATTACK_HONEST_MAX,
     .alike = true,
     PARAMS(alie_params),
     .forge = trib_forge_alie},
    {.name = "ipm",
     .summary = "inner product manipulation: a little against the honest mean",
     .honest = TRIB_ATTACK_HONEST_MAX,
     .alike = true,
     PARAMS(ipm_params),
     .forge = trib_forge_ipm},
    {.name = "mimic",
     .summary = "repeats what one honest device submits",
     .honest = TRIB_ATTACK_HONEST_MAX,
     PARAMS(mimic_params),
     .forge = trib_forge_mimic},
    {.name = "min_max",
     .summary = "as far from the honest mean as honest devices are from each other",
     .honest = TRIB_ATTACK_HONEST_MAX,
     .alike = true,
     PARAMS(min_max_params),
     .forge = trib_forge_min_max},
};
enum { ROWS = sizeof rows / sizeof *rows };

const struct trib_attack_row *trib_attack_row(size_t i) {
    return i < ROWS ? &rows[i] : NULL;
}

static enum trib_status unknown(const char *name, size_t bytes, struct trib_error *err) {
    const char *names[ROWS];
    char word[64], known[300] = "";
    (void)snprintf(word, sizeof word, "%.*s", (int)(bytes < 60 ? bytes : 60), name);
    for (size_t i = 0, at = 0; i < ROWS && at < sizeof known; i++) {
        names[i] = rows[i].name;
        at += (size_t)snprintf(known + at, sizeof known - at, ", %s", rows[i].name);
    }
    const char *nearest = trib_nearest(word, names, ROWS);
    return trib_fail(err, TRIB_INVALID, "unknown attack \"%s\"; known ones are none%s%s%s", word, known,
                     nearest != NULL ? "; the nearest is " : "", nearest != NULL ? nearest : "");
}

enum trib_status trib_attack_parse(const char *spec, struct trib_attack *out, struct trib_error *err) {
    const char *name, *args;
    size_t name_bytes, args_bytes, i = 0;
    *out = (struct trib_attack){.row = NULL};
    if (strcmp(spec, "none") == 0) return TRIB_OK;
    enum trib_status status =
        trib_spec_split(spec, strlen(spec), &name, &name_bytes, &args, &args_bytes, err);
    if (status != TRIB_OK) return status;
    while (i < ROWS && (strlen(rows[i].name) != name_bytes || memcmp(rows[i].name, name, name_bytes) != 0))
        i++;
    if (i == ROWS) return unknown(name, name_bytes, err);
    struct trib_attack attack = {.row = &rows[i]};
    status = trib_options_defaults(rows[i].params, rows[i].param_count, &attack, err);
    if (status == TRIB_OK)
        status = trib_options_args(rows[i].params, rows[i].param_count, &attack, args, args_bytes,
                                   rows[i].name, err);
    if (status == TRIB_OK) *out = attack;
    return status;
}

enum trib_status trib_attack_check(const char *spec, struct trib_error *err) {
    struct trib_attack ignored;
    return trib_attack_parse(spec, &ignored, err);
}
