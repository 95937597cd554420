/* `tributary rollback`: an earlier version of a run becomes current again, in the store of a cloud that is
 * stopped. */
#include "cli/cli.h"
#include "cli/past.h"

#include "shared/aggregator/aggregator.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct request {
    const char *store, *run;
    uint64_t version;
    bool given; /* a version is */
    bool dry;
};

struct rollback {
    const struct request *request;
    struct past past;
    struct past_model model;
    struct trib_ledger *ledger;
    struct trib_store *store;
    struct trib_state *state; /* as the cloud left it */
    uint64_t before, void_updates;
};

static int usage(FILE *to) {
    (void)fputs("usage: tributary rollback STORE RUN VERSION [--dry-run]\n\n"
                "Makes an earlier version of the cloud's run current again, as a new version whose parent it "
                "is. Stop\n"
                "the cloud first; edges and devices may stay, they wait for it. The version's model is "
                "rebuilt as in\n"
                "`tributary replay`, and must have the digest that the ledger says. When the cloud is "
                "started again it\n"
                "publishes the new version; updates and forwards made on the versions in between are "
                "refused, and edges\n"
                "drop what they had gathered on them. The versions in between stay in the history.\n\n"
                "  STORE      the cloud's folder (store.path), or ledger.db in it\n"
                "  RUN        the beginning of the run's name, or \"last\"; it must be the newest one, and "
                "not be over\n"
                "  --dry-run  rebuild the version and say what would happen; the cloud may be running\n",
                to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static int wrong(const char *what, const char *word) {
    (void)fprintf(stderr, "tributary rollback: %s%s\n", what, word);
    return usage(stderr);
}

static int parse(int argc, char **argv, struct request *request) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--dry-run") == 0) {
            request->dry = true;
        } else if (argv[i][0] == '-') {
            return wrong("unknown option ", argv[i]);
        } else if (request->store == NULL) {
            request->store = argv[i];
        } else if (request->run == NULL) {
            request->run = argv[i];
        } else if (request->given) {
            return wrong("one version, and not ", argv[i]);
        } else if (!trib_parse_u64(argv[i], strlen(argv[i]), &request->version)) {
            return wrong("a version is a whole number, and not ", argv[i]);
        } else {
            request->given = true;
        }
    }
    return request->given ? CLI_DONE : wrong("which store, run and version?", "");
}

/* ---- the cloud as it stopped ---- */

static enum trib_status open_store(struct rollback *r, struct trib_error *err) {
    struct trib_ledger_options ledger = {.role = "cloud"};
    struct trib_store_options options = {.path = r->past.file, .read_only = r->request->dry};
    enum trib_status status = trib_ledger_new(&ledger, &r->ledger, err);
    if (status != TRIB_OK) return status;
    if (!options.read_only) options.projection = trib_ledger_projection(r->ledger);
    status = trib_store_open(&options, &r->store, err);
    if (status == TRIB_AGAIN)
        return trib_fail(err, status,
                         "the cloud of %s is running: stop it first (edges and devices may stay, they wait)",
                         r->request->store);
    return status;
}

static enum trib_status recover(struct rollback *r, struct trib_error *err) {
    struct trib_state_limits limits = {.ring_bytes = TRIB_REPLAY_RING_BYTES};
    enum trib_status status = trib_state_new(TRIB_ROLE_CLOUD, &limits, &r->state, err);
    if (status == TRIB_OK)
        status =
            trib_store_recover(r->store, trib_state_take_checkpoint, trib_state_take_record, r->state, err);
    if (status != TRIB_OK) return status;
    const struct trib_state *s = r->state;
    char run[2 * sizeof s->run + 1];
    (void)trib_hex(s->run, sizeof s->run, run);
    if (!s->started || strcmp(run, r->past.run.run) != 0)
        return trib_fail(err, TRIB_INVALID, "run %s is not the newest in this store, which is %s",
                         r->past.run.run, run);
    if (s->stopped)
        return trib_fail(
            err, TRIB_INVALID,
            "run %s is over; begin a new one from the version instead: tributary replay with --out, "
            "then run.start_model in the cloud's config",
            run);
    if (r->request->version >= s->version)
        return trib_fail(err, TRIB_INVALID, "version %" PRIu64 " is not before the current one, %" PRIu64,
                         r->request->version, s->version);
    r->before = s->version;
    r->void_updates = s->pending_count;
    return TRIB_OK;
}

/* ---- back ---- */

/* What the role wants written, in one group. */
static enum trib_status write_all(struct rollback *r, struct trib_outbox *outbox, struct trib_error *err) {
    struct trib_record records[8];
    struct trib_action actions[8];
    size_t count = 0;
    struct trib_action action;
    while (trib_outbox_take(outbox, &action)) {
        if (action.kind == TRIB_ACTION_WRITE) {
            TRIB_ASSERT(count < sizeof records / sizeof *records);
            records[count] = *action.record;
            actions[count++] = action;
        } else {
            trib_action_release(&action);
        }
    }
    enum trib_status status = trib_store_write(r->store, records, count, err);
    for (size_t i = 0; i < count; i++) trib_action_release(&actions[i]);
    return status;
}

static enum trib_status go_back(struct rollback *r, struct trib_error *err) {
    struct trib_aggregator_options options = {.seed = 1};
    struct trib_aggregator *aggregator = NULL;
    struct trib_outbox outbox;
    uint64_t now = trib_clock_wall_ms();
    if (now < r->state->now_ms) now = r->state->now_ms;
    struct trib_blob *model = trib_state_rollback_payload(r->model.replay.state);
    trib_outbox_init(&outbox);
    enum trib_status status = model != NULL
                                  ? trib_aggregator_new(&options, r->state, &outbox, &aggregator, err)
                                  : trib_fail(err, TRIB_NOMEM, "no memory for a model");
    if (status == TRIB_OK && !trib_aggregator_rollback(aggregator, now, r->request->version, model)) {
        status = outbox.failed != TRIB_OK ? outbox.failed : TRIB_INVALID;
        (void)trib_fail(err, status, "%s",
                        outbox.failed != TRIB_OK ? outbox.error.text : "the version cannot be gone back to");
    }
    if (status == TRIB_OK) status = write_all(r, &outbox, err);
    trib_aggregator_free(&aggregator);
    trib_outbox_release(&outbox);
    trib_blob_unref(&model);
    return status;
}

static void report(const struct rollback *r) {
    const struct trib_state *s = r->state;
    uint64_t made = r->before + 1, stop = s->plan.stop_versions;
    bool dry = r->request->dry;
    (void)printf("run %s: version %" PRIu64 " %s version %" PRIu64 " again, digest %s\n", r->past.run.run,
                 made, dry ? "would be" : "is", r->request->version, r->model.digest);
    if (made - 1 > r->request->version)
        (void)printf("versions %" PRIu64 " to %" PRIu64 " %s abandoned; they stay in the history\n",
                     r->request->version + 1, r->before, dry ? "would be" : "are");
    if (r->void_updates > 0)
        (void)printf("%" PRIu64 " updates that were accepted and in no version yet %s void\n",
                     r->void_updates, dry ? "would be" : "are");
    if (!dry)
        (void)printf(
            "start the cloud again: it publishes version %" PRIu64 ", and edges and devices follow\n", made);
    if (stop > 0 && made >= stop)
        (void)printf(
            "note: the run ends at version %" PRIu64 " (plan.stop.versions), which is reached then\n", stop);
    (void)printf("rollback: version=%" PRIu64 " from=%" PRIu64 " abandoned=%" PRIu64 " void=%" PRIu64
                 " written=%d\n",
                 made, r->request->version, r->before - r->request->version, r->void_updates, dry ? 0 : 1);
}

static enum trib_status rollback(struct rollback *r, struct trib_error *err) {
    enum trib_status status = past_find(&r->past, r->request->store, r->request->run, err);
    if (status == TRIB_OK && r->past.role != TRIB_ROLE_CLOUD)
        return trib_fail(err, TRIB_INVALID, "%s is an edge's; runs are rolled back at their cloud",
                         r->past.file);
    if (status == TRIB_OK) status = open_store(r, err);
    if (status == TRIB_OK) status = recover(r, err);
    if (status == TRIB_OK) status = past_rebuild(&r->past, r->store, &r->request->version, &r->model, err);
    if (status == TRIB_OK && !r->request->dry) status = go_back(r, err);
    if (status == TRIB_OK) report(r);
    return status;
}

int cli_rollback(int argc, char **argv) {
    struct request request = {0};
    struct rollback r = {.request = &request};
    struct trib_error err = {.status = TRIB_OK};
    for (int i = 1; i < argc; i++) {
        if (cli_asks_for_help(argv[i])) return usage(stdout);
    }
    int code = parse(argc, argv, &request);
    if (code != CLI_DONE) return code;
    enum trib_status status = rollback(&r, &err);
    trib_store_close(&r.store);
    trib_ledger_free(&r.ledger);
    trib_state_free(&r.state);
    past_model_release(&r.model);
    past_release(&r.past);
    if (status == TRIB_OK) return CLI_DONE;
    (void)fprintf(stderr, "tributary rollback: %s\n", err.text);
    return CLI_FAILED;
}
