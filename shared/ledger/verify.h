/* Does a ledger still say what it said when it was written? The chain of digests (shared/state/chain.h) is
 * computed again from the rows, and what rows say of each other is compared. Read-only; the run may go on. */
#ifndef TRIB_LEDGER_VERIFY_H
#define TRIB_LEDGER_VERIFY_H

#include "shared/ledger/ledger.h"

/* Something that does not fit. `rows`: where in `contributions` it is: from first to last contribution_id,
 * both 0 where it is no contribution's matter. */
struct trib_finding {
    bool has_version;
    uint64_t version;
    int64_t first_row, last_row;
    const char *text; /* borrowed until the callback returns */
};

struct trib_verified {
    uint64_t format; /* of the chain: 3; 2, 1 (runs begun by older programs), 0: none (an edge's ledger) */
    uint64_t versions, contributions, findings;
    uint64_t later;                        /* contributions that no version covers yet */
    char chain[2 * TRIB_DIGEST_BYTES + 1]; /* of the newest version; "" where there is none */
};

/* Checks a run, oldest version first. A row that was altered is found at the version that it belongs to; what
 * comes after is checked for itself. TRIB_OK also where there are findings. */
enum trib_status trib_ledger_verify(struct trib_ledger_reader *reader, int64_t run_id,
                                    void (*found)(void *ctx, const struct trib_finding *finding), void *ctx,
                                    struct trib_verified *out, struct trib_error *err) TRIB_MUST_USE;

#endif
