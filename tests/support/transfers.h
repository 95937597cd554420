/* What the tests of a parent role and payloads in pieces share: a cloud with so much room, children that
 * offer, and what it answers them. */
#ifndef TESTS_SUPPORT_TRANSFERS_H
#define TESTS_SUPPORT_TRANSFERS_H

#include "tests/support/roles.h"

/* Bytes of an update with ROLE_HUGE_N, ROLE_N parameters. */
enum { XFER_BIG = ROLE_HUGE_N * (int)sizeof(float), XFER_SMALL = ROLE_N * (int)sizeof(float) };

void xfer_cloud(struct role_node *node, size_t budget, size_t window, bool big);
/* Joins, and has version 0; returns the session. */
uint64_t xfer_child(struct role_node *node, trib_child_route route, const char *name);
void xfer_offer(struct role_node *node, trib_child_route route, uint64_t session, uint64_t number,
                const struct trib_blob *blob);
/* `bytes` of the payload from `offset` on. */
void xfer_piece(struct role_node *node, trib_child_route route, uint64_t session, uint64_t number,
                struct trib_blob *blob, size_t offset, size_t bytes);
/* The next message is CREDIT for the update, to go on at `offset`; it waits for no record. */
const struct role_sent *xfer_credit(struct role_node *node, uint64_t number, uint64_t offset);
/* ... is the ACK that accepts it, after all that was recorded. */
void xfer_accepted(struct role_node *node, uint64_t number);
size_t xfer_in_flight(const struct role_node *node);
size_t xfer_parked(const struct role_node *node);

#endif
