/* A federation that really learns, under the virtual clock: shipped roles, shipped trainer, the carried
 * sample of MNIST. */
#ifndef TRIB_TESTS_LEARNING_H
#define TRIB_TESTS_LEARNING_H

#include "shared/model/schema.h"

#include <stdint.h>

#define LEARNING_PLAN "model: cnn-small\ndata.devices: 12\ntrain.max_samples: 300\nseed: 5\n"

/* Runs a cloud, two edges and 12 devices under a plan (LEARNING_PLAN and more) until the cloud has so many
 * versions; checks the invariants. Gives the model's accuracy, and the federation's digest. */
double federation_learn(const char *plan, uint64_t versions, uint8_t digest[TRIB_DIGEST_BYTES]);

/* Each codec on both hops, up and down: with what it loses fed back, the federation learns what it learns
 * with floats, or nearly so where it sends one value in twenty. Prints the accuracies after 8 versions of the
 * cloud, or after as many as TRIBUTARY_VERSIONS says; fails where one is below its bar. */
struct learning_case {
    const char *codec;
    double accuracy;
};
void learning_try(const struct learning_case *cases, size_t count);

#endif
