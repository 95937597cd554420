#include "cli/sheet.h"

#include "shared/base/json.h"
#include "shared/base/number.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { COLUMNS_MAX = 32 };

struct sheet {
    const struct trib_ledger_column *columns;
    size_t count, rows;
    enum sheet_form form;
    struct trib_json json;
    struct trib_buf *out;
    struct trib_buf cells; /* SHEET_TABLE: texts, each with its 0 */
    size_t width[COLUMNS_MAX];
    bool shown[COLUMNS_MAX]; /* in a table: those with a title, and of hops between edges those that there are
                              */
};

/* ---- values for people ---- */

static void put_time(struct trib_buf *out, int64_t ms) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];
    if (gmtime_r(&seconds, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm) == 0) {
        trib_buf_printf(out, "%" PRId64, ms);
    } else {
        trib_buf_printf(out, "%s", text);
    }
}

static void put_size(struct trib_buf *out, int64_t bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.95 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    trib_buf_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void put_text(struct trib_buf *out, const char *text) {
    for (; *text != 0; text++) {
        char c = (unsigned char)*text < 32 ? ' ' : *text;
        trib_buf_append(out, &c, 1);
    }
}

static void put_cell(struct trib_buf *out, const struct trib_ledger_column *column,
                     const struct trib_ledger_cell *cell) {
    if (cell->null) {
        trib_buf_printf(out, "-");
        return;
    }
    switch (column->unit) {
    case TRIB_UNIT_TEXT:
        if (strcmp(column->name, "run") == 0) {
            trib_buf_printf(out, "%.8s", cell->text);
        } else {
            put_text(out, cell->text);
        }
        break;
    case TRIB_UNIT_COUNT: trib_buf_printf(out, "%" PRId64, cell->integer); break;
    case TRIB_UNIT_BYTES: put_size(out, cell->integer); break;
    case TRIB_UNIT_TIME: put_time(out, cell->integer); break;
    case TRIB_UNIT_SECONDS: trib_buf_printf(out, "%.1f s", cell->real); break;
    case TRIB_UNIT_REAL: trib_buf_printf(out, cell->real >= 100 ? "%.1f" : "%.3f", cell->real); break;
    case TRIB_UNIT_SHARE: trib_buf_printf(out, "%.2f%%", 100 * cell->real); break;
    }
}

/* How many columns a text takes: its characters, not its bytes. */
static size_t width_of(const char *text) {
    size_t width = 0;
    for (; *text != 0; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void add_table_row(struct sheet *sheet, const struct trib_ledger_cell *cells) {
    for (size_t i = 0; i < sheet->count; i++) {
        if (sheet->columns[i].title == NULL) continue;
        size_t at = sheet->cells.size;
        if (cells[i].integer != 0) sheet->shown[i] = true;
        put_cell(&sheet->cells, &sheet->columns[i], &cells[i]);
        trib_buf_append(&sheet->cells, "", 1);
        if (sheet->cells.failed) return;
        size_t width = width_of((const char *)sheet->cells.data + at);
        if (width > sheet->width[i]) sheet->width[i] = width;
    }
}

static void put_padded(struct sheet *sheet, size_t column, bool first, const char *text) {
    bool left =
        sheet->columns[column].unit == TRIB_UNIT_TEXT || sheet->columns[column].unit == TRIB_UNIT_TIME;
    int pad = (int)(sheet->width[column] - width_of(text));
    trib_buf_printf(sheet->out, "%s%*s%s%*s", first ? "" : "  ", left ? 0 : pad, "", text, left ? pad : 0,
                    "");
}

static void end_line(struct trib_buf *out) {
    while (out->size > 0 && out->data[out->size - 1] == ' ') out->size--;
    trib_buf_printf(out, "\n");
}

static void print_table(struct sheet *sheet) {
    const char *cell = trib_buf_text(&sheet->cells);
    for (size_t row = 0; row <= sheet->rows; row++) {
        bool first = true;
        for (size_t i = 0; i < sheet->count; i++) {
            if (sheet->columns[i].title == NULL) continue;
            if (sheet->shown[i]) put_padded(sheet, i, first, row == 0 ? sheet->columns[i].title : cell);
            if (sheet->shown[i]) first = false;
            if (row > 0) cell += strlen(cell) + 1;
        }
        end_line(sheet->out);
    }
}

/* ---- values for programs ---- */

static bool is_real(enum trib_ledger_unit unit) {
    return unit == TRIB_UNIT_SECONDS || unit == TRIB_UNIT_REAL || unit == TRIB_UNIT_SHARE;
}

static void add_json_row(struct sheet *sheet, const struct trib_ledger_cell *cells) {
    trib_json_begin(&sheet->json, '{');
    for (size_t i = 0; i < sheet->count; i++) {
        trib_json_key(&sheet->json, sheet->columns[i].name);
        if (cells[i].null) {
            trib_json_null(&sheet->json);
        } else if (sheet->columns[i].unit == TRIB_UNIT_TEXT) {
            trib_json_string(&sheet->json, cells[i].text);
        } else if (is_real(sheet->columns[i].unit)) {
            trib_json_f64(&sheet->json, cells[i].real);
        } else {
            trib_json_i64(&sheet->json, cells[i].integer);
        }
    }
    trib_json_end(&sheet->json, '}');
}

static void put_quoted(struct trib_buf *out, const char *text) {
    if (strpbrk(text, ",\"\r\n") == NULL) {
        trib_buf_printf(out, "%s", text);
        return;
    }
    trib_buf_printf(out, "\"");
    for (; *text != 0; text++) trib_buf_printf(out, *text == '"' ? "\"\"" : "%c", *text);
    trib_buf_printf(out, "\"");
}

static void add_csv_row(struct sheet *sheet, const struct trib_ledger_cell *cells) {
    char number[TRIB_NUMBER_TEXT];
    for (size_t i = 0; i < sheet->count; i++) {
        if (i > 0) trib_buf_printf(sheet->out, ",");
        if (cells[i].null) continue;
        if (sheet->columns[i].unit == TRIB_UNIT_TEXT) {
            put_quoted(sheet->out, cells[i].text);
        } else if (is_real(sheet->columns[i].unit)) {
            trib_buf_printf(sheet->out, "%s", trib_format_f64(number, cells[i].real));
        } else {
            trib_buf_printf(sheet->out, "%" PRId64, cells[i].integer);
        }
    }
    trib_buf_printf(sheet->out, "\n");
}

static enum trib_status add_row(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                                struct trib_error *err) {
    struct sheet *sheet = ctx;
    (void)count;
    sheet->rows++;
    switch (sheet->form) {
    case SHEET_TABLE: add_table_row(sheet, cells); break;
    case SHEET_JSON: add_json_row(sheet, cells); break;
    case SHEET_CSV: add_csv_row(sheet, cells); break;
    }
    if (!sheet->cells.failed && !sheet->out->failed) return TRIB_OK;
    return trib_fail(err, TRIB_NOMEM, "no memory for %zu rows; --limit takes fewer", sheet->rows);
}

static void begin(struct sheet *sheet) {
    if (sheet->form == SHEET_JSON) trib_json_begin(&sheet->json, '[');
    for (size_t i = 0; i < sheet->count; i++) {
        if (sheet->columns[i].title != NULL) sheet->width[i] = width_of(sheet->columns[i].title);
        sheet->shown[i] = sheet->columns[i].title != NULL &&
                          strncmp(sheet->columns[i].name, "edge_edge", strlen("edge_edge")) != 0;
        if (sheet->form == SHEET_CSV) {
            trib_buf_printf(sheet->out, "%s%s", i > 0 ? "," : "", sheet->columns[i].name);
        }
    }
    if (sheet->form == SHEET_CSV) trib_buf_printf(sheet->out, "\n");
}

enum trib_status sheet_write(struct trib_ledger_reader *reader, enum trib_ledger_table table, int64_t run_id,
                             int64_t limit, enum sheet_form form, struct trib_buf *out, size_t *rows,
                             struct trib_error *err) {
    struct sheet sheet = {.form = form, .out = out, .json = {.out = out}};
    sheet.columns = trib_ledger_columns(table, &sheet.count);
    TRIB_ASSERT(sheet.count <= COLUMNS_MAX);
    trib_buf_init(&sheet.cells, 0);
    begin(&sheet);
    enum trib_status status = trib_ledger_read(reader, table, run_id, limit, add_row, &sheet, err);
    if (status == TRIB_OK && form == SHEET_TABLE) print_table(&sheet);
    if (form == SHEET_JSON) trib_json_end(&sheet.json, ']');
    trib_buf_release(&sheet.cells);
    if (rows != NULL) *rows = sheet.rows;
    if (status == TRIB_OK && out->failed) status = trib_fail(err, TRIB_NOMEM, "no memory for the output");
    return status;
}
