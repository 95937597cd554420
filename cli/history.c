/* `tributary history`: what a ledger tells. */
#include "cli/cli.h"
#include "cli/sheet.h"
#include "shared/base/json.h"
#include "shared/base/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct request {
    const char *ledger, *run;
    enum trib_ledger_table table;
    enum sheet_form form;
    int64_t limit;
};

static int usage(FILE *to) {
    (void)fputs(
        "usage: tributary history LEDGER [RUN] [options]\n\n"
        "  LEDGER        a ledger's file, or a folder with ledger.db or journal.db in it\n"
        "  RUN           the beginning of a run's name, or \"last\"; without it all runs are listed\n\n"
        "  --verdicts    refused and voided updates of the run by reason and node\n"
        "  --nodes       the participants of the run\n"
        "  --staleness   the run's staleness histogram\n"
        "  --events      the run's events\n"
        "  --curve       accuracy beside the time, updates and bytes it took\n"
        "  --json        the same as JSON, with every column; bytes, milliseconds and shares as numbers\n"
        "  --csv         the same as CSV\n"
        "  --limit N     only the newest N rows\n\n"
        "The run may be going on. docs/ledger.md explains tables and columns for the plain sqlite3 shell.\n",
        to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static int wrong(const char *what, const char *word) {
    (void)fprintf(stderr, "tributary history: %s%s\n", what, word);
    return usage(stderr);
}

/* A word that takes no value; false if it is none of them. */
static bool take_flag(struct request *request, const char *word) {
    static const struct {
        const char *word;
        enum trib_ledger_table table;
    } parts[] = {{"--verdicts", TRIB_LEDGER_VERDICTS},
                 {"--nodes", TRIB_LEDGER_NODES},
                 {"--staleness", TRIB_LEDGER_STALENESS},
                 {"--events", TRIB_LEDGER_EVENTS},
                 {"--curve", TRIB_LEDGER_CURVE}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(word, parts[i].word) != 0) continue;
        request->table = parts[i].table;
        return true;
    }
    if (strcmp(word, "--json") == 0) {
        request->form = SHEET_JSON;
    } else if (strcmp(word, "--csv") == 0) {
        request->form = SHEET_CSV;
    } else {
        return false;
    }
    return true;
}

static int parse(int argc, char **argv, struct request *request) {
    for (int i = 1; i < argc; i++) {
        uint64_t limit;
        if (take_flag(request, argv[i])) continue;
        if (strcmp(argv[i], "--limit") == 0) {
            if (++i == argc) return wrong("--limit needs a number", "");
            if (!trib_parse_u64(argv[i], strlen(argv[i]), &limit) || limit == 0 || limit > INT64_MAX) {
                return wrong("--limit takes a number above 0, not ", argv[i]);
            }
            request->limit = (int64_t)limit;
        } else if (argv[i][0] == '-') {
            return wrong("unknown option ", argv[i]);
        } else if (request->ledger == NULL) {
            request->ledger = argv[i];
        } else if (request->run == NULL) {
            request->run = argv[i];
        } else {
            return wrong("one run at a time, and not ", argv[i]);
        }
    }
    if (request->ledger == NULL) return wrong("which ledger?", "");
    if (request->run == NULL && request->table == TRIB_LEDGER_RUNS) return CLI_DONE;
    if (request->table == TRIB_LEDGER_RUNS) request->table = TRIB_LEDGER_VERSIONS;
    if (request->run == NULL) request->run = "last";
    return CLI_DONE;
}

/* The run's line above, and its bytes below, the versions. */
static enum trib_status write_run(struct trib_ledger_reader *reader, const struct request *request,
                                  const struct trib_ledger_run *run, struct trib_buf *out,
                                  struct trib_error *err) {
    size_t rows = 0;
    trib_buf_printf(out, "run %s\n\n", run->run);
    enum trib_status status =
        sheet_write(reader, request->table, run->run_id, request->limit, SHEET_TABLE, out, &rows, err);
    if (status == TRIB_OK && rows == 0) trib_buf_printf(out, "(none)\n");
    if (status != TRIB_OK || request->table != TRIB_LEDGER_VERSIONS) return status;
    trib_buf_printf(out, "\n");
    return sheet_write(reader, TRIB_LEDGER_HOPS, run->run_id, 0, SHEET_TABLE, out, NULL, err);
}

static enum trib_status write_json(struct trib_ledger_reader *reader, const struct request *request,
                                   const struct trib_ledger_run *run, struct trib_buf *out,
                                   struct trib_error *err) {
    struct trib_json json = {.out = out};
    trib_json_begin(&json, '{');
    trib_json_key(&json, "ledger");
    trib_json_string(&json, request->ledger);
    if (request->run != NULL) {
        trib_json_key(&json, "run");
        trib_json_string(&json, run->run);
    }
    trib_buf_printf(out, ",\"%s\":", trib_ledger_table_name(request->table));
    enum trib_status status =
        sheet_write(reader, request->table, run->run_id, request->limit, SHEET_JSON, out, NULL, err);
    if (status == TRIB_OK && request->table == TRIB_LEDGER_VERSIONS) {
        trib_buf_printf(out, ",\"%s\":", trib_ledger_table_name(TRIB_LEDGER_HOPS));
        status = sheet_write(reader, TRIB_LEDGER_HOPS, run->run_id, 0, SHEET_JSON, out, NULL, err);
    }
    trib_buf_printf(out, "}\n");
    return status;
}

static enum trib_status write_all(struct trib_ledger_reader *reader, const struct request *request,
                                  struct trib_buf *out, struct trib_error *err) {
    struct trib_ledger_run run = {0};
    size_t rows = 0;
    enum trib_status status = TRIB_OK;
    if (request->run != NULL) status = trib_ledger_find(reader, request->run, &run, err);
    if (status != TRIB_OK) return status;
    if (request->form == SHEET_JSON) return write_json(reader, request, &run, out, err);
    if (request->form == SHEET_TABLE && request->run != NULL)
        return write_run(reader, request, &run, out, err);
    status = sheet_write(reader, request->table, run.run_id, request->limit, request->form, out, &rows, err);
    if (status == TRIB_OK && rows == 0 && request->form == SHEET_TABLE) {
        trib_buf_clear(out);
        trib_buf_printf(out, "no runs yet in %s\n", request->ledger);
    }
    return status;
}

int cli_history(int argc, char **argv) {
    struct request request = {.table = TRIB_LEDGER_RUNS, .form = SHEET_TABLE};
    struct trib_ledger_reader *reader = NULL;
    struct trib_error err = {.status = TRIB_OK};
    struct trib_buf out;
    for (int i = 1; i < argc; i++) {
        if (cli_asks_for_help(argv[i])) return usage(stdout);
    }
    int code = parse(argc, argv, &request);
    if (code != CLI_DONE) return code;
    trib_buf_init(&out, 0);
    enum trib_status status = trib_ledger_open_readonly(request.ledger, &reader, &err);
    if (status == TRIB_OK) status = write_all(reader, &request, &out, &err);
    if (status == TRIB_OK &&
        (fwrite(trib_buf_text(&out), 1, out.size, stdout) != out.size || fflush(stdout) != 0)) {
        status = trib_fail_errno(&err, "cannot write the output");
    }
    if (status != TRIB_OK) (void)fprintf(stderr, "tributary history: %s\n", err.text);
    trib_ledger_close(&reader);
    trib_buf_release(&out);
    return status == TRIB_OK ? CLI_DONE : CLI_FAILED;
}
