/* `tributary replay`: a version rebuilt from what the node kept, and every digest on the way compared. */
#include "cli/cli.h"
#include "cli/past.h"

#include "shared/base/clock.h"
#include "shared/base/number.h"
#include "shared/model/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TRIES = 5 };

struct request {
    const char *store, *run, *out;
    bool newest;
    uint64_t version;
};

static int usage(FILE *to) {
    (void)fputs(
        "usage: tributary replay STORE [RUN] [VERSION] [--out FILE.safetensors]\n\n"
        "Rebuilds a version of a node's model from a checkpoint (or the run's beginning) and the "
        "contributions\n"
        "after it, and compares the digest of every version and publication on the way. The node may be\n"
        "running. Exit status 1 if a digest differs, or if what the version needs is not kept any more\n"
        "(store.checkpoint.keep).\n\n"
        "  STORE       the node's folder (store.path), or ledger.db or journal.db in it\n"
        "  RUN         the beginning of a run's name, or \"last\" (default)\n"
        "  VERSION     default: the newest one\n"
        "  --out FILE  write the model there, too\n",
        to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static int wrong(const char *what, const char *word) {
    (void)fprintf(stderr, "tributary replay: %s%s\n", what, word);
    return usage(stderr);
}

static int parse(int argc, char **argv, struct request *request) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--out") == 0) {
            if (++i == argc) return wrong("--out needs a file name", "");
            request->out = argv[i];
        } else if (argv[i][0] == '-') {
            return wrong("unknown option ", argv[i]);
        } else if (request->store == NULL) {
            request->store = argv[i];
        } else if (request->run == NULL) {
            request->run = argv[i];
        } else if (!request->newest) {
            return wrong("one version at a time, and not ", argv[i]);
        } else if (!trib_parse_u64(argv[i], strlen(argv[i]), &request->version)) {
            return wrong("a version is a whole number, and not ", argv[i]);
        } else {
            request->newest = false;
        }
    }
    if (request->store == NULL) return wrong("which store?", "");
    if (request->run == NULL) request->run = "last";
    return CLI_DONE;
}

static enum trib_status save(const struct request *request, const struct past *past,
                             const struct past_model *model, struct trib_error *err) {
    char version[TRIB_NUMBER_TEXT];
    if (request->out == NULL) return TRIB_OK;
    (void)snprintf(version, sizeof version, "%" PRIu64, model->version);
    const char *metadata[] = {"run", past->run.run, "version", version, "digest", model->digest, NULL};
    struct trib_schema own = trib_schema_own(&model->replay.state->schema);
    return trib_safetensors_save(request->out, &own, model->parameters, metadata, err);
}

static void report(const struct request *request, const struct past *past, const struct past_model *model,
                   uint64_t ms) {
    const struct trib_replay *r = &model->replay;
    if (r->from > 0)
        (void)printf("run %s: version %" PRIu64 " rebuilt from the checkpoint at position %" PRIu64
                     " (version %" PRIu64 ")\n",
                     past->run.run, model->version, r->from, r->from_version);
    else
        (void)printf("run %s: version %" PRIu64 " rebuilt from the run's beginning\n", past->run.run,
                     model->version);
    (void)printf("digest %s, %s\n", model->digest,
                 model->compared ? "as the ledger says" : "which this node's ledger does not keep");
    if (request->out != NULL) (void)printf("written to %s\n", request->out);
    (void)printf("replay: version=%" PRIu64 " records=%" PRIu64 " contributions=%" PRIu64 " versions=%" PRIu64
                 " publications=%" PRIu64 " differ=0 ms=%" PRIu64 "\n",
                 model->version, r->records, r->contributions, r->versions, r->publications, ms);
}

static enum trib_status replay(const struct request *request, struct trib_error *err) {
    struct past past = {0};
    struct past_model model = {0};
    uint64_t began = trib_clock_ms();
    enum trib_status status = past_find(&past, request->store, request->run, err);
    for (int i = 0; status == TRIB_OK && i < TRIES; i++) { /* its node may delete what is being read */
        struct trib_store *store = NULL;
        struct trib_store_options options = {.path = past.file, .read_only = true};
        status = trib_store_open(&options, &store, err);
        if (status == TRIB_OK)
            status = past_rebuild(&past, store, request->newest ? NULL : &request->version, &model, err);
        trib_store_close(&store);
        if (status != TRIB_AGAIN || i + 1 == TRIES) break;
        status = TRIB_OK;
    }
    if (status == TRIB_OK) status = save(request, &past, &model, err);
    if (status == TRIB_OK) report(request, &past, &model, trib_clock_ms() - began);
    past_model_release(&model);
    past_release(&past);
    return status;
}

int cli_replay(int argc, char **argv) {
    struct request request = {.newest = true};
    struct trib_error err = {.status = TRIB_OK};
    for (int i = 1; i < argc; i++) {
        if (cli_asks_for_help(argv[i])) return usage(stdout);
    }
    int code = parse(argc, argv, &request);
    if (code != CLI_DONE) return code;
    if (replay(&request, &err) == TRIB_OK) return CLI_DONE;
    (void)fprintf(stderr, "tributary replay: %s\n", err.text);
    return CLI_FAILED;
}
