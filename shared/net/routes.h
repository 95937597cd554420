/* The queues of the routes that a server could not send to at once: a small hash table, and a list in the
 * order of their turns. A route without a queue is not here. For server.c. */
#ifndef TRIB_NET_ROUTES_H
#define TRIB_NET_ROUTES_H

#include "shared/net/frames.h"

struct route_queue {
    struct trib_route route;
    struct outbox box;
    struct route_queue *next_in_bucket;
    TAILQ_ENTRY(route_queue) turn;
};

enum { ROUTE_BUCKETS = 1024 };

struct routes {
    size_t count;
    TAILQ_HEAD(route_turns, route_queue) turns;
    struct route_queue *buckets[ROUTE_BUCKETS];
};

void routes_init(struct routes *routes);
void routes_release(struct routes *routes);
struct route_queue *routes_find(const struct routes *routes, const struct trib_route *route);
/* A new empty queue at the end of the turns, or NULL. */
struct route_queue *routes_add(struct routes *routes, const struct trib_route *route);
void routes_remove(struct routes *routes, struct route_queue *queue);

#endif
