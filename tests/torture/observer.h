/* Knows everything and is told everything: follows each update through the durable records of all nodes, and
 * holds what nodes do and say against it. */
#ifndef TRIBUTARY_TESTS_OBSERVER_H
#define TRIBUTARY_TESTS_OBSERVER_H

#include "tests/torture/torture.h"

struct observer *observer_new(struct torture *t);
void observer_free(struct observer **observer);

/* Hooks of the federation. */
void observer_durable(struct torture *t, size_t node, const struct trib_record *const *records, size_t count);
void observer_opened(struct torture *t, size_t node);
void observer_sent(struct torture *t, size_t from, size_t to, const struct trib_action *action);
void observer_stepped(struct torture *t, size_t node);

/* The node is about to stop: what it is now is what it must be again. */
void observer_stopping(struct torture *t, size_t node);
/* A copy of what the node's disk holds is set aside; it takes the disk's place; the disk is new. */
void observer_backup(struct torture *t, size_t node);
void observer_restored(struct torture *t, size_t node);
void observer_wiped(struct torture *t, size_t node);
/* A device that keeps nothing, or lost it, begins again. */
void observer_forgotten(struct torture *t, size_t node);
/* Nothing is under way any more. */
void observer_final(struct torture *t);

/* The checksum of what was durably judged under a number; false: nothing was. */
bool observer_judged(const struct torture *t, size_t node, size_t child, uint64_t incarnation,
                     uint64_t number, uint32_t *crc);

/* One of the cloud's durable models, borrowed, and its version; NULL: there is none earlier than the newest.
 */
struct trib_blob *observer_earlier_model(const struct torture *t, size_t which, uint64_t *version);

/* For progress: updates in the cloud's model; the next number of a node. */
uint64_t observer_in_model(const struct torture *t);
uint64_t observer_updates(const struct torture *t);

#endif
