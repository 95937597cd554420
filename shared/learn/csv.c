#include "shared/learn/csv.h"

#include "shared/base/alloc.h"
#include "shared/base/option.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

struct trib_csv {
    gzFile file;
    const char *path;
    size_t number; /* of the line last read, from 1 */
    size_t columns;
    char *names[TRIB_CSV_MAX_COLUMNS], *fields[TRIB_CSV_MAX_COLUMNS];
    char header[TRIB_CSV_MAX_LINE], line[TRIB_CSV_MAX_LINE];
};

static enum trib_status damaged(const struct trib_csv *csv, const char *what, struct trib_error *err) {
    return trib_fail(err, TRIB_CORRUPT, "%s:%zu: %s", csv->path, csv->number, what);
}

/* One line without its end; *there is false behind the last. */
static enum trib_status read_line(struct trib_csv *csv, char *line, bool *there, struct trib_error *err) {
    csv->number++;
    *there = gzgets(csv->file, line, TRIB_CSV_MAX_LINE) != NULL;
    if (!*there) {
        int code;
        const char *text = gzerror(csv->file, &code);
        if (code == Z_OK || code == Z_STREAM_END) return TRIB_OK;
        if (code == Z_BUF_ERROR) text = "the file ends too early";
        return trib_fail(err, TRIB_CORRUPT, "%s:%zu: cannot be read (%.80s)", csv->path, csv->number, text);
    }
    size_t bytes = strlen(line);
    if (bytes + 1 == TRIB_CSV_MAX_LINE && line[bytes - 1] != '\n')
        return damaged(csv, "a line of 64 KiB or more", err);
    if (bytes == 0) return damaged(csv, "a byte 0; this is not text", err);
    if (bytes > 0 && line[bytes - 1] == '\n') line[--bytes] = '\0';
    if (bytes > 0 && line[bytes - 1] == '\r') line[--bytes] = '\0';
    return TRIB_OK;
}

/* Ends the quoted field behind `from` in place; what follows the closing quote, or NULL if there is none. */
static char *unquote(char *from) {
    char *to = from;
    for (; *from != '\0'; *to++ = *from++) {
        if (*from != '"') continue;
        if (from[1] != '"') {
            *to = '\0';
            return from + 1;
        }
        from++;
    }
    return NULL;
}

/* Cuts a line into fields, in place. */
static enum trib_status cut(const struct trib_csv *csv, char *line, char **fields, size_t *count,
                            struct trib_error *err) {
    char *at = line;
    for (*count = 0; *count < TRIB_CSV_MAX_COLUMNS;) {
        bool quoted = *at == '"';
        fields[(*count)++] = quoted ? at + 1 : at;
        char *end = quoted ? unquote(at + 1) : at + strcspn(at, ",");
        if (end == NULL) return damaged(csv, "a quote that does not end on its line", err);
        if (*end == '\0') return TRIB_OK;
        if (*end != ',') return damaged(csv, "text behind a closing quote; a comma was expected", err);
        *end = '\0';
        at = end + 1;
    }
    return trib_fail(err, TRIB_LIMIT, "%s:%zu: more than %d columns", csv->path, csv->number,
                     TRIB_CSV_MAX_COLUMNS);
}

enum trib_status trib_csv_open(const char *path, struct trib_csv **out, struct trib_error *err) {
    struct trib_csv *csv = trib_alloc(sizeof *csv);
    if (csv == NULL) return trib_fail(err, TRIB_NOMEM, "%s: no memory to read it", path);
    csv->path = path;
    errno = 0;
    csv->file = gzopen(path, "rbe");
    bool there = false;
    enum trib_status status = TRIB_OK;
    if (csv->file == NULL)
        status = errno == 0 ? trib_fail(err, TRIB_NOMEM, "%s: no memory to open it", path)
                            : trib_fail_errno(err, "%s: cannot be opened", path);
    if (status == TRIB_OK) status = read_line(csv, csv->header, &there, err);
    if (status == TRIB_OK && !there)
        status = damaged(csv, "the file is empty; a line of names was expected", err);
    if (status == TRIB_OK) status = cut(csv, csv->header, csv->names, &csv->columns, err);
    if (status != TRIB_OK)
        trib_csv_close(&csv);
    else
        *out = csv;
    return status;
}

void trib_csv_close(struct trib_csv **csv) {
    struct trib_csv *c = *csv;
    *csv = NULL;
    if (c == NULL) return;
    if (c->file != NULL) (void)gzclose(c->file);
    trib_free(c);
}

enum trib_status trib_csv_column(const struct trib_csv *csv, const char *name, size_t *out,
                                 struct trib_error *err) {
    for (*out = 0; *out < csv->columns; ++*out)
        if (strcmp(csv->names[*out], name) == 0) return TRIB_OK;
    const char *near = trib_nearest(name, (const char *const *)csv->names, csv->columns);
    return trib_fail(err, TRIB_INVALID, "%s:1: no column '%.60s' among %zu%s%.60s%s", csv->path, name,
                     csv->columns, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "");
}

enum trib_status trib_csv_next(struct trib_csv *csv, char *const **fields, struct trib_error *err) {
    bool there;
    size_t count = 0;
    *fields = NULL;
    do {
        enum trib_status status = read_line(csv, csv->line, &there, err);
        if (status != TRIB_OK || !there) return status;
    } while (csv->line[0] == '\0');
    enum trib_status status = cut(csv, csv->line, csv->fields, &count, err);
    if (status != TRIB_OK) return status;
    if (count != csv->columns)
        return trib_fail(err, TRIB_CORRUPT, "%s:%zu: %zu fields, expected %zu as in line 1", csv->path,
                         csv->number, count, csv->columns);
    *fields = csv->fields;
    return TRIB_OK;
}

bool trib_csv_missing(const char *field) {
    return *field == '\0' || strcmp(field, "NA") == 0 || strcasecmp(field, "nan") == 0;
}

enum trib_status trib_csv_number(const struct trib_csv *csv, size_t column, float *out,
                                 struct trib_error *err) {
    const char *field = csv->fields[column];
    *out = NAN;
    if (trib_csv_missing(field)) return TRIB_OK;
    char *end;
    *out = strtof(field, &end);
    if (end != field && *end == '\0' && isfinite(*out)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "%s:%zu: %s is '%.60s', expected a number, or NA where it is missing",
                     csv->path, csv->number, csv->names[column], field);
}
