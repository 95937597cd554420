/* Charts as SVG, without a library: lines with bands, and bars. A page of its own or an image in one; colours
 * follow the reader's choice of light or dark. Texts are escaped here. */
#ifndef TRIB_CLI_SVG_H
#define TRIB_CLI_SVG_H

#include "shared/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* What an axis counts: it decides where ticks are and which unit is written behind the axis's title. */
enum svg_unit {
    SVG_COUNT,
    SVG_SECONDS,
    SVG_BYTES,
    SVG_SHARE /* 0..1, written as % */
};

struct svg_axis {
    const char *title;
    enum svg_unit unit;
    double from, to; /* equal: as far as the data goes, from 0 */
};

struct svg_chart {
    const char *title;
    struct svg_axis x, y;
    const double *marks; /* on the y axis: dashed lines across */
    size_t mark_count;
};

/* Points in the order of x. With `low` and `high` (or both NULL) a band is drawn behind the line. */
struct svg_line {
    const char *label;
    size_t count;
    const double *x, *y, *low, *high;
};

/* One height for each bin. */
struct svg_bars {
    const char *label;
    const double *y;
};

/* Appends a document. What is outside the axes is cut off; a line without points is in the legend alone. */
void svg_lines(struct trib_buf *out, const struct svg_chart *chart, const struct svg_line *lines,
               size_t count);
/* Bars of all series side by side in each bin; the x axis's unit and range are not used. */
void svg_bars(struct trib_buf *out, const struct svg_chart *chart, const struct svg_bars *series,
              size_t count, const char *const *bins, size_t bin_count);

/* A tick's distance, so that about `wanted` of them fit into `range` > 0: 1, 2 or 5 times a power of ten. */
double svg_step(double range, int wanted);

#endif
