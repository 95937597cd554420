#include "cli/curve.h"

#include "shared/base/alloc.h"

#include <math.h>

#define HOP(COST, name, title)                                                                               \
    [COST] = {name "_up_bytes", title " up"}, [(COST) + 1] = {name "_down_bytes", title " down"}
#define EDGE_HOP(n, name, title) HOP(CURVE_EDGE_EDGE + 2 * (n), name, title)
static const struct {
    const char *column, *hop;
} costs[CURVE_COSTS] = {
    [CURVE_SECONDS] = {"seconds", NULL},
    [CURVE_UPDATES] = {"updates", NULL},
    [CURVE_SAMPLES] = {"samples", NULL},
    [CURVE_VERSIONS] = {"versions", NULL},
    [CURVE_CONTRIBUTIONS] = {"contributions", NULL},
    HOP(CURVE_DEVICE_EDGE_UP, "device_edge", "device-edge"),
    EDGE_HOP(0, "edge_edge", "edge-edge"),
    EDGE_HOP(1, "edge_edge_2", "edge-edge-2"),
    EDGE_HOP(2, "edge_edge_3", "edge-edge-3"),
    EDGE_HOP(3, "edge_edge_4", "edge-edge-4"),
    EDGE_HOP(4, "edge_edge_5", "edge-edge-5"),
    EDGE_HOP(5, "edge_edge_6", "edge-edge-6"),
    EDGE_HOP(6, "edge_edge_7", "edge-edge-7"),
    HOP(CURVE_CLOUD_UP, "cloud", "cloud"),
    [CURVE_BROADCAST] = {"broadcast_bytes", NULL},
};

const char *curve_cost_name(enum curve_cost cost) {
    return costs[cost].column;
}

const char *curve_hop_title(enum curve_cost cost) {
    return costs[cost].hop;
}

enum trib_ledger_unit curve_cost_unit(enum curve_cost cost) {
    size_t count;
    return trib_ledger_columns(TRIB_LEDGER_CURVE,
                               &count)[trib_ledger_column(TRIB_LEDGER_CURVE, costs[cost].column)]
        .unit;
}

/* ---- reading ---- */

enum trib_status curve_add(struct curve *curve, const struct curve_point *point, struct trib_error *err) {
    if (curve->count == curve->capacity) {
        size_t capacity = curve->capacity == 0 ? 64 : 2 * curve->capacity;
        struct curve_point *points = trib_realloc(curve->points, capacity * sizeof *points);
        if (points == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu evaluations", capacity);
        curve->points = points;
        curve->capacity = capacity;
    }
    curve->points[curve->count++] = *point;
    return TRIB_OK;
}

void curve_release(struct curve *curve) {
    trib_free(curve->points);
    *curve = (struct curve){0};
}

struct reading {
    struct curve *curve;
    size_t accuracy, column[CURVE_COSTS];
    bool real[CURVE_COSTS];
};

static enum trib_status take_row(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                                 struct trib_error *err) {
    const struct reading *reading = ctx;
    (void)count;
    const struct trib_ledger_cell *accuracy = &cells[reading->accuracy];
    if (accuracy->null || !isfinite(accuracy->real)) return TRIB_OK;
    struct curve_point point = {.accuracy = accuracy->real};
    for (size_t i = 0; i < CURVE_COSTS; i++) {
        const struct trib_ledger_cell *cell = &cells[reading->column[i]];
        point.cost[i] = reading->real[i] ? cell->real : (double)cell->integer;
    }
    return curve_add(reading->curve, &point, err);
}

enum trib_status curve_read(struct trib_ledger_reader *reader, int64_t run_id, struct curve *out,
                            struct trib_error *err) {
    struct reading reading = {.curve = out, .accuracy = trib_ledger_column(TRIB_LEDGER_CURVE, "accuracy")};
    for (size_t i = 0; i < CURVE_COSTS; i++) {
        reading.column[i] = trib_ledger_column(TRIB_LEDGER_CURVE, costs[i].column);
        reading.real[i] = curve_cost_unit((enum curve_cost)i) == TRIB_UNIT_SECONDS;
    }
    return trib_ledger_read(reader, TRIB_LEDGER_CURVE, run_id, 0, take_row, &reading, err);
}

/* ---- reading it off ---- */

bool curve_reach(const struct curve *curve, double accuracy, double cost[CURVE_COSTS]) {
    double best = -INFINITY; /* before point i */
    for (size_t i = 0; i < curve->count; i++) {
        const struct curve_point *here = &curve->points[i];
        if (here->accuracy < accuracy) {
            best = fmax(best, here->accuracy);
            continue;
        }
        for (size_t c = 0; c < CURVE_COSTS; c++) {
            double part = i == 0 ? 1 : (accuracy - best) / (here->accuracy - best);
            double from = i == 0 ? 0 : here[-1].cost[c];
            cost[c] = from + part * (here->cost[c] - from);
        }
        return true;
    }
    return false;
}

bool curve_ends(const struct curve *curve, double *best, double *final) {
    if (curve->count == 0) return false;
    *best = *final = curve->points[curve->count - 1].accuracy;
    for (size_t i = 0; i < curve->count; i++) *best = fmax(*best, curve->points[i].accuracy);
    return true;
}

double curve_at(const struct curve *curve, enum curve_cost cost, double x) {
    TRIB_ASSERT(curve->count > 0);
    size_t i = 1;
    while (i < curve->count && curve->points[i].cost[cost] < x) i++;
    if (i >= curve->count) return curve->points[curve->count - 1].accuracy;
    const struct curve_point *a = &curve->points[i - 1], *b = &curve->points[i];
    double width = b->cost[cost] - a->cost[cost];
    double part = width > 0 ? fmin(1, fmax(0, (x - a->cost[cost]) / width)) : 1;
    return a->accuracy + part * (b->accuracy - a->accuracy);
}

/* ---- statistics ---- */

/* Welford 1962. */
void curve_spread_add(struct curve_spread *spread, double value) {
    double before = spread->mean;
    spread->n++;
    spread->min = spread->n == 1 ? value : fmin(spread->min, value);
    spread->max = spread->n == 1 ? value : fmax(spread->max, value);
    spread->mean += (value - before) / (double)spread->n;
    spread->squares += (value - before) * (value - spread->mean);
}

double curve_spread_sd(const struct curve_spread *spread) {
    return spread->n < 2 ? 0 : sqrt(spread->squares / (double)(spread->n - 1));
}
