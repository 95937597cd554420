/* Charts: well-formed whatever the labels are, ticks where people expect them, points where the axes say. */
#include "cli/svg.c"

#include "tests/support/cmocka.h"

#include <ctype.h>
#include <stdio.h>

static struct trib_buf out;

static int setup(void **state) {
    (void)state;
    trib_buf_init(&out, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    trib_buf_release(&out);
    return 0;
}

static void expect(const char *words) {
    if (strstr(trib_buf_text(&out), words) == NULL)
        fail_msg("\"%s\" is not in:\n%s", words, trib_buf_text(&out));
}

/* Elements are closed in the order they were opened, values are in quotes, no < or & stands alone. */
static void check_well_formed(void) {
    char open[32][16];
    size_t depth = 0;
    for (const char *at = trib_buf_text(&out); *at != 0; at++) {
        if (*at == '&') assert_true(at[1] == '#' && isdigit((unsigned char)at[2]));
        if (*at != '<') continue;
        const char *end = strchr(at, '>');
        assert_non_null(end);
        assert_null(memchr(at + 1, '<', (size_t)(end - at - 1)));
        size_t quotes = 0;
        for (const char *c = at; c < end; c++) quotes += *c == '\'';
        assert_int_equal(quotes % 2, 0);
        size_t name = strcspn(at + 1, " />\n");
        if (at[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_memory_equal(open[depth], at + 2, strlen(open[depth]));
        } else if (end[-1] != '/') {
            assert_true(depth < 32 && name < 16);
            (void)snprintf(open[depth++], 16, "%.*s", (int)name, at + 1);
        }
        at = end;
    }
    assert_int_equal(depth, 0);
    assert_null(strstr(trib_buf_text(&out), "nan"));
    assert_null(strstr(trib_buf_text(&out), "inf"));
}

static void test_steps(void **state) {
    (void)state;
    static const struct {
        double range;
        int wanted;
        double step;
    } rows[] = {{1, 10, 0.1},      {10, 10, 1},    {11, 10, 2}, {30, 10, 5},
                {0.007, 7, 0.001}, {6e9, 10, 1e9}, {51, 10, 10}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double found = svg_step(rows[i].range, rows[i].wanted);
        if (fabs(found / rows[i].step - 1) > 1e-9)
            fail_msg("%g in %d: %g", rows[i].range, rows[i].wanted, found);
    }
}

static void test_lines(void **state) {
    (void)state;
    static const double x[] = {0, 300, 600}, y[] = {0.1, 0.9, 0.95}, low[] = {0, 0.8, 0.9},
                        high[] = {0.2, 1, 1}, mark = 0.9;
    const struct svg_chart chart = {.title = "a < b",
                                    .x = {.title = "time", .unit = SVG_SECONDS},
                                    .y = {.title = "accuracy", .unit = SVG_SHARE, .from = 0, .to = 1},
                                    .marks = &mark,
                                    .mark_count = 1};
    const struct svg_line lines[] = {{"sync", 3, x, y, low, high},
                                     {"R&D's \"<>\"", 3, x, y, NULL, NULL},
                                     {"none", 0, NULL, NULL, NULL, NULL}};
    svg_lines(&out, &chart, lines, 3);
    check_well_formed();
    expect(">time, min</text>");
    expect(">accuracy, %</text>");
    expect("a &#60; b");
    expect("R&#38;D&#39;s &#34;&#60;&#62;&#34;");
    expect("class='mark'");
    expect(">10</text>");  /* 600 s, and 10% */
    expect(">100</text>"); /* % */
    expect("prefers-color-scheme:dark");
    /* The ends of the line: 10% of the height above the left end of the axis, and 95% at the right end. */
    char wanted[80];
    double top = LEGEND_Y - LEGEND_ROW + 14 + LEGEND_ROW;
    (void)snprintf(wanted, sizeof wanted, "<path class='line c0' d='M %.1f %.1f", (double)PLOT_LEFT,
                   top + 0.9 * PLOT_HEIGHT);
    expect(wanted);
    (void)snprintf(wanted, sizeof wanted, " %.1f %.1f'/>", (double)PLOT_RIGHT, top + 0.05 * PLOT_HEIGHT);
    expect(wanted);
}

static void test_strange_labels(void **state) {
    (void)state;
    static const double x[] = {1, 2}, y[] = {3, 4};
    const struct svg_chart chart = {.title = "t", .x = {.title = "x"}, .y = {.title = "y"}};
    struct svg_line lines[12];
    for (size_t i = 0; i < 12; i++)
        lines[i] = (struct svg_line){"a label that is rather long", 2, x, y, NULL, NULL};
    lines[0].label = "\xff\xfe broken \x01";
    lines[1].label = "grün";
    svg_lines(&out, &chart, lines, 12);
    check_well_formed();
    expect("?? broken ?");
    expect("grün");
    expect("class='line c3 second'"); /* the twelfth: its colour again, dashed */
}

static void test_bars(void **state) {
    (void)state;
    static const double a[] = {0.5, 0.25, 0.25}, b[] = {1, 0, 0};
    static const char *const bins[] = {"0", "1", "2+"};
    const struct svg_chart chart = {.title = "t",
                                    .x = {.title = "staleness"},
                                    .y = {.title = "updates", .unit = SVG_SHARE, .from = 0, .to = 1}};
    const struct svg_bars series[] = {{"a", a}, {"b", b}};
    svg_bars(&out, &chart, series, 2, bins, 3);
    check_well_formed();
    expect(">2+</text>");
    char wanted[80];
    (void)snprintf(wanted, sizeof wanted, "height='%.1f'/>", 0.25 * PLOT_HEIGHT);
    expect(wanted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strange_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bars, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
