/* `tributary compare`: runs under labels, read from ledgers (compare_load.c), as text (compare_print.c) and
 * as charts (compare_draw.c). */
#ifndef TRIB_CLI_COMPARE_H
#define TRIB_CLI_COMPARE_H

#include "cli/curve.h"
#include "cli/sheet.h"

enum { COMPARE_LABELS = 64, COMPARE_TARGETS = 16 };

struct compare_stale {
    uint64_t staleness;
    double updates; /* accepted with it */
};

struct compare_run {
    char *path; /* of its ledger */
    char run[33];
    struct curve curve;
    struct compare_stale *stale; /* ascending */
    size_t stale_count, stale_capacity;
};

struct compare_label {
    char *label;
    struct compare_run *runs; /* its seeds */
    size_t count, capacity;
};

struct comparison {
    struct compare_label labels[COMPARE_LABELS];
    size_t count;
    double targets[COMPARE_TARGETS]; /* accuracies to read costs off at */
    size_t target_count;
};

/* Adds what a word of the command line names: [LABEL=]PATH[@RUN][,PATH[@RUN]...]. A path is a ledger, its
 * folder, or a folder with such folders below it (their ledger.db, up to four folders down). RUN is the
 * beginning of a run's name, "last" (as without it) or "all". Without a label a run goes under its own one,
 * or else under its folder's name. TRIB_NOT_FOUND, TRIB_LIMIT and what reading ledgers fails with. */
enum trib_status compare_load(struct comparison *out, const char *word, struct trib_error *err) TRIB_MUST_USE;
void compare_release(struct comparison *comparison);

/* What the runs of a label took to get to a target, and how many of them got there. */
struct compare_cost {
    size_t reached;
    struct curve_spread cost[CURVE_COSTS]; /* over those that got there */
};
struct compare_cost compare_reach(const struct compare_label *label, double target);

/* Has any run bytes (time, ...) of this kind? A tree without edges of edges has no hops between them. */
bool compare_has(const struct comparison *comparison, enum curve_cost cost);

/* Appends the comparison; `points` adds each run's evaluations to JSON. */
void compare_print(struct trib_buf *out, const struct comparison *comparison, enum sheet_form form,
                   bool points);

/* Writes the charts into a folder, which is made if need be; `names` gets what was written, a line each. */
enum trib_status compare_draw(const struct comparison *comparison, const char *folder, struct trib_buf *names,
                              struct trib_error *err) TRIB_MUST_USE;

#endif
