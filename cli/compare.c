#include "cli/compare.h"

#include "cli/cli.h"
#include "shared/base/number.h"

#include <stdio.h>
#include <string.h>

struct request {
    enum sheet_form form;
    bool points;
    const char *folder; /* for charts; NULL: none */
};

static int usage(FILE *to) {
    (void)fputs(
        "usage: tributary compare [LABEL=]RUN[,RUN...]... [options]\n\n"
        "  RUN            PATH or PATH@NAME. PATH is a ledger, its folder, or a folder with such folders in "
        "it: all\n"
        "                 of them, as seeds. NAME is the beginning of a run's name, last (as without it), "
        "or all\n"
        "  LABEL          what these runs are called together; without it each run's own label (run.label), "
        "or its\n"
        "                 folder's name. Runs under one label are seeds: shown are mean and standard "
        "deviation\n\n"
        "  --to A,B...    what it took to get to these accuracies (0..1), on the curve of the best accuracy "
        "so far,\n"
        "                 with straight lines between evaluations; 0.25x is a quarter of the first label's\n"
        "  --svg FOLDER   draw charts: accuracy over time, updates and bytes, mean and range of the seeds; "
        "staleness\n"
        "  --json         the same for programs, with each run; --points adds the evaluations\n"
        "  --csv          the same as CSV\n\n"
        "Runs may be going on. \"One broadcast\" is what it would cost to send one copy of the model's "
        "increment for\n"
        "each update. Refused updates count.\n",
        to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static enum trib_status read_targets(struct comparison *c, const char *list, struct trib_error *err) {
    for (const char *at = list;; at++) {
        size_t bytes = strcspn(at, ",");
        double value;
        if (!trib_parse_f64(at, bytes, &value) || value <= 0 || value > 1)
            return trib_fail(err, TRIB_INVALID,
                             "found \"%.*s\", expected accuracies above 0, at most 1: --to 0.95,0.97",
                             (int)bytes, at);
        if (c->target_count == COMPARE_TARGETS)
            return trib_fail(err, TRIB_LIMIT, "found more than %d accuracies", COMPARE_TARGETS);
        c->targets[c->target_count++] = value;
        at += bytes;
        if (*at == 0) return TRIB_OK;
    }
}

/* A word that begins with `--`. *used says whether the next one was its value. */
static enum trib_status take_option(struct request *request, struct comparison *c, const char *word,
                                    const char *value, bool *used, struct trib_error *err) {
    bool to = strcmp(word, "--to") == 0, svg = strcmp(word, "--svg") == 0;
    *used = to || svg;
    if (*used && value == NULL) return trib_fail(err, TRIB_INVALID, "%s needs a value", word);
    if (to) return read_targets(c, value, err);
    if (svg) {
        request->folder = value;
    } else if (strcmp(word, "--json") == 0) {
        request->form = SHEET_JSON;
    } else if (strcmp(word, "--csv") == 0) {
        request->form = SHEET_CSV;
    } else if (strcmp(word, "--points") == 0) {
        request->points = true;
    } else {
        return trib_fail(err, TRIB_INVALID, "unknown option %s", word);
    }
    return TRIB_OK;
}

/* Options first: what is wrong with them is said before any ledger is opened. */
static enum trib_status read_options(int argc, char **argv, struct request *request, struct comparison *c,
                                     struct trib_error *err) {
    enum trib_status status = TRIB_OK;
    size_t runs = 0;
    for (int i = 1; status == TRIB_OK && i < argc; i++) {
        bool used = false;
        if (argv[i][0] != '-') {
            runs++;
            continue;
        }
        status = take_option(request, c, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used, err);
        if (used) argv[i++] = NULL;
        argv[i] = NULL;
    }
    if (status == TRIB_OK && runs == 0) status = trib_fail(err, TRIB_INVALID, "which runs?");
    return status;
}

static enum trib_status load_and_write(int argc, char **argv, const struct request *request,
                                       struct comparison *c, struct trib_error *err) {
    struct trib_buf out;
    enum trib_status status = TRIB_OK;
    for (int i = 1; status == TRIB_OK && i < argc; i++) {
        if (argv[i] != NULL) status = compare_load(c, argv[i], err);
    }
    if (status != TRIB_OK) return status;
    trib_buf_init(&out, 0);
    compare_print(&out, c, request->form, request->points);
    if (request->folder != NULL) {
        struct trib_buf names;
        trib_buf_init(&names, 0);
        status = compare_draw(c, request->folder, &names, err);
        if (request->form == SHEET_TABLE) trib_buf_printf(&out, "\n%s", trib_buf_text(&names));
        trib_buf_release(&names);
    }
    if (status == TRIB_OK && out.failed) status = trib_fail(err, TRIB_NOMEM, "no memory for the output");
    if (status == TRIB_OK &&
        (fwrite(trib_buf_text(&out), 1, out.size, stdout) != out.size || fflush(stdout) != 0))
        status = trib_fail_errno(err, "cannot write the output");
    trib_buf_release(&out);
    return status;
}

int cli_compare(int argc, char **argv) {
    struct request request = {.form = SHEET_TABLE};
    struct comparison comparison = {.count = 0};
    struct trib_error err = {.status = TRIB_OK};
    for (int i = 1; i < argc; i++) {
        if (cli_asks_for_help(argv[i])) return usage(stdout);
    }
    enum trib_status status = read_options(argc, argv, &request, &comparison, &err);
    if (status != TRIB_OK) {
        (void)fprintf(stderr, "tributary compare: %s\n", err.text);
        return usage(stderr);
    }
    status = load_and_write(argc, argv, &request, &comparison, &err);
    if (status != TRIB_OK) (void)fprintf(stderr, "tributary compare: %s\n", err.text);
    compare_release(&comparison);
    return status == TRIB_OK ? CLI_DONE : CLI_FAILED;
}
