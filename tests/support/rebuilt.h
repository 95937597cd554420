/* What a node's state is made of again, from what it left. Each fails the test, with `what` in the text. */
#ifndef TRIB_TESTS_REBUILT_H
#define TRIB_TESTS_REBUILT_H

#include "tests/support/federation.h"

/* A checkpoint loads to the same state; cut short anywhere it is refused. */
void rebuilt_from_checkpoint(const struct trib_state *state, const char *what);
/* Its records, from the first on, give the same state. The federation keeps journals, and is calm. */
void rebuilt_from_records(struct federation *fed, size_t node, const char *what);

#endif
