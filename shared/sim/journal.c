/* Stores of simulated nodes: the cloud's records with its ledger, edges' where they are asked for. Nothing is
 * synced; a group of records is written at a time. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/blas.h"
#include "shared/store/store.h"

#include <stdio.h>
#include <string.h>

enum { GROUP = 256, GROUP_BYTES = 8 << 20, SEGMENT_BYTES = 64 << 20, PATH_BYTES = 640 };

struct sim_journal {
    struct trib_store *store;
    struct trib_ledger *ledger;
    size_t count;
    uint64_t bytes; /* of payloads in the group */
    struct trib_store_since since;
    struct trib_record *owned[GROUP];
};

static bool has_journal(const struct trib_sim *sim, size_t node) {
    if (strcmp(sim->scenario->ledger.cloud, "none") == 0) return false;
    return node == SIM_CLOUD || (node <= sim->edge_count && sim->scenario->ledger.edges);
}

static enum trib_status open_store(struct trib_sim *sim, size_t node, struct sim_journal *journal,
                                   struct trib_error *err) {
    const struct trib_scenario *s = sim->scenario;
    char name[SIM_NAME], path[PATH_BYTES], environment[160];
    (void)snprintf(environment, sizeof environment, "simulated kernels=%s openblas=%s", trib_kernels()->name,
                   trib_blas_kernel());
    struct trib_ledger_options ledger = {.role = node == SIM_CLOUD ? "cloud" : "edge",
                                         .node = trib_sim_name(sim, node, name),
                                         .build = TRIB_VERSION,
                                         .environment = environment};
    enum trib_status status = trib_ledger_new(&ledger, &journal->ledger, err);
    if (status != TRIB_OK) return status;
    if (node == SIM_CLOUD)
        (void)snprintf(path, sizeof path, "%s/ledger.db", sim->out);
    else
        (void)snprintf(path, sizeof path, "%s/edges/%s/journal.db", sim->out, name);
    uint64_t bytes = s->ledger.checkpoint_bytes, keep = s->ledger.checkpoint_keep;
    struct trib_store_options store = {.path = path,
                                       .durability = TRIB_DURABLE_NONE,
                                       .segment_bytes = bytes < SEGMENT_BYTES ? bytes : SEGMENT_BYTES,
                                       .keep_checkpoints = keep > 0 ? keep : TRIB_KEEP_ALL,
                                       .projection = trib_ledger_projection(journal->ledger)};
    return trib_store_open(&store, &journal->store, err);
}

enum trib_status trib_sim_journal_open(struct trib_sim *sim, size_t node, struct trib_error *err) {
    if (!has_journal(sim, node)) return TRIB_OK;
    struct sim_journal *journal = sim->nodes[node].journal = trib_alloc(sizeof *journal);
    if (journal == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for a journal");
    return open_store(sim, node, journal, err);
}

static void drop(struct sim_journal *journal) {
    for (size_t i = 0; i < journal->count; i++) trib_record_free(&journal->owned[i]);
    journal->count = 0;
    journal->bytes = 0;
}

void trib_sim_journal_close(struct sim_journal **out) {
    struct sim_journal *journal = *out;
    if (journal == NULL) return;
    drop(journal);
    trib_store_close(&journal->store);
    trib_ledger_free(&journal->ledger);
    trib_free(journal);
    *out = NULL;
}

/* ---- writing ---- */

static enum trib_status checkpoint(struct sim_journal *journal, const struct trib_state *state,
                                   struct trib_error *err) {
    struct trib_sink sink;
    enum trib_status status = trib_store_checkpoint_begin(journal->store, state->position, &sink, err);
    if (status != TRIB_OK) return status;
    status = trib_state_save(state, &sink, err);
    if (status != TRIB_OK) {
        trib_store_checkpoint_abort(journal->store);
        return status;
    }
    journal->since.records = journal->since.bytes = 0;
    status = trib_store_checkpoint_commit(journal->store, err);
    if (status != TRIB_OK) return status;
    return trib_store_checkpoint_bytes(journal->store, &journal->since.checkpoint_bytes, err);
}

static enum trib_status write_group(struct sim_journal *journal, struct trib_error *err) {
    struct trib_record *group = trib_alloc_array(journal->count, sizeof *group);
    if (group == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for a journal");
    for (size_t i = 0; i < journal->count; i++) group[i] = *journal->owned[i];
    enum trib_status status = trib_store_write(journal->store, group, journal->count, err);
    trib_free(group);
    return status;
}

void trib_sim_journal_flush(struct trib_sim *sim, size_t node) {
    struct sim_journal *journal = sim->nodes[node].journal;
    struct trib_error err;
    if (journal == NULL || journal->store == NULL || journal->count == 0) return;
    if (write_group(journal, &err) != TRIB_OK) trib_sim_fail(sim, &err);
    drop(journal);
}

/* Between events: the state is as of the last record then. */
static void checkpoint_if_due(struct trib_sim *sim, size_t node) {
    struct sim_journal *journal = sim->nodes[node].journal;
    const struct trib_scenario *s = sim->scenario;
    struct trib_error err;
    if (!trib_store_checkpoint_due(&journal->since, s->ledger.checkpoint_records, s->ledger.checkpoint_bytes))
        return;
    trib_sim_journal_flush(sim, node);
    if (sim->err.status == TRIB_OK && checkpoint(journal, sim->nodes[node].state, &err) != TRIB_OK)
        trib_sim_fail(sim, &err);
}

void trib_sim_journal_settle(struct trib_sim *sim, size_t node) {
    const struct sim_journal *journal = sim->nodes[node].journal;
    if (journal == NULL || sim->err.status != TRIB_OK) return;
    if (journal->bytes >= GROUP_BYTES) trib_sim_journal_flush(sim, node);
    checkpoint_if_due(sim, node);
}

void trib_sim_journal_write(struct trib_sim *sim, size_t node, struct trib_record **record) {
    struct sim_journal *journal = sim->nodes[node].journal;
    if (journal == NULL) return;
    if (journal->count == GROUP) trib_sim_journal_flush(sim, node);
    journal->bytes += trib_blob_size((*record)->payload);
    trib_store_since_record(&journal->since, *record);
    journal->owned[journal->count++] = *record;
    *record = NULL;
}
