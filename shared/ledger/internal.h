/* Inside the ledger: what the writer and the reader hold. */
#ifndef TRIB_LEDGER_INTERNAL_H
#define TRIB_LEDGER_INTERNAL_H

#include "shared/ledger/ledger.h"
#include "shared/store/sql.h"

enum statement {
    RUN_ADD,
    RUN_SUPERSEDE,
    RUN_INCARNATION,
    RUN_STOP,
    NODE_RETIRE,
    NODE_ADD,
    CONTRIBUTION_ADD,
    CONTRIBUTIONS_COMMIT,
    CONTRIBUTIONS_VOID,
    CONTRIBUTION_SUPERSEDED,
    VERSION_COMMIT,
    VERSION_ROLLBACK,
    VERSION_PUBLISH,
    EVALUATION_ADD,
    EVENT_ADD,
    FORWARD_ADD,
    FORWARD_JUDGE,
    FORWARDS_CONTAINED,
    PARENT_ADD,
    STATEMENTS
};

struct trib_ledger_reader {
    sqlite3 *db;
    bool tells_hops; /* an older file has no below_hops */
};

struct trib_ledger {
    char *role, *node, *build, *environment;
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENTS];
    int64_t run_id; /* 0: none has begun */
    char incarnation[17];
    bool has_parent_model;
    uint64_t parent_version;
    struct trib_buf text;
};

typedef enum trib_status (*ledger_take_fn)(struct trib_ledger *ledger, const struct trib_record *record,
                                           struct trib_error *err);
/* By kind of record; NULL for what is no kind. */
extern const ledger_take_fn ledger_takers[TRIB_REC_KINDS];

#endif
