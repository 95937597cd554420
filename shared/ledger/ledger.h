/* The history of training, for people who ask in SQL: docs/ledger.md has every table, column and unit.
 *
 * Written as a projection of journal records (shared/store/store.h): a row is in the transaction of the
 * record that it tells of. The cloud's journal and ledger are one file; an edge keeps the same
 * tables in its own. Read by `tributary history` and the dashboard, while the run goes on if they like. */
#ifndef TRIB_LEDGER_LEDGER_H
#define TRIB_LEDGER_LEDGER_H

#include "shared/store/store.h"

#include <stdbool.h>

/* ---- writing ---- */

struct trib_ledger;

/* Texts that go into the rows of runs begun from now on; copied. NULL: "". */
struct trib_ledger_options {
    const char *role;        /* "cloud", "edge", "device" */
    const char *node;        /* this node's name */
    const char *build;       /* version of the program */
    const char *environment; /* key=value words: kernel set, OpenBLAS core, libm: what decides bits */
};

enum trib_status trib_ledger_new(const struct trib_ledger_options *options, struct trib_ledger **out,
                                 struct trib_error *err) TRIB_MUST_USE;
/* After the store that used it is closed. NULL is fine. */
void trib_ledger_free(struct trib_ledger **ledger);
/* For trib_store_options.projection; the ledger must outlive the store. */
struct trib_projection trib_ledger_projection(struct trib_ledger *ledger);

/* ---- reading ---- */

struct trib_ledger_reader;

enum trib_ledger_table {
    TRIB_LEDGER_RUNS,      /* all runs, newest last; run is ignored */
    TRIB_LEDGER_VERSIONS,  /* of one run */
    TRIB_LEDGER_VERDICTS,  /* of one run: refused and voided updates by reason and node */
    TRIB_LEDGER_NODES,     /* of one run */
    TRIB_LEDGER_HOPS,      /* of one run: bytes by hop */
    TRIB_LEDGER_STALENESS, /* of one run: histogram */
    TRIB_LEDGER_EVENTS,    /* of one run, and those before it had begun */
    TRIB_LEDGER_CURVE,     /* of one run: its evaluations, each beside what the run had taken until then */
    TRIB_LEDGER_TABLES
};

enum trib_ledger_unit {
    TRIB_UNIT_TEXT,
    TRIB_UNIT_COUNT,   /* integer */
    TRIB_UNIT_BYTES,   /* integer */
    TRIB_UNIT_TIME,    /* integer: ms since 1970 */
    TRIB_UNIT_SECONDS, /* real */
    TRIB_UNIT_REAL,
    TRIB_UNIT_SHARE /* real, 0..1 */
};

struct trib_ledger_column {
    const char *name;  /* as in the view, JSON and CSV */
    const char *title; /* over a table's column; NULL: not in tables for people */
    enum trib_ledger_unit unit;
};

struct trib_ledger_cell {
    bool null;
    int64_t integer;
    double real;
    const char *text; /* borrowed until the callback returns */
};

struct trib_ledger_run {
    int64_t run_id;
    char run[33];
    char role[8]; /* of the node that keeps this ledger */
};

struct trib_ledger_version {
    uint64_t version;
    char made_by[12]; /* "commit", ... */
    char digest[65];  /* "": the ledger has none (an edge's) */
};

enum { TRIB_LEDGER_PATH = 4096 };
/* The file that `path` means: itself, or ledger.db or journal.db in the folder. TRIB_NOT_FOUND. */
enum trib_status trib_ledger_file(const char *path, char out[TRIB_LEDGER_PATH],
                                  struct trib_error *err) TRIB_MUST_USE;

/* `path` is a ledger's file, or a folder with ledger.db or journal.db in it. TRIB_NOT_FOUND, TRIB_NEWER,
 * TRIB_INVALID (not a ledger), TRIB_CORRUPT. Nothing is written; a live run is not disturbed. */
enum trib_status trib_ledger_open_readonly(const char *path, struct trib_ledger_reader **out,
                                           struct trib_error *err) TRIB_MUST_USE;
void trib_ledger_close(struct trib_ledger_reader **reader);

/* The run that `name` means: "last", or the beginning of a run's hex name. Of several rows of one run (a
 * node that began it again) the newest. TRIB_NOT_FOUND; TRIB_INVALID if several runs begin so. */
enum trib_status trib_ledger_find(struct trib_ledger_reader *reader, const char *name,
                                  struct trib_ledger_run *out, struct trib_error *err) TRIB_MUST_USE;

/* What the ledger says of a version (NULL: the newest one). TRIB_NOT_FOUND. */
enum trib_status trib_ledger_version(struct trib_ledger_reader *reader, int64_t run_id,
                                     const uint64_t *version, struct trib_ledger_version *out,
                                     struct trib_error *err) TRIB_MUST_USE;

const char *trib_ledger_table_name(enum trib_ledger_table table); /* "versions" */
const struct trib_ledger_column *trib_ledger_columns(enum trib_ledger_table table, size_t *count);
/* Where among them the one of this name is, which must be there. */
size_t trib_ledger_column(enum trib_ledger_table table, const char *name);
/* Calls `row` for each row, oldest first; with a limit above 0 only for the newest so many. */
enum trib_status trib_ledger_read(struct trib_ledger_reader *reader, enum trib_ledger_table table,
                                  int64_t run_id, int64_t limit,
                                  enum trib_status (*row)(void *ctx, const struct trib_ledger_cell *cells,
                                                          size_t count, struct trib_error *err),
                                  void *ctx, struct trib_error *err) TRIB_MUST_USE;

#endif
