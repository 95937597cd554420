#include "shared/learn/table.h"

#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/learn/csv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FEATURES = 64, MAX_TEXTS = 4096, MAX_CATEGORIES = 64, MAX_NAME = 64, SEED = 0x7461626c };

/* The distinct texts of a column, in the order in which they came. */
struct texts {
    char (*text)[MAX_NAME];
    size_t count, last, most;
};

enum column_kind { NUMBER, CYCLE, CATEGORY };

struct column {
    enum column_kind kind;
    char name[MAX_NAME];
    double period;
    struct texts texts; /* of a category */
    size_t at;          /* in the file being read */
    double mean, scale; /* of a number: 1 / deviation, 0 where that is 0 */
};

struct reading {
    const struct trib_table *table;
    struct column columns[MAX_FEATURES + 1]; /* the target is the last */
    size_t features;                         /* columns but the target */
    struct texts users;
    float *raw; /* rows * (features + 1) */
    uint32_t *user;
    bool *tests;
    size_t rows, room, no_target, missing;
};

/* ---- what to read ---- */

static enum trib_status text_index(struct texts *texts, const char *text, const char *column, size_t *out,
                                   struct trib_error *err) {
    if (texts->count > 0 && strcmp(texts->text[texts->last], text) == 0) {
        *out = texts->last;
        return TRIB_OK;
    }
    for (*out = 0; *out < texts->count; ++*out)
        if (strcmp(texts->text[*out], text) == 0) break;
    texts->last = *out;
    if (*out < texts->count) return TRIB_OK;
    if (texts->count == texts->most || strlen(text) >= MAX_NAME)
        return trib_fail(err, TRIB_LIMIT,
                         "column %s: more than %zu different texts, or one of %d bytes or more", column,
                         texts->most, MAX_NAME);
    if (texts->text == NULL) texts->text = trib_alloc_array(texts->most, sizeof *texts->text);
    if (texts->text == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the texts of %s", column);
    memcpy(texts->text[texts->count++], text, strlen(text) + 1);
    return TRIB_OK;
}

/* NAME, NAME%PERIOD or NAME#. */
static enum trib_status read_feature(struct column *column, const char *word, size_t bytes,
                                     struct trib_error *err) {
    if (bytes >= MAX_NAME)
        return trib_fail(err, TRIB_INVALID, "a feature's name of %zu bytes; the limit is %d", bytes,
                         MAX_NAME - 1);
    *column = (struct column){.kind = NUMBER, .texts = {.most = MAX_CATEGORIES}};
    memcpy(column->name, word, bytes);
    char *cycle = strchr(column->name, '%');
    if (bytes > 1 && column->name[bytes - 1] == '#') {
        column->kind = CATEGORY;
        column->name[bytes - 1] = '\0';
    } else if (cycle != NULL) {
        char *end;
        column->kind = CYCLE;
        column->period = strtod(cycle + 1, &end);
        if (*end != '\0' || !(column->period > 0.0))
            return trib_fail(err, TRIB_INVALID, "feature '%s': expected a number above 0 behind %%",
                             column->name);
        *cycle = '\0';
    }
    return TRIB_OK;
}

static enum trib_status read_features(struct reading *r, struct trib_error *err) {
    const char *word = r->table->features;
    for (;;) {
        word += strspn(word, " \n\t");
        size_t bytes = strcspn(word, " \n\t");
        if (bytes == 0) break;
        if (r->features == MAX_FEATURES)
            return trib_fail(err, TRIB_LIMIT, "more than %d feature columns", MAX_FEATURES);
        enum trib_status status = read_feature(&r->columns[r->features], word, bytes, err);
        if (status != TRIB_OK) return status;
        r->features++;
        word += bytes;
    }
    if (r->features == 0 || *r->table->target == '\0' || strlen(r->table->target) >= MAX_NAME)
        return trib_fail(err, TRIB_INVALID,
                         "a table needs files, a target column and features: csv(file.csv, target=price, "
                         "features=size rooms)");
    if (r->table->classes == 1)
        return trib_fail(err, TRIB_INVALID, "classes is 1; 0 or 2 and more are possible");
    struct column *target = &r->columns[r->features];
    memcpy(target->name, r->table->target, strlen(r->table->target) + 1);
    return TRIB_OK;
}

/* ---- rows ---- */

static enum trib_status make_room(struct reading *r, struct trib_error *err) {
    if (r->rows < r->room) return TRIB_OK;
    if (r->rows >= TRIB_DATASET_MAX_IMAGES)
        return trib_fail(err, TRIB_LIMIT, "more than %d rows", TRIB_DATASET_MAX_IMAGES);
    size_t room = r->room > 0 ? 2 * r->room : 4096, each = r->features + 1;
    float *raw = trib_alloc_floats(room * each);
    uint32_t *user = trib_alloc_array(room, sizeof *user);
    bool ok = raw != NULL && user != NULL;
    if (ok && r->rows > 0) {
        memcpy(raw, r->raw, r->rows * each * sizeof *raw);
        memcpy(user, r->user, r->rows * sizeof *user);
    }
    trib_free(ok ? r->raw : raw);
    trib_free(ok ? r->user : user);
    if (!ok) return trib_fail(err, TRIB_NOMEM, "no memory for %zu rows", room);
    r->raw = raw;
    r->user = user;
    r->room = room;
    return TRIB_OK;
}

static enum trib_status take_field(struct column *column, const struct trib_csv *csv, char *const *fields,
                                   float *out, struct trib_error *err) {
    if (column->kind != CATEGORY) return trib_csv_number(csv, column->at, out, err);
    *out = NAN;
    if (trib_csv_missing(fields[column->at])) return TRIB_OK;
    size_t index;
    enum trib_status status = text_index(&column->texts, fields[column->at], column->name, &index, err);
    if (status == TRIB_OK) *out = (float)index;
    return status;
}

static enum trib_status take_row(struct reading *r, const struct trib_csv *csv, char *const *fields,
                                 size_t user_at, struct trib_error *err) {
    enum trib_status status = make_room(r, err);
    float *row = r->raw + r->rows * (r->features + 1);
    for (size_t c = 0; c <= r->features && status == TRIB_OK; c++)
        status = take_field(&r->columns[c], csv, fields, row + c, err);
    if (status != TRIB_OK) return status;
    float target = row[r->features];
    if (isnan(target)) {
        r->no_target++;
        return TRIB_OK;
    }
    uint64_t classes = r->table->classes;
    if (classes > 0 && !(target >= 0.0f && target < (float)classes && target == floorf(target)))
        return trib_fail(err, TRIB_INVALID, "target %s is %g; with %llu classes it is one of 0 to %llu",
                         r->table->target, (double)target, (unsigned long long)classes,
                         (unsigned long long)classes - 1);
    size_t user = 0;
    if (*r->table->user != '\0') status = text_index(&r->users, fields[user_at], r->table->user, &user, err);
    r->user[r->rows] = (uint32_t)user;
    for (size_t c = 0; c < r->features; c++) r->missing += isnan(row[c]) ? 1 : 0;
    r->rows++;
    return status;
}

static enum trib_status read_file(struct reading *r, const char *path, struct trib_error *err) {
    struct trib_csv *csv = NULL;
    size_t user_at = 0, line = 0;
    enum trib_status status = trib_csv_open(path, &csv, err);
    for (size_t c = 0; c <= r->features && status == TRIB_OK; c++)
        status = trib_csv_column(csv, r->columns[c].name, &r->columns[c].at, err);
    if (status == TRIB_OK && *r->table->user != '\0')
        status = trib_csv_column(csv, r->table->user, &user_at, err);
    while (status == TRIB_OK) {
        char *const *fields;
        status = trib_csv_next(csv, &fields, err);
        if (status != TRIB_OK || fields == NULL) break;
        if (line++ % r->table->every == 0) status = take_row(r, csv, fields, user_at, err);
    }
    trib_csv_close(&csv);
    return status;
}

/* Another of the files named; the rest into *rest, false behind the last. */
static bool next_file(const char **rest, char *name, size_t room) {
    *rest += strspn(*rest, " \n\t");
    size_t bytes = strcspn(*rest, " \n\t");
    (void)snprintf(name, room, "%.*s", (int)(bytes < room ? bytes : room - 1), *rest);
    *rest += bytes;
    return bytes > 0;
}

static enum trib_status read_files(struct reading *r, struct trib_dataset *dataset, const char *name,
                                   const char *path, struct trib_error *err) {
    char folder[TRIB_DATASET_MAX_SOURCE], file[128], full[TRIB_DATASET_MAX_SOURCE];
    const char *what = NULL, *rest = r->table->files;
    (void)next_file(&rest, file, sizeof file);
    enum trib_status status = trib_source_find(name, file, path, folder, &what, err);
    if (status != TRIB_OK) return status;
    (void)snprintf(dataset->source, sizeof dataset->source, "%s (%s)", folder, what);
    for (rest = r->table->files; next_file(&rest, file, sizeof file) && status == TRIB_OK;)
        status = trib_source_file(folder, file, full)
                     ? read_file(r, full, err)
                     : trib_fail(err, TRIB_NOT_FOUND, "%s has no %s nor %s.gz", folder, file, file);
    if (status == TRIB_OK && r->rows < 2)
        return trib_fail(err, TRIB_INVALID, "%s: %zu rows with a target; at least 2 are needed", folder,
                         r->rows);
    return status;
}

/* ---- out of the rows ---- */

/* Which rows test: at random, or the last share of each user's. */
static enum trib_status choose_tests(struct reading *r, struct trib_error *err) {
    size_t users = r->users.count > 0 ? r->users.count : 1;
    size_t *left = trib_alloc_array(users, sizeof *left);
    r->tests = trib_alloc(r->rows);
    if (left == NULL || r->tests == NULL) {
        trib_free(left);
        return trib_fail(err, TRIB_NOMEM, "no memory to split %zu rows", r->rows);
    }
    for (size_t i = 0; i < r->rows; i++) left[r->user[i]]++;
    for (size_t u = 0; u < users; u++) left[u] -= (size_t)((double)left[u] * r->table->test);
    struct trib_rng rng = trib_rng_seed(SEED, 0);
    size_t tests = 0;
    for (size_t i = 0; i < r->rows; i++) {
        bool late = left[r->user[i]] == 0;
        if (!late) left[r->user[i]]--;
        r->tests[i] = r->table->shuffle ? trib_rng_unit(&rng) < r->table->test : late;
        tests += r->tests[i];
    }
    trib_free(left);
    if (tests > 0 && tests < r->rows) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "%zu of %zu rows test; both splits need some", tests, r->rows);
}

/* Mean and deviation of column c over the training rows that have it. */
static void measure(struct reading *r, size_t c) {
    double sum = 0.0, squares = 0.0;
    size_t n = 0, each = r->features + 1;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < r->rows; i++) {
            double value = (double)r->raw[i * each + c];
            if (r->tests[i] || isnan(value)) continue;
            n += pass == 0;
            sum += pass == 0 ? value : 0.0;
            squares += pass == 1 ? (value - r->columns[c].mean) * (value - r->columns[c].mean) : 0.0;
        }
        r->columns[c].mean = n > 0 ? sum / (double)n : 0.0;
    }
    r->columns[c].scale = squares > 0.0 ? 1.0 / sqrt(squares / (double)n) : 0.0;
}

static size_t width_of(const struct column *column) {
    return column->kind == NUMBER ? 1 : column->kind == CYCLE ? 2 : column->texts.count;
}

/* The features of one value; `out` is zeroed. */
static void put(const struct column *column, float value, float *out) {
    if (isnan(value)) return;
    double turn = 2.0 * 3.14159265358979323846 * (double)value / column->period;
    if (column->kind == NUMBER) {
        out[0] = (float)(((double)value - column->mean) * column->scale);
    } else if (column->kind == CYCLE) {
        out[0] = (float)sin(turn);
        out[1] = (float)cos(turn);
    } else {
        out[(size_t)value] = 1.0f;
    }
}

static enum trib_status fill(const struct reading *r, struct trib_dataset *dataset, struct trib_split *split,
                             const uint32_t *rows, size_t count, struct trib_error *err) {
    size_t width = dataset->shape.width, each = r->features + 1;
    float *features = trib_alloc_floats(count * width),
          *values = dataset->classes == 1 ? trib_alloc_floats(count) : NULL;
    uint8_t *labels = trib_alloc(count);
    uint32_t *users = trib_alloc_array(count, sizeof *users);
    split->features = features;
    split->values = values;
    split->labels = labels;
    split->users = users;
    split->count = count;
    if (features == NULL || (values == NULL && dataset->classes == 1) || labels == NULL || users == NULL)
        return trib_fail(err, TRIB_NOMEM, "no memory for %zu rows", count);
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < count; i++, features += width) {
        const float *raw = r->raw + rows[i] * each;
        float *out = features;
        for (size_t c = 0; c < r->features; out += width_of(&r->columns[c++]))
            put(&r->columns[c], raw[c], out);
        users[i] = r->user[rows[i]];
        if (values == NULL) {
            labels[i] = (uint8_t)raw[r->features];
            continue;
        }
        put(&r->columns[r->features], raw[r->features], &values[i]);
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
    }
    double mean = sum / (double)count;
    split->variance = squares / (double)count - mean * mean;
    return TRIB_OK;
}

static enum trib_status fill_both(struct reading *r, struct trib_dataset *dataset, struct trib_error *err) {
    uint32_t *rows = trib_alloc_array(r->rows, sizeof *rows);
    if (rows == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu rows", r->rows);
    size_t train = 0, test = r->rows;
    for (size_t i = 0; i < r->rows; i++)
        if (r->tests[i])
            rows[--test] = (uint32_t)i;
        else
            rows[train++] = (uint32_t)i;
    struct trib_rng rng = trib_rng_seed(SEED, 1);
    trib_rng_shuffle(&rng, rows + train, r->rows - train);
    enum trib_status status = fill(r, dataset, &dataset->train, rows, train, err);
    if (status == TRIB_OK) status = fill(r, dataset, &dataset->test, rows + train, r->rows - train, err);
    trib_free(rows);
    return status;
}

static enum trib_status build(struct reading *r, struct trib_dataset *dataset, struct trib_error *err) {
    enum trib_status status = choose_tests(r, err);
    if (status != TRIB_OK) return status;
    dataset->shape = (struct trib_shape){.channels = 1, .height = 1};
    for (size_t c = 0; c <= r->features; c++) {
        if (r->columns[c].kind == NUMBER) measure(r, c);
        if (c < r->features) dataset->shape.width += width_of(&r->columns[c]);
    }
    dataset->classes = r->table->classes > 0 ? (size_t)r->table->classes : 1;
    dataset->users = r->users.count > 0 ? r->users.count : 1;
    const struct column *target = &r->columns[r->features];
    size_t used = strlen(dataset->source);
    (void)snprintf(dataset->source + used, sizeof dataset->source - used,
                   ": %zu rows, %zu left out without %.20s, %zu values missing", r->rows, r->no_target,
                   target->name, r->missing);
    used = strlen(dataset->source);
    if (r->table->classes == 0)
        (void)snprintf(dataset->source + used, sizeof dataset->source - used, "; deviation of %.20s %.4g",
                       target->name, target->scale > 0.0 ? 1.0 / target->scale : 0.0);
    return fill_both(r, dataset, err);
}

enum trib_status trib_table_open(struct trib_dataset *dataset, const char *name,
                                 const struct trib_table *table, const char *path, struct trib_error *err) {
    struct reading *r = trib_alloc(sizeof *r);
    if (r == NULL) return trib_fail(err, TRIB_NOMEM, "no memory to read a table");
    r->table = table;
    r->users.most = MAX_TEXTS;
    enum trib_status status = read_features(r, err);
    if (status == TRIB_OK) status = read_files(r, dataset, name, path, err);
    if (status == TRIB_OK) status = build(r, dataset, err);
    for (size_t c = 0; c <= r->features; c++) trib_free(r->columns[c].texts.text);
    trib_free(r->users.text);
    trib_free(r->raw);
    trib_free(r->user);
    trib_free(r->tests);
    trib_free(r);
    return status;
}
