#include "tests/support/transfers.h"

#include "tests/support/cmocka.h"

void xfer_cloud(struct role_node *node, size_t budget, size_t window, bool big) {
    role_parent(node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                            .huge = big,
                                            .aggregator = {.budget_bytes = budget, .window_bytes = window}});
}

uint64_t xfer_child(struct role_node *node, trib_child_route route, const char *name) {
    uint64_t session = role_join(node, route, name, route + 10);
    struct trib_msg pull = role_pull(session, NULL);
    role_deliver(node, route, NULL, &pull, NULL);
    (void)role_next(node, TRIB_MODEL);
    return session;
}

const struct role_sent *xfer_credit(struct role_node *node, uint64_t number, uint64_t offset) {
    const struct role_sent *sent = role_next(node, TRIB_CREDIT);
    assert_int_equal(sent->msg.number, number);
    assert_int_equal(sent->msg.offset, offset);
    assert_int_equal(sent->after, 0);
    return sent;
}

void xfer_offer(struct role_node *node, trib_child_route route, uint64_t session, uint64_t number,
                const struct trib_blob *blob) {
    struct trib_msg msg = role_offer(session, number, 0, blob);
    role_deliver(node, route, NULL, &msg, NULL);
}

void xfer_piece(struct role_node *node, trib_child_route route, uint64_t session, uint64_t number,
                struct trib_blob *blob, size_t offset, size_t bytes) {
    struct trib_blob *slice = trib_blob_slice(blob, offset, bytes);
    assert_non_null(slice);
    struct trib_msg msg = role_chunk(session, number, offset);
    role_deliver(node, route, NULL, &msg, slice);
    trib_blob_unref(&slice);
}

void xfer_accepted(struct role_node *node, uint64_t number) {
    const struct role_sent *ack = role_next(node, TRIB_ACK);
    assert_int_equal(ack->msg.number, number);
    assert_int_equal(ack->msg.verdict, TRIB_ACCEPTED);
    assert_int_equal(ack->after, node->state->position);
}

size_t xfer_in_flight(const struct role_node *node) {
    return trib_aggregator_status(node->aggregator).in_flight_bytes;
}

size_t xfer_parked(const struct role_node *node) {
    return trib_aggregator_status(node->aggregator).parked_bytes;
}
