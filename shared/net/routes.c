#include "shared/net/routes.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/base/rng.h"

static size_t bucket_of(const struct trib_route *route) {
    return trib_mix64(trib_get_u64(route->id) + route->size) % ROUTE_BUCKETS;
}

void routes_init(struct routes *routes) {
    TAILQ_INIT(&routes->turns);
}

void routes_release(struct routes *routes) {
    while (!TAILQ_EMPTY(&routes->turns)) routes_remove(routes, TAILQ_FIRST(&routes->turns));
}

struct route_queue *routes_find(const struct routes *routes, const struct trib_route *route) {
    if (routes->count == 0) return NULL;
    struct route_queue *queue = routes->buckets[bucket_of(route)];
    while (queue != NULL && !trib_route_equal(&queue->route, route)) queue = queue->next_in_bucket;
    return queue;
}

struct route_queue *routes_add(struct routes *routes, const struct trib_route *route) {
    struct route_queue *queue = trib_alloc(sizeof *queue);
    if (queue == NULL) return NULL;
    struct route_queue **bucket = &routes->buckets[bucket_of(route)];
    queue->route = *route;
    outbox_init(&queue->box);
    queue->next_in_bucket = *bucket;
    *bucket = queue;
    TAILQ_INSERT_TAIL(&routes->turns, queue, turn);
    routes->count++;
    return queue;
}

void routes_remove(struct routes *routes, struct route_queue *queue) {
    struct route_queue **link = &routes->buckets[bucket_of(&queue->route)];
    while (*link != queue) link = &(*link)->next_in_bucket;
    *link = queue->next_in_bucket;
    TAILQ_REMOVE(&routes->turns, queue, turn);
    routes->count--;
    outbox_release(&queue->box);
    trib_free(queue);
}
