/* `tributary verify`: does a ledger still say what was written into it? */
#include "cli/cli.h"

#include "shared/ledger/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int usage(FILE *to) {
    (void)fputs(
        "usage: tributary verify LEDGER [RUN]\n\n"
        "Computes the ledger's chain of digests again from its rows, and says where rows were altered,\n"
        "dropped or added: one line each, with the version and the rows of `contributions`. The run may\n"
        "be going on. Exit status 1 if anything was found. docs/ledger.md says what the chain covers.\n\n"
        "  LEDGER  a ledger's file, or a folder with ledger.db or journal.db in it\n"
        "  RUN     the beginning of a run's name, or \"last\" (default)\n",
        to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static void print(void *ctx, const struct trib_finding *finding) {
    (void)ctx;
    if (finding->has_version)
        (void)printf("version %" PRIu64, finding->version);
    else
        (void)printf("run");
    if (finding->first_row != 0 && finding->first_row == finding->last_row)
        (void)printf(" contribution %" PRId64, finding->first_row);
    else if (finding->first_row != 0)
        (void)printf(" contributions %" PRId64 " to %" PRId64, finding->first_row, finding->last_row);
    (void)printf(": %s\n", finding->text);
}

static void report(const struct trib_ledger_run *run, const struct trib_verified *v) {
    if (v->format == 0)
        (void)printf("run %s: the ledger of %s has no chain; counts of rows were compared\n", run->run,
                     strcmp(run->role, "edge") == 0 ? "an edge" : "this node");
    else
        (void)printf("run %s: chain v%" PRIu64 ", newest digest %s\n", run->run, v->format,
                     v->chain[0] != 0 ? v->chain : "none yet");
    if (v->format == 1)
        (void)printf(
            "chain v1 covers only node, incarnation, sequence and weight_applied of contributions, and "
            "the digests of versions\n");
    if (v->later > 0)
        (void)printf("%" PRIu64 " contributions are in no version yet, and not covered\n", v->later);
    (void)printf("verify: versions=%" PRIu64 " contributions=%" PRIu64 " findings=%" PRIu64 "\n", v->versions,
                 v->contributions, v->findings);
}

int cli_verify(int argc, char **argv) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_ledger_reader *reader = NULL;
    struct trib_ledger_run run;
    struct trib_verified verified;
    for (int i = 1; i < argc; i++) {
        if (cli_asks_for_help(argv[i])) return usage(stdout);
        if (argv[i][0] != '-') continue;
        (void)fprintf(stderr, "tributary verify: unknown option %s\n", argv[i]);
        return usage(stderr);
    }
    if (argc < 2 || argc > 3) return usage(stderr);
    enum trib_status status = trib_ledger_open_readonly(argv[1], &reader, &err);
    if (status == TRIB_OK) status = trib_ledger_find(reader, argc > 2 ? argv[2] : "last", &run, &err);
    if (status == TRIB_OK) status = trib_ledger_verify(reader, run.run_id, print, NULL, &verified, &err);
    if (status == TRIB_OK) report(&run, &verified);
    trib_ledger_close(&reader);
    if (status == TRIB_OK) return verified.findings == 0 ? CLI_DONE : CLI_FAILED;
    (void)fprintf(stderr, "tributary verify: %s\n", err.text);
    return CLI_FAILED;
}
