#include "cli/compare.h"

#include "shared/base/json.h"
#include "shared/base/number.h"

#include <string.h>

/* The comparison as every form shows it: all labels' best and newest accuracies. */
struct ends {
    struct curve_spread best, final;
};

static struct ends ends_of(const struct compare_label *label) {
    struct ends ends = {0};
    double best, final;
    for (size_t i = 0; i < label->count; i++) {
        if (!curve_ends(&label->runs[i].curve, &best, &final)) continue;
        curve_spread_add(&ends.best, best);
        curve_spread_add(&ends.final, final);
    }
    return ends;
}

/* This label's mean as a multiple of the first one's; false: one of them has none. */
static bool ratio_of(const struct curve_spread *mine, const struct curve_spread *first, double *out) {
    if (mine->n == 0 || first->n == 0 || !(first->mean > 0)) return false;
    *out = mine->mean / first->mean;
    return true;
}

/* ---- for people: a column for each label ---- */

enum { GRID_COLUMNS = COMPARE_LABELS + 1 };

struct grid {
    struct trib_buf cells; /* texts with their 0, row by row */
    size_t columns, at, width[GRID_COLUMNS];
};

static size_t width_in_columns(const char *text) {
    size_t width = 0;
    for (; *text != 0; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

/* The cell that was just appended ends here. */
static void end_cell(struct grid *grid, size_t from) {
    trib_buf_append(&grid->cells, "", 1);
    if (grid->cells.failed) return;
    size_t width = width_in_columns((const char *)grid->cells.data + from);
    if (width > grid->width[grid->at]) grid->width[grid->at] = width;
    grid->at = (grid->at + 1) % grid->columns;
}

static void put_plain(struct grid *grid, const char *text) {
    size_t from = grid->cells.size;
    trib_buf_printf(&grid->cells, "%s", text);
    end_cell(grid, from);
}

static void print_grid(struct trib_buf *out, struct grid *grid) {
    const char *cell = trib_buf_text(&grid->cells), *end = cell + grid->cells.size;
    for (size_t column = 0; cell < end; column = (column + 1) % grid->columns) {
        bool last = column + 1 == grid->columns;
        int pad = last ? 0 : (int)(grid->width[column] + 2 - width_in_columns(cell));
        trib_buf_printf(out, "%s%*s%s", cell, pad, "", last ? "\n" : "");
        cell += strlen(cell) + 1;
        while (last && out->size > 1 && out->data[out->size - 2] == ' ') {
            out->data[out->size - 2] = '\n';
            out->size--;
        }
    }
}

struct shown_unit {
    double divisor;
    int decimals;
    const char *name;
};

static struct shown_unit unit_for(enum trib_ledger_unit unit, double mean) {
    static const char *const sizes[] = {" B", " kB", " MB", " GB", " TB", " PB"};
    struct shown_unit shown = {.divisor = 1, .decimals = 1, .name = ""};
    size_t i = 0;
    switch (unit) {
    case TRIB_UNIT_SHARE: return (struct shown_unit){.divisor = 0.01, .decimals = 2, .name = "%"};
    case TRIB_UNIT_SECONDS: shown.name = " s"; break;
    case TRIB_UNIT_BYTES:
        for (; i + 1 < sizeof sizes / sizeof *sizes && mean / shown.divisor >= 999.95; i++)
            shown.divisor *= 1000;
        shown.name = sizes[i];
        shown.decimals = i == 0 ? 0 : 2;
        break;
    default: shown.decimals = mean >= 10000 ? 0 : 1; break;
    }
    return shown;
}

/* "12.30 ±0.41 MB  0.25x" */
static void put_spread(struct grid *grid, const struct curve_spread *spread, enum trib_ledger_unit unit,
                       const struct curve_spread *first) {
    size_t from = grid->cells.size;
    double ratio;
    struct shown_unit shown = unit_for(unit, spread->mean);
    if (spread->n == 0) trib_buf_printf(&grid->cells, "-");
    if (spread->n > 0) trib_buf_printf(&grid->cells, "%.*f", shown.decimals, spread->mean / shown.divisor);
    if (spread->n > 1)
        trib_buf_printf(&grid->cells, " ±%.*f", shown.decimals, curve_spread_sd(spread) / shown.divisor);
    if (spread->n > 0) trib_buf_printf(&grid->cells, "%s", shown.name);
    if (first != NULL && ratio_of(spread, first, &ratio)) trib_buf_printf(&grid->cells, "  %.3gx", ratio);
    end_cell(grid, from);
}

static const char *title_of(enum curve_cost cost) {
    static const char *const titles[CURVE_COSTS] = {
        [CURVE_SECONDS] = "time",
        [CURVE_UPDATES] = "updates of devices",
        [CURVE_SAMPLES] = "samples",
        [CURVE_VERSIONS] = "versions",
        [CURVE_CONTRIBUTIONS] = "contributions",
        [CURVE_BROADCAST] = "one broadcast",
    };
    return titles[cost] != NULL ? titles[cost] : curve_hop_title(cost);
}

static void put_target(struct grid *grid, const struct comparison *c, double target) {
    struct compare_cost costs[COMPARE_LABELS];
    size_t from = grid->cells.size;
    trib_buf_printf(&grid->cells, "to %g%%", 100 * target);
    end_cell(grid, from);
    for (size_t i = 0; i < c->count; i++) {
        costs[i] = compare_reach(&c->labels[i], target);
        from = grid->cells.size;
        trib_buf_printf(&grid->cells, "%zu of %zu", costs[i].reached, c->labels[i].count);
        end_cell(grid, from);
    }
    for (size_t cost = 0; cost < CURVE_COSTS; cost++) {
        bool any = false;
        for (size_t i = 0; i < c->count; i++) any = any || costs[i].cost[cost].max > 0;
        if (!any) continue; /* a hop that this tree has not */
        from = grid->cells.size;
        trib_buf_printf(&grid->cells, "  %s", title_of((enum curve_cost)cost));
        end_cell(grid, from);
        for (size_t i = 0; i < c->count; i++)
            put_spread(grid, &costs[i].cost[cost], curve_cost_unit((enum curve_cost)cost),
                       i == 0 ? NULL : &costs[0].cost[cost]);
    }
}

static void print_table(struct trib_buf *out, const struct comparison *c) {
    struct grid grid = {.columns = c->count + 1};
    struct ends ends[COMPARE_LABELS];
    trib_buf_init(&grid.cells, 0);
    put_plain(&grid, "");
    for (size_t i = 0; i < c->count; i++) {
        put_plain(&grid, c->labels[i].label);
        ends[i] = ends_of(&c->labels[i]);
    }
    put_plain(&grid, "best accuracy");
    for (size_t i = 0; i < c->count; i++) put_spread(&grid, &ends[i].best, TRIB_UNIT_SHARE, NULL);
    put_plain(&grid, "final accuracy");
    for (size_t i = 0; i < c->count; i++) put_spread(&grid, &ends[i].final, TRIB_UNIT_SHARE, NULL);
    for (size_t t = 0; t < c->target_count; t++) put_target(&grid, c, c->targets[t]);
    if (grid.cells.failed)
        out->failed = true;
    else
        print_grid(out, &grid);
    trib_buf_release(&grid.cells);
}

/* ---- for programs ---- */

/* Every cost, but of hops between edges those that are in one of the runs. */
static bool is_told(const struct comparison *c, size_t cost) {
    return !curve_between_edges((enum curve_cost)cost) || compare_has(c, (enum curve_cost)cost);
}

static void json_number(struct trib_json *json, const char *key, double value) {
    trib_json_key(json, key);
    trib_json_f64(json, value);
}

static void json_spread(struct trib_json *json, const char *key, const struct curve_spread *spread,
                        const struct curve_spread *first) {
    double ratio;
    trib_json_key(json, key);
    if (spread->n == 0) {
        trib_json_null(json);
        return;
    }
    trib_json_begin(json, '{');
    json_number(json, "mean", spread->mean);
    json_number(json, "sd", curve_spread_sd(spread));
    json_number(json, "min", spread->min);
    json_number(json, "max", spread->max);
    if (first != NULL && ratio_of(spread, first, &ratio)) json_number(json, "ratio", ratio);
    trib_json_end(json, '}');
}

static void json_costs(struct trib_json *json, const struct comparison *c, const double cost[CURVE_COSTS]) {
    for (size_t i = 0; i < CURVE_COSTS; i++)
        if (is_told(c, i)) json_number(json, curve_cost_name((enum curve_cost)i), cost[i]);
}

static void json_points(struct trib_json *json, const struct comparison *c, const struct curve *curve) {
    trib_json_key(json, "points");
    trib_json_begin(json, '[');
    for (size_t i = 0; i < curve->count; i++) {
        trib_json_begin(json, '{');
        json_number(json, "accuracy", curve->points[i].accuracy);
        json_costs(json, c, curve->points[i].cost);
        trib_json_end(json, '}');
    }
    trib_json_end(json, ']');
}

static void json_run(struct trib_json *json, const struct comparison *c, const struct compare_run *run,
                     bool points) {
    double best, final, cost[CURVE_COSTS];
    bool any = curve_ends(&run->curve, &best, &final);
    trib_json_begin(json, '{');
    trib_json_key(json, "ledger");
    trib_json_string(json, run->path);
    trib_json_key(json, "run");
    trib_json_string(json, run->run);
    trib_json_key(json, "evaluations");
    trib_json_u64(json, run->curve.count);
    if (any) {
        json_number(json, "best_accuracy", best);
        json_number(json, "final_accuracy", final);
    }
    trib_json_key(json, "to");
    trib_json_begin(json, '[');
    for (size_t t = 0; t < c->target_count; t++) {
        trib_json_begin(json, '{');
        json_number(json, "accuracy", c->targets[t]);
        trib_json_key(json, "reached");
        bool reached = curve_reach(&run->curve, c->targets[t], cost);
        trib_json_bool(json, reached);
        if (reached) json_costs(json, c, cost);
        trib_json_end(json, '}');
    }
    trib_json_end(json, ']');
    if (points) json_points(json, c, &run->curve);
    trib_json_end(json, '}');
}

static void json_target(struct trib_json *json, const struct comparison *c, size_t label, double target) {
    struct compare_cost mine = compare_reach(&c->labels[label], target);
    struct compare_cost first = compare_reach(&c->labels[0], target);
    trib_json_begin(json, '{');
    json_number(json, "accuracy", target);
    trib_json_key(json, "reached");
    trib_json_u64(json, mine.reached);
    for (size_t i = 0; i < CURVE_COSTS; i++)
        if (is_told(c, i))
            json_spread(json, curve_cost_name((enum curve_cost)i), &mine.cost[i], &first.cost[i]);
    trib_json_end(json, '}');
}

static void print_json(struct trib_buf *out, const struct comparison *c, bool points) {
    struct trib_json json = {.out = out};
    trib_json_begin(&json, '{');
    trib_json_key(&json, "labels");
    trib_json_begin(&json, '[');
    for (size_t i = 0; i < c->count; i++) {
        const struct compare_label *label = &c->labels[i];
        struct ends ends = ends_of(label);
        trib_json_begin(&json, '{');
        trib_json_key(&json, "label");
        trib_json_string(&json, label->label);
        json_spread(&json, "best_accuracy", &ends.best, NULL);
        json_spread(&json, "final_accuracy", &ends.final, NULL);
        trib_json_key(&json, "to");
        trib_json_begin(&json, '[');
        for (size_t t = 0; t < c->target_count; t++) json_target(&json, c, i, c->targets[t]);
        trib_json_end(&json, ']');
        trib_json_key(&json, "runs");
        trib_json_begin(&json, '[');
        for (size_t r = 0; r < label->count; r++) json_run(&json, c, &label->runs[r], points);
        trib_json_end(&json, ']');
        trib_json_end(&json, '}');
    }
    trib_json_end(&json, ']');
    trib_json_end(&json, '}');
    trib_buf_printf(out, "\n");
}

static void csv_row(struct trib_buf *out, const struct compare_label *label, const char *target,
                    const char *quantity, const struct curve_spread *spread,
                    const struct curve_spread *first) {
    char number[TRIB_NUMBER_TEXT];
    double ratio;
    bool quoted = strpbrk(label->label, ",\"\r\n") != NULL;
    if (quoted) trib_buf_printf(out, "\"");
    for (const char *c = label->label; *c != 0; c++) trib_buf_printf(out, *c == '"' ? "\"\"" : "%c", *c);
    trib_buf_printf(out, "%s,%s,%s,%zu,%zu", quoted ? "\"" : "", target, quantity, label->count, spread->n);
    const double values[] = {spread->mean, curve_spread_sd(spread), spread->min, spread->max};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        trib_buf_printf(out, ",%s", spread->n == 0 ? "" : trib_format_f64(number, values[i]));
    bool has = first != NULL && ratio_of(spread, first, &ratio);
    trib_buf_printf(out, ",%s\n", has ? trib_format_f64(number, ratio) : "");
}

static void print_csv(struct trib_buf *out, const struct comparison *c) {
    char target[TRIB_NUMBER_TEXT];
    trib_buf_printf(out, "label,to_accuracy,quantity,runs,reached,mean,sd,min,max,ratio\n");
    for (size_t i = 0; i < c->count; i++) {
        struct ends ends = ends_of(&c->labels[i]);
        csv_row(out, &c->labels[i], "", "best_accuracy", &ends.best, NULL);
        csv_row(out, &c->labels[i], "", "final_accuracy", &ends.final, NULL);
        for (size_t t = 0; t < c->target_count; t++) {
            struct compare_cost mine = compare_reach(&c->labels[i], c->targets[t]);
            struct compare_cost first = compare_reach(&c->labels[0], c->targets[t]);
            for (size_t k = 0; k < CURVE_COSTS; k++)
                if (is_told(c, k))
                    csv_row(out, &c->labels[i], trib_format_f64(target, c->targets[t]),
                            curve_cost_name((enum curve_cost)k), &mine.cost[k], &first.cost[k]);
        }
    }
}

void compare_print(struct trib_buf *out, const struct comparison *comparison, enum sheet_form form,
                   bool points) {
    switch (form) {
    case SHEET_TABLE: print_table(out, comparison); break;
    case SHEET_JSON: print_json(out, comparison, points); break;
    case SHEET_CSV: print_csv(out, comparison); break;
    }
}
