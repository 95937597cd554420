/* The ledger's chain: a digest over what the ledger says of a run, from its start to a version. Whoever holds
 * the newest one can tell whether a row before it was altered, dropped or added (`tributary verify`).
 *
 * What goes into a digest is text: one value a line, in a fixed order, so that anybody can do it again from
 * the rows (docs/ledger.md). Integers are decimal, floats the 8 hex digits of their 32 bits, digests and
 * incarnations hex as in the ledger; what a row does not have is an empty line. H is BLAKE2b-256.
 *
 *   run      c = H(c || run, label, seed, plan, schema)     c so far: H(fingerprint || digest of version 0)
 *   verdict  v = H(v || the contribution's columns)         v: 32 zero bytes after each version
 *   publish  p = H(0 || the publication's columns)          p: 32 zero bytes after each version
 *   version  c = H(c || the version's columns, v, p, then of each contribution in it: node, incarnation,
 *                  sequence)
 *
 * Live, `trib_state_apply` does this on records; `tributary verify` fills records from rows and calls the
 * same functions. This is format 3; in format 2 verdicts have no effect and no divergence of labels, and the
 * digest of a large version 0 was of its bytes alone (model/digest.h). Format 1 is older: H(c || of each
 * contribution: node, 0, incarnation, sequence, weight as applied; the version's digest). */
#ifndef TRIB_STATE_CHAIN_H
#define TRIB_STATE_CHAIN_H

#include "shared/state/record.h"

#include <stdbool.h>

enum { TRIB_CHAIN_FORMAT = 3 };

struct trib_chain {
    uint64_t format;
    uint64_t verdicts;                  /* in the run so far, refusals too */
    uint8_t ledger[TRIB_DIGEST_BYTES];  /* c: what a version row keeps */
    uint8_t verdict[TRIB_DIGEST_BYTES]; /* v */
    uint8_t publish[TRIB_DIGEST_BYTES]; /* p */
};

/* All return false when memory runs out. */

/* A run begins: `chain->ledger` is H(fingerprint || digest of version 0). START with LEDGER_FORMAT or
 * without.
 */
bool trib_chain_run(struct trib_chain *chain, const struct trib_record *start);
bool trib_chain_verdict(struct trib_chain *chain, const struct trib_record *verdict);
/* PUBLISH; `increment_bytes`: of its payload. */
bool trib_chain_publish(struct trib_chain *chain, const struct trib_record *publish, size_t increment_bytes);

/* A version in two steps: each contribution in it, in order of judging, then the COMMIT or ROLLBACK with its
 * DIGEST. `members` is initialised by the caller and released by it. */
void trib_chain_member(const struct trib_chain *chain, struct trib_buf *members, const char *identity,
                       uint64_t incarnation, uint64_t number, float applied);
bool trib_chain_version(struct trib_chain *chain, const struct trib_record *version,
                        const struct trib_buf *members);

#endif
