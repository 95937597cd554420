/* CA2FL: what each participant sent last stands for it while it is away. Source: Wang et al. 2024 (CA2FL,
 * ICLR). With c_i what is cached of participant i, and H the sum of all c_i as of the last commit:
 *     A = sum over the buffer of F_i - c_i, then c_i = F_i
 *     h = lr (H / N + A / K), then H = H + A
 * All count alike, however many samples they have. Caches stay encoded, beside their participants. */
#include "shared/rules/kind.h"

struct config {
    struct trib_rule_buffer buffer; /* first */
    double lr;
};

static const struct trib_option params[] = {
    TRIB_BUFFER_K(struct config, buffer, "3"),
    {"lr", TRIB_OPT_F64, offsetof(struct config, lr), "1", 0.000001, 1000, NULL, NULL,
     "what the step is multiplied by"},
    TRIB_BUFFER_DEADLINE(struct config, buffer),
};

static enum trib_rule_form form(const void *config) {
    (void)config;
    return TRIB_RULE_CACHED;
}

static struct trib_rule_weight weigh(const void *config, const struct trib_rule_memory *memory,
                                     const struct trib_rule_update *update) {
    (void)config;
    (void)memory;
    (void)update;
    return (struct trib_rule_weight){.factor = 1.0f, .applied = 1.0f, .norm = 1.0f};
}

static double rate(const void *config) {
    return ((const struct config *)config)->lr;
}

static const struct trib_rule_base base = {.form = form,
                                           .weigh = weigh,
                                           .due = trib_buffer_due,
                                           .rate = rate,
                                           .needs = trib_buffer_needs,
                                           .patience = trib_buffer_patience};
static const struct trib_rule_kind kind = {
    .name = "ca2fl", .config_bytes = sizeof(struct config), .prepare = trib_buffer_prepare, .base = &base};
const struct trib_rule_row trib_rule_ca2fl = {
    .name = "ca2fl",
    .summary = "a buffer of k updates, corrected by what everybody else sent last: slow participants count "
               "while they are away",
    .formula = "h = lr (H / N + (1/K) sum (F_i - c_i)), c_i = F_i, H = sum of all c_i before",
    .source = "Wang et al. 2024 (CA2FL, ICLR)",
    .memory = "A and H (two models), and the last update of every participant, encoded",
    .example = "ca2fl(k=3)",
    .stage = TRIB_RULE_BASE,
    TRIB_PARAMS(params),
    .kind = &kind};
