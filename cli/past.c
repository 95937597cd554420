#include "cli/past.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/number.h"
#include "shared/model/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 2000 /* before it says how far it is, and between two times */ };

static enum trib_role role_of(const char *name) {
    return strcmp(name, "cloud") == 0  ? TRIB_ROLE_CLOUD
           : strcmp(name, "edge") == 0 ? TRIB_ROLE_EDGE
                                       : TRIB_ROLE_DEVICE;
}

enum trib_status past_find(struct past *out, const char *path, const char *run, struct trib_error *err) {
    enum trib_status status = trib_ledger_file(path, out->file, err);
    if (status == TRIB_OK) status = trib_ledger_open_readonly(out->file, &out->reader, err);
    if (status == TRIB_OK) status = trib_ledger_find(out->reader, run, &out->run, err);
    out->role = role_of(out->run.role);
    if (status == TRIB_OK && out->role == TRIB_ROLE_DEVICE)
        return trib_fail(err, TRIB_INVALID, "%s is a %s's; only clouds and edges keep a journal", out->file,
                         out->run.role);
    return status;
}

void past_release(struct past *past) {
    trib_ledger_close(&past->reader);
}

struct told {
    uint64_t at_ms; /* when it says something next */
};

static void tell(void *ctx, uint64_t position, uint64_t until) {
    struct told *told = ctx;
    uint64_t now = trib_clock_ms();
    if (now < told->at_ms) return;
    told->at_ms = now + PATIENCE_MS;
    (void)fprintf(stderr, "record %" PRIu64 " of %" PRIu64 "\n", position, until);
}

static enum trib_status compare(const struct past *past, struct past_model *out, struct trib_error *err) {
    const struct trib_state *state = out->replay.state;
    uint8_t digest[TRIB_DIGEST_BYTES], known[TRIB_DIGEST_BYTES];
    size_t n = trib_state_parameters(state);
    struct trib_ledger_version said;
    out->parameters = trib_alloc_floats(n);
    if (out->parameters == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu parameters", n);
    trib_state_model(state, out->parameters);
    trib_digest_floats(out->parameters, n, NULL, digest);
    (void)trib_digest_hex(digest, out->digest);
    if (past->role != TRIB_ROLE_CLOUD) return TRIB_OK;
    enum trib_status status = trib_ledger_version(past->reader, past->run.run_id, &out->version, &said, err);
    if (status != TRIB_OK || said.digest[0] == 0) return status;
    out->compared = trib_parse_hex(said.digest, strlen(said.digest), known, sizeof known) &&
                    trib_digest_matches(out->parameters, n, NULL, known);
    if (out->compared) {
        (void)trib_digest_hex(known, out->digest);
        return TRIB_OK;
    }
    return trib_fail(err, TRIB_CORRUPT,
                     "version %" PRIu64 " comes out with the digest %s; the ledger says %s", out->version,
                     out->digest, said.digest);
}

enum trib_status past_rebuild(struct past *past, struct trib_store *store, const uint64_t *version,
                              struct past_model *out, struct trib_error *err) {
    struct told told = {.at_ms = trib_clock_ms() + PATIENCE_MS};
    struct trib_replay_request request = {.role = past->role, .progress = tell, .ctx = &told};
    struct trib_ledger_version newest;
    enum trib_status status = TRIB_OK;
    if (!trib_parse_hex(past->run.run, strlen(past->run.run), request.run, sizeof request.run))
        return trib_fail(err, TRIB_CORRUPT, "%s: '%s' is no run; 32 hex digits are expected", past->file,
                         past->run.run);
    /* A cloud's newest version is the ledger's: its journal may end between an update and its commit. An
     * edge's ledger does not name all that its models went through. */
    request.newest = version == NULL && past->role != TRIB_ROLE_CLOUD;
    if (version == NULL && !request.newest) {
        status = trib_ledger_version(past->reader, past->run.run_id, NULL, &newest, err);
        version = &newest.version;
    }
    if (status == TRIB_OK && version != NULL) request.version = *version;
    if (status == TRIB_OK) status = trib_replay(store, &request, &out->replay, err);
    if (status != TRIB_OK) return status;
    out->version = out->replay.state->version;
    return compare(past, out, err);
}

void past_model_release(struct past_model *model) {
    trib_state_free(&model->replay.state);
    trib_free(model->parameters);
    model->parameters = NULL;
}
