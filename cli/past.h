/* What `tributary replay` and `tributary rollback` share: a run of a store, and its versions rebuilt. */
#ifndef TRIB_CLI_PAST_H
#define TRIB_CLI_PAST_H

#include "shared/ledger/ledger.h"
#include "shared/ledger/replay.h"

struct past {
    char file[TRIB_LEDGER_PATH];
    struct trib_ledger_reader *reader;
    struct trib_ledger_run run;
    enum trib_role role;
};

/* The run in the store at `path` (a folder or a file). past_release it in any case. */
enum trib_status past_find(struct past *out, const char *path, const char *run,
                           struct trib_error *err) TRIB_MUST_USE;
void past_release(struct past *past);

struct past_model {
    struct trib_replay replay;
    uint64_t version;
    float *parameters; /* owned */
    char digest[65];   /* of them */
    bool compared;     /* the ledger says the same digest; false: it says none */
};

/* Rebuilds a version (NULL: the newest); says on stderr how far it is, if it takes long. TRIB_CORRUPT: the
 * ledger says another digest. past_model_release it in any case. */
enum trib_status past_rebuild(struct past *past, struct trib_store *store, const uint64_t *version,
                              struct past_model *out, struct trib_error *err) TRIB_MUST_USE;
void past_model_release(struct past_model *model);

#endif
