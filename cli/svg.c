#include "cli/svg.h"

#include "shared/base/utf8.h"

#include <math.h>
#include <string.h>

enum {
    WIDTH = 760,
    PLOT_LEFT = 70,
    PLOT_RIGHT = WIDTH - 22,
    PLOT_HEIGHT = 320,
    TITLE_Y = 28,
    LEGEND_Y = 50,
    LEGEND_ROW = 20,
    BELOW = 56,
    COLOURS = 8,
    TICKS_MAX = 40 /* svg_step gives fewer */
};

/* Okabe and Ito's colours, which people tell apart whichever they see, lighter on dark ground. */
static const char *const on_light[COLOURS] = {"#0072b2", "#d55e00", "#009e73", "#a3468c",
                                              "#b07d00", "#2f97d0", "#6b5bd2", "#4d5560"};
static const char *const on_dark[COLOURS] = {"#4da9e0", "#ff8a3d", "#33c79b", "#dd8cc6",
                                             "#e6b84a", "#8ecdf2", "#a99df5", "#aab4c0"};

/* ---- pieces ---- */

static void put_text(struct trib_buf *out, const char *text) {
    size_t bytes = strlen(text), used;
    uint32_t code;
    for (size_t at = 0; at < bytes; at += used) {
        used = trib_utf8_next(text + at, bytes - at, &code);
        if (used == 0 || !trib_utf8_printable(code)) {
            trib_buf_printf(out, "?");
            used = used == 0 ? 1 : used;
        } else if (strchr("<>&\"'", text[at]) != NULL) {
            trib_buf_printf(out, "&#%d;", text[at]);
        } else {
            trib_buf_append(out, text + at, used);
        }
    }
}

static size_t characters(const char *text) {
    size_t count = 0;
    for (; *text != 0; text++) count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static void put_colours(struct trib_buf *out, const char *const *colours) {
    for (size_t i = 0; i < COLOURS; i++) {
        trib_buf_printf(out, ".c%zu{stroke:%s}.f%zu{fill:%s}", i, colours[i], i, colours[i]);
    }
}

static void put_style(struct trib_buf *out) {
    trib_buf_printf(
        out, "<style>svg{font:13px system-ui,-apple-system,'Segoe UI',sans-serif}"
             ".ground{fill:#fff}text{fill:#1f2328}.soft{fill:#59636e}.title{font-size:15px;font-weight:600}"
             ".grid{stroke:#e3e7eb}.axis{stroke:#8c959f}.mark{stroke:#59636e;stroke-dasharray:2 4}"
             ".line{fill:none;stroke-width:2;stroke-linejoin:round}.band{opacity:.18}"
             ".second{stroke-dasharray:7 4}");
    put_colours(out, on_light);
    trib_buf_printf(out,
                    "@media(prefers-color-scheme:dark){.ground{fill:#0d1117}text{fill:#e6edf3}"
                    ".soft{fill:#9198a1}.grid{stroke:#262c34}.axis{stroke:#59636e}.mark{stroke:#9198a1}");
    put_colours(out, on_dark);
    trib_buf_printf(out, "}</style>\n");
}

/* ---- axes ---- */

double svg_step(double range, int wanted) {
    double rough = range / wanted, power = pow(10, floor(log10(rough)));
    double times = rough / power;
    return power * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

/* An axis, ready: from and to are in its unit. */
struct scale {
    double from, to, divisor;
    const char *unit;
    double pixel_from, pixel_to;
};

static void choose_unit(struct scale *scale, enum svg_unit unit, double largest) {
    static const struct {
        enum svg_unit unit;
        double least, divisor;
        const char *name;
    } units[] = {{SVG_SECONDS, 0, 1, "s"},
                 {SVG_SECONDS, 240, 60, "min"},
                 {SVG_SECONDS, 14400, 3600, "h"},
                 {SVG_SECONDS, 345600, 86400, "days"},
                 {SVG_BYTES, 0, 1, "B"},
                 {SVG_BYTES, 2e3, 1e3, "kB"},
                 {SVG_BYTES, 2e6, 1e6, "MB"},
                 {SVG_BYTES, 2e9, 1e9, "GB"},
                 {SVG_BYTES, 2e12, 1e12, "TB"},
                 {SVG_SHARE, 0, 0.01, "%"},
                 {SVG_COUNT, 2e4, 1e3, "thousand"},
                 {SVG_COUNT, 2e7, 1e6, "million"}};
    scale->divisor = 1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (units[i].unit != unit || largest < units[i].least) continue;
        scale->divisor = units[i].divisor;
        scale->unit = units[i].name;
    }
}

static struct scale make_scale(const struct svg_axis *axis, double largest) {
    struct scale scale = {.from = axis->from, .to = axis->to};
    if (!(axis->to > axis->from)) scale.to = largest > axis->from ? largest : axis->from + 1;
    choose_unit(&scale, axis->unit, scale.to);
    scale.from /= scale.divisor;
    scale.to /= scale.divisor;
    return scale;
}

static double place(const struct scale *scale, double value) {
    double part = (value / scale->divisor - scale->from) / (scale->to - scale->from);
    return scale->pixel_from + part * (scale->pixel_to - scale->pixel_from);
}

static void put_title(struct trib_buf *out, const struct svg_axis *axis, const struct scale *scale) {
    put_text(out, axis->title);
    if (scale->unit != NULL) trib_buf_printf(out, ", %s", scale->unit);
    trib_buf_printf(out, "</text>\n");
}

/* Ticks are numbered by whole steps, so that 0 is 0 and not what additions left of it; adding 0.0 makes 0 of
 * ceil's -0. */
static void put_ticks(struct trib_buf *out, const struct scale *scale, bool across, double bottom) {
    double step = svg_step(scale->to - scale->from, across ? 8 : 9);
    double tolerance = step * 1e-6;
    double first = ceil((scale->from - tolerance) / step) + 0.0;
    for (unsigned n = 0; n < TICKS_MAX; n++) {
        double i = first + n, at = place(scale, i * step * scale->divisor);
        if (i * step > scale->to + tolerance) return;
        if (across) {
            trib_buf_printf(out, "<path class='grid' d='M%d %.1fH%d'/>", PLOT_LEFT, at, PLOT_RIGHT);
            trib_buf_printf(out, "<text class='soft' x='%d' y='%.1f' text-anchor='end'>%.10g</text>\n",
                            PLOT_LEFT - 8, at + 4, i * step);
        } else {
            trib_buf_printf(out, "<path class='axis' d='M%.1f %.1fv5'/>", at, bottom);
            trib_buf_printf(out, "<text class='soft' x='%.1f' y='%.1f' text-anchor='middle'>%.10g</text>\n",
                            at, bottom + 20, i * step);
        }
    }
}

/* ---- the frame around both kinds of charts ---- */

struct frame {
    struct trib_buf *out;
    const struct svg_chart *chart;
    double top, bottom;
};

/* Swatches and labels, as many in a row as fit; returns the rows' height. Widths are guessed: an SVG without
 * a script cannot measure its texts. */
static double put_legend(struct trib_buf *out, const char *const *labels, size_t count) {
    double x = PLOT_LEFT, y = LEGEND_Y;
    for (size_t i = 0; i < count; i++) {
        double width = 36 + 7.4 * (double)characters(labels[i]);
        if (x > PLOT_LEFT && x + width > PLOT_RIGHT) {
            x = PLOT_LEFT;
            y += LEGEND_ROW;
        }
        trib_buf_printf(out,
                        "<rect class='f%zu' x='%.1f' y='%.1f' width='16' height='4' rx='2'/><text x='%.1f' "
                        "y='%.1f'>",
                        i % COLOURS, x, y - 6, x + 22, y);
        put_text(out, labels[i]);
        trib_buf_printf(out, "</text>\n");
        x += width;
    }
    return y - LEGEND_Y + LEGEND_ROW;
}

/* The height is known when the legend is: it is written twice, the first time to measure it. */
static struct frame begin(struct trib_buf *out, const struct svg_chart *chart, const char *const *labels,
                          size_t count) {
    struct trib_buf legend;
    struct frame frame = {.out = out, .chart = chart};
    trib_buf_init(&legend, 0);
    frame.top = LEGEND_Y - LEGEND_ROW + 14 + put_legend(&legend, labels, count);
    frame.bottom = frame.top + PLOT_HEIGHT;
    double height = frame.bottom + BELOW;
    trib_buf_printf(out,
                    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %.0f' width='%d' height='%.0f' "
                    "role='img'>\n<title>",
                    WIDTH, height, WIDTH, height);
    put_text(out, chart->title);
    trib_buf_printf(out, "</title>\n");
    put_style(out);
    trib_buf_printf(out,
                    "<rect class='ground' width='%d' height='%.0f'/>\n<text class='title' x='%d' y='%d'>",
                    WIDTH, height, PLOT_LEFT, TITLE_Y);
    put_text(out, chart->title);
    trib_buf_printf(out, "</text>\n");
    trib_buf_append(out, legend.data, legend.size);
    trib_buf_release(&legend);
    return frame;
}

static void put_y_axis(const struct frame *f, struct scale *scale) {
    double middle = (f->top + f->bottom) / 2;
    scale->pixel_from = f->bottom;
    scale->pixel_to = f->top;
    put_ticks(f->out, scale, true, f->bottom);
    trib_buf_printf(f->out, "<text text-anchor='middle' transform='translate(18 %.1f) rotate(-90)'>", middle);
    put_title(f->out, &f->chart->y, scale);
    for (size_t i = 0; i < f->chart->mark_count; i++) {
        double at = place(scale, f->chart->marks[i]);
        if (at < f->top || at > f->bottom) continue;
        trib_buf_printf(f->out, "<path class='mark' d='M%d %.1fH%d'/>\n", PLOT_LEFT, at, PLOT_RIGHT);
    }
}

static void put_x_axis(const struct frame *f, const struct scale *scale) {
    trib_buf_printf(f->out, "<path class='axis' d='M%d %.1fH%d'/><text x='%d' y='%.1f' text-anchor='middle'>",
                    PLOT_LEFT, f->bottom, PLOT_RIGHT, (PLOT_LEFT + PLOT_RIGHT) / 2, f->bottom + 44);
    put_title(f->out, &f->chart->x, scale);
}

static void open_plot(const struct frame *f) {
    trib_buf_printf(f->out,
                    "<clipPath id='plot'><rect x='%d' y='%.1f' width='%d' height='%.1f'/></clipPath>\n"
                    "<g clip-path='url(#plot)'>\n",
                    PLOT_LEFT, f->top - 2, PLOT_RIGHT - PLOT_LEFT, f->bottom - f->top + 2);
}

/* ---- lines ---- */

static double largest_of(const struct svg_line *lines, size_t count, bool of_x) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        const double *values = of_x ? lines[i].x : lines[i].high != NULL ? lines[i].high : lines[i].y;
        for (size_t j = 0; j < lines[i].count; j++) largest = fmax(largest, values[j]);
    }
    return largest;
}

static void put_points(struct trib_buf *out, const struct scale *x, const struct scale *y, const double *xs,
                       const double *ys, size_t count, bool back) {
    for (size_t i = 0; i < count; i++) {
        size_t at = back ? count - 1 - i : i;
        trib_buf_printf(out, " %.1f %.1f", place(x, xs[at]), place(y, ys[at]));
    }
}

static void put_band(struct trib_buf *out, const struct scale *x, const struct scale *y,
                     const struct svg_line *line, size_t index) {
    if (line->count == 0 || line->low == NULL || line->high == NULL) return;
    trib_buf_printf(out, "<path class='band f%zu' d='M", index % COLOURS);
    put_points(out, x, y, line->x, line->low, line->count, false);
    trib_buf_printf(out, " L");
    put_points(out, x, y, line->x, line->high, line->count, true);
    trib_buf_printf(out, "Z'/>\n");
}

static void put_line(struct trib_buf *out, const struct scale *x, const struct scale *y,
                     const struct svg_line *line, size_t index) {
    if (line->count == 0) return;
    trib_buf_printf(out, "<path class='line c%zu%s' d='M", index % COLOURS, index < COLOURS ? "" : " second");
    put_points(out, x, y, line->x, line->y, line->count, false);
    trib_buf_printf(out, "'/>\n");
}

enum { LABELS_MAX = 64 };

void svg_lines(struct trib_buf *out, const struct svg_chart *chart, const struct svg_line *lines,
               size_t count) {
    const char *labels[LABELS_MAX] = {NULL};
    TRIB_ASSERT(count <= LABELS_MAX);
    for (size_t i = 0; i < count; i++) labels[i] = lines[i].label;
    struct frame f = begin(out, chart, labels, count);
    struct scale x = make_scale(&chart->x, largest_of(lines, count, true));
    struct scale y = make_scale(&chart->y, 1.04 * largest_of(lines, count, false));
    x.pixel_from = PLOT_LEFT;
    x.pixel_to = PLOT_RIGHT;
    put_y_axis(&f, &y);
    put_x_axis(&f, &x);
    put_ticks(out, &x, false, f.bottom);
    open_plot(&f);
    for (size_t i = 0; i < count; i++) put_band(out, &x, &y, &lines[i], i);
    for (size_t i = 0; i < count; i++) put_line(out, &x, &y, &lines[i], i);
    trib_buf_printf(out, "</g>\n</svg>\n");
}

/* ---- bars ---- */

static void put_bins(const struct frame *f, const struct scale *y, const struct svg_bars *series,
                     size_t count, const char *const *bins, size_t bin_count) {
    double slot = (double)(PLOT_RIGHT - PLOT_LEFT) / (double)bin_count, bar = 0.8 * slot / (double)count;
    size_t labelled = 1 + bin_count / 24; /* every so many bins one has its name below it */
    for (size_t b = 0; b < bin_count; b++) {
        double left = PLOT_LEFT + slot * (double)b;
        for (size_t i = 0; i < count; i++) {
            double top = place(y, series[i].y[b]);
            trib_buf_printf(f->out, "<rect class='f%zu' x='%.1f' y='%.1f' width='%.1f' height='%.1f'/>",
                            i % COLOURS, left + 0.1 * slot + bar * (double)i, top, bar, f->bottom - top);
        }
        if (b % labelled != 0) continue;
        trib_buf_printf(f->out, "<text class='soft' x='%.1f' y='%.1f' text-anchor='middle'>", left + slot / 2,
                        f->bottom + 20);
        put_text(f->out, bins[b]);
        trib_buf_printf(f->out, "</text>\n");
    }
}

void svg_bars(struct trib_buf *out, const struct svg_chart *chart, const struct svg_bars *series,
              size_t count, const char *const *bins, size_t bin_count) {
    const char *labels[LABELS_MAX] = {NULL};
    double largest = 0;
    TRIB_ASSERT(count > 0 && count <= LABELS_MAX && bin_count > 0);
    for (size_t i = 0; i < count; i++) {
        labels[i] = series[i].label;
        for (size_t b = 0; b < bin_count; b++) largest = fmax(largest, series[i].y[b]);
    }
    struct frame f = begin(out, chart, labels, count);
    struct scale y = make_scale(&chart->y, 1.04 * largest), x = {.divisor = 1};
    put_y_axis(&f, &y);
    put_x_axis(&f, &x);
    put_bins(&f, &y, series, count, bins, bin_count);
    trib_buf_printf(out, "</svg>\n");
}
