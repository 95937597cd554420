/* Attackers of a simulated fleet: devices that take part as all do, and submit something else than what they
 * trained. A kind of attack is a row: it may train on wrong labels, and it may forge the difference at the
 * moment at which its device would submit it, knowing what honest devices submitted last. */
#ifndef TRIB_SIM_ATTACK_H
#define TRIB_SIM_ATTACK_H

#include "shared/base/option.h"
#include "shared/base/rng.h"

enum { TRIB_ATTACK_HONEST_MAX = 64 };

/* What an attacker sees. */
struct trib_attack_view {
    size_t parameters;
    size_t devices, attackers; /* in the fleet */
    struct trib_rng *rng;      /* the device's */
    /* The newest differences of other, honest devices, one a device, newest first, but for those of the
     * round; as many as the row asks for, if there are so many yet. */
    size_t honest_count;
    const float *const *honest;
    const size_t *honest_devices;
    size_t round_count; /* so many of them, the first ones, are of the attacker's own round; 0: there are no
                           rounds, or nobody honest has answered */
};

struct trib_attack_row {
    const char *name, *summary;
    bool flips_labels; /* it trains on classes - 1 - y instead of y, before it forges */
    size_t honest;     /* how many honest differences it wants to see, at most TRIB_ATTACK_HONEST_MAX */
    bool alike;        /* what it forges depends on these alone: all attackers submit the same */
    const struct trib_option *params; /* of a struct trib_attack_params */
    size_t param_count;
    /* Changes `difference`, what the device honestly trained, in place. */
    void (*forge)(const struct trib_attack_view *view, const double *params, float *difference);
};

enum { TRIB_ATTACK_PARAMS = 4 };

struct trib_attack {
    const struct trib_attack_row *row; /* NULL: nobody attacks */
    double params[TRIB_ATTACK_PARAMS];
};

/* "none", or a row's name with its arguments: sign_flip(scale=4). */
enum trib_status trib_attack_parse(const char *spec, struct trib_attack *out,
                                   struct trib_error *err) TRIB_MUST_USE;
/* For option tables. */
enum trib_status trib_attack_check(const char *spec, struct trib_error *err);
/* The table, for tests: row i, or NULL behind the last. */
const struct trib_attack_row *trib_attack_row(size_t i);

#endif
