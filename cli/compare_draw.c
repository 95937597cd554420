#include "cli/compare.h"
#include "cli/svg.h"

#include "shared/base/alloc.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { GRID = 160 /* places on the x axis where runs are averaged */, BINS_MAX = 20, BIN_TEXT = 24 };

/* ---- accuracy over a cost ---- */

/* The mean line of a label and its band; x, y, low, high lie behind one another in `values`. */
struct drawn {
    double *values;
    size_t count;
};

/* From where the last of a label's runs has begun to where the first one ends: only there all can be
 * averaged. */
static size_t common_part(const struct compare_label *label, enum curve_cost cost, double *from, double *to) {
    size_t runs = 0;
    *from = -INFINITY;
    *to = INFINITY;
    for (size_t i = 0; i < label->count; i++) {
        const struct curve *curve = &label->runs[i].curve;
        if (curve->count == 0) continue;
        runs++;
        *from = fmax(*from, curve->points[0].cost[cost]);
        *to = fmin(*to, curve->points[curve->count - 1].cost[cost]);
    }
    return runs;
}

static void average_at(const struct compare_label *label, enum curve_cost cost, double x,
                       struct curve_spread *out) {
    *out = (struct curve_spread){0};
    for (size_t i = 0; i < label->count; i++) {
        if (label->runs[i].curve.count > 0) curve_spread_add(out, curve_at(&label->runs[i].curve, cost, x));
    }
}

static bool average(const struct compare_label *label, enum curve_cost cost, struct drawn *out) {
    double from, to;
    size_t runs = common_part(label, cost, &from, &to);
    *out = (struct drawn){.values = trib_alloc_array(4 * (size_t)GRID, sizeof *out->values)};
    if (out->values == NULL) return false;
    if (runs == 0 || to < from) return true;
    out->count = GRID;
    for (size_t i = 0; i < GRID; i++) {
        struct curve_spread spread;
        double x = from + (to - from) * (double)i / (GRID - 1);
        average_at(label, cost, x, &spread);
        out->values[i] = x;
        out->values[GRID + i] = spread.mean;
        out->values[2 * GRID + i] = spread.min;
        out->values[3 * GRID + i] = spread.max;
    }
    return true;
}

/* Where the y axis begins: with targets a little below them, so that the part in question is wide enough to
 * see. */
static double lowest_shown(const struct comparison *c) {
    double lowest = 1;
    for (size_t i = 0; i < c->target_count; i++) lowest = fmin(lowest, c->targets[i]);
    return c->target_count == 0 ? 0 : fmax(0, floor((1 - 5 * (1 - lowest)) * 20) / 20);
}

static double highest_shown(const struct comparison *c) {
    double highest = 0;
    for (size_t i = 0; i < c->count; i++) {
        for (size_t j = 0; j < c->labels[i].count; j++) {
            double best, final;
            if (curve_ends(&c->labels[i].runs[j].curve, &best, &final)) highest = fmax(highest, best);
        }
    }
    return highest;
}

static bool draw_cost(struct trib_buf *out, const struct comparison *c, enum curve_cost cost,
                      const char *title, const char *axis) {
    struct drawn drawn[COMPARE_LABELS] = {0};
    struct svg_line lines[COMPARE_LABELS];
    enum trib_ledger_unit unit = curve_cost_unit(cost);
    double low = lowest_shown(c), high = highest_shown(c);
    if (high <= low) low = 0;
    struct svg_chart chart = {
        .title = title,
        .x = {.title = axis,
              .unit = unit == TRIB_UNIT_SECONDS ? SVG_SECONDS
                      : unit == TRIB_UNIT_BYTES ? SVG_BYTES
                                                : SVG_COUNT},
        .y = {.title = "accuracy", .unit = SVG_SHARE, .from = low, .to = fmin(1, high + (1 - low) / 20)},
        .marks = c->targets,
        .mark_count = c->target_count};
    bool well = true;
    for (size_t i = 0; i < c->count; i++) {
        well = well && average(&c->labels[i], cost, &drawn[i]);
        const double *v = drawn[i].values;
        lines[i] = (struct svg_line){.label = c->labels[i].label, .count = drawn[i].count, .x = v};
        if (v == NULL) continue;
        lines[i].y = v + GRID;
        if (c->labels[i].count > 1) {
            lines[i].low = v + 2 * (size_t)GRID;
            lines[i].high = v + 3 * (size_t)GRID;
        }
    }
    if (well) svg_lines(out, &chart, lines, c->count);
    for (size_t i = 0; i < c->count; i++) trib_free(drawn[i].values);
    return well;
}

/* ---- staleness ---- */

static uint64_t stalest(const struct comparison *c) {
    uint64_t most = 0;
    for (size_t i = 0; i < c->count; i++) {
        for (size_t j = 0; j < c->labels[i].count; j++) {
            const struct compare_run *run = &c->labels[i].runs[j];
            if (run->stale_count > 0 && run->stale[run->stale_count - 1].staleness > most)
                most = run->stale[run->stale_count - 1].staleness;
        }
    }
    return most;
}

/* Each run's shares, averaged over the label's runs. */
static void fill_bins(const struct compare_label *label, uint64_t width, double bins[BINS_MAX]) {
    size_t runs = 0;
    for (size_t i = 0; i < BINS_MAX; i++) bins[i] = 0;
    for (size_t r = 0; r < label->count; r++) {
        const struct compare_run *run = &label->runs[r];
        double all = 0;
        for (size_t i = 0; i < run->stale_count; i++) all += run->stale[i].updates;
        if (all <= 0) continue;
        runs++;
        for (size_t i = 0; i < run->stale_count; i++)
            bins[run->stale[i].staleness / width] += run->stale[i].updates / all;
    }
    for (size_t i = 0; i < BINS_MAX && runs > 0; i++) bins[i] /= (double)runs;
}

static bool draw_staleness(struct trib_buf *out, const struct comparison *c) {
    uint64_t most = stalest(c), width = 1 + most / BINS_MAX;
    size_t count = (size_t)(most / width) + 1;
    char names[BINS_MAX][BIN_TEXT];
    const char *bins[BINS_MAX];
    struct svg_bars series[COMPARE_LABELS];
    double(*shares)[BINS_MAX] = trib_alloc_array(c->count, sizeof *shares);
    struct svg_chart chart = {.title = "Staleness of accepted updates",
                              .x = {.title = "commits between an update's base and its verdict"},
                              .y = {.title = "updates", .unit = SVG_SHARE}};
    if (shares == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        uint64_t from = i * width;
        (void)snprintf(names[i], BIN_TEXT, width == 1 ? "%" PRIu64 : "%" PRIu64 "+", from);
        bins[i] = names[i];
    }
    for (size_t i = 0; i < c->count; i++) {
        fill_bins(&c->labels[i], width, shares[i]);
        series[i] = (struct svg_bars){.label = c->labels[i].label, .y = shares[i]};
    }
    svg_bars(out, &chart, series, c->count, bins, count);
    trib_free(shares);
    return true;
}

/* ---- files ---- */

static enum trib_status write_file(const char *folder, const char *name, struct trib_buf *svg,
                                   struct trib_buf *names, struct trib_error *err) {
    char path[TRIB_LEDGER_PATH];
    if (svg->failed) return trib_fail(err, TRIB_NOMEM, "no memory for the chart %s", name);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return trib_fail(err, TRIB_LIMIT, "the path %.100s... is too long", folder);
    FILE *file = fopen(path, "w");
    if (file == NULL) return trib_fail_errno(err, "cannot write the chart %s", path);
    bool well = fwrite(svg->data, 1, svg->size, file) == svg->size;
    well = fclose(file) == 0 && well;
    if (!well) return trib_fail_errno(err, "cannot write the chart %s", path);
    trib_buf_printf(names, "%s\n", path);
    return TRIB_OK;
}

static const struct chart_row {
    const char *file, *title, *axis;
    enum curve_cost cost;
} charts[] = {
    {"accuracy-time.svg", "Accuracy over time", "time", CURVE_SECONDS},
    {"accuracy-updates.svg", "Accuracy over updates", "updates of devices", CURVE_UPDATES},
    {"accuracy-device-edge-up.svg", "Accuracy over bytes, device to edge", "sent by devices to edges",
     CURVE_DEVICE_EDGE_UP},
    {"accuracy-device-edge-down.svg", "Accuracy over bytes, edge to device", "sent by edges to devices",
     CURVE_DEVICE_EDGE_DOWN},
    {"accuracy-cloud-up.svg", "Accuracy over bytes, up to the cloud", "sent to the cloud", CURVE_CLOUD_UP},
    {"accuracy-cloud-down.svg", "Accuracy over bytes, down from the cloud", "sent by the cloud",
     CURVE_CLOUD_DOWN},
};

static enum trib_status draw_chart(const struct comparison *c, const struct chart_row *row,
                                   struct trib_buf *svg, const char *folder, struct trib_buf *names,
                                   struct trib_error *err) {
    if (!compare_has(c, row->cost)) return TRIB_OK;
    trib_buf_clear(svg);
    if (!draw_cost(svg, c, row->cost, row->title, row->axis)) svg->failed = true;
    return write_file(folder, row->file, svg, names, err);
}

/* "accuracy-edge-edge-2-up.svg" */
static enum trib_status draw_between(const struct comparison *c, enum curve_cost cost, struct trib_buf *svg,
                                     const char *folder, struct trib_buf *names, struct trib_error *err) {
    char file[64], title[64], axis[64];
    const char *hop = curve_hop_title(cost);
    (void)snprintf(file, sizeof file, "accuracy-%s.svg", hop);
    for (char *at = file; *at != 0; at++)
        if (*at == ' ') *at = '-';
    (void)snprintf(title, sizeof title, "Accuracy over bytes, %s", hop);
    (void)snprintf(axis, sizeof axis, "sent between edges, %s", hop);
    return draw_chart(c, &(struct chart_row){file, title, axis, cost}, svg, folder, names, err);
}

enum trib_status compare_draw(const struct comparison *c, const char *folder, struct trib_buf *names,
                              struct trib_error *err) {
    struct trib_buf svg;
    enum trib_status status = TRIB_OK;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return trib_fail_errno(err, "cannot make the folder %s", folder);
    trib_buf_init(&svg, 0);
    for (size_t i = 0; status == TRIB_OK && i < sizeof charts / sizeof *charts; i++)
        status = draw_chart(c, &charts[i], &svg, folder, names, err);
    for (int i = CURVE_EDGE_EDGE; status == TRIB_OK && i < CURVE_CLOUD; i++)
        status = draw_between(c, (enum curve_cost)i, &svg, folder, names, err);
    trib_buf_clear(&svg);
    if (status == TRIB_OK && !draw_staleness(&svg, c)) svg.failed = true;
    if (status == TRIB_OK) status = write_file(folder, "staleness.svg", &svg, names, err);
    trib_buf_release(&svg);
    return status;
}
