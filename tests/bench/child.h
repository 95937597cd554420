/* A participant that only keeps up the protocol's side of things: it pulls models without applying them and
 * pushes one prepared payload under new numbers, so that what is measured is the parent. One child, one
 * DEALER; not shared between threads. */
#ifndef TRIB_TESTS_BENCH_CHILD_H
#define TRIB_TESTS_BENCH_CHILD_H

#include "shared/base/blob.h"
#include "shared/wire/message.h"
#include "shared/wire/transfer.h"

struct bench_child {
    void *socket;
    char name[TRIB_NAME_MAX + 1];
    struct trib_blob *payload; /* of every update; borrowed */
    uint32_t payload_crc;
    uint64_t incarnation, session, number, granted, used; /* credit in this session */
    uint64_t version;                                     /* held; valid if `holds` */
    uint8_t digest[TRIB_DIGEST_BYTES];
    bool holds;
    uint64_t unanswered, accepted, refused, models;
    char problem[200]; /* an ERROR that was received; "": none */
    struct trib_outbound outgoing;
    struct { /* a model that comes in pieces */
        uint64_t to_version;
        size_t total, have;
        uint8_t digest[TRIB_DIGEST_BYTES];
    } incoming;
};

enum { BENCH_CHILD_CREDIT = 4 * 1024 * 1024 /* what PULL takes in one frame */ };

/* Small steps of all signs in int8, so that a model stays finite however many there are. NULL: no memory. */
struct trib_blob *bench_update(size_t parameters, struct trib_error *err);
/* Connects (the context is a zmq context) and says HELLO. */
enum trib_status bench_child_open(struct bench_child *child, void *context, const char *endpoint,
                                  const char *name, struct trib_blob *payload,
                                  struct trib_error *err) TRIB_MUST_USE;
void bench_child_hello(struct bench_child *child);
/* Asks until it has a session, or holds a model: the parent may still be waiting for its own. */
enum trib_status bench_child_await_session(struct bench_child *child, struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_child_await_model(struct bench_child *child, struct trib_error *err) TRIB_MUST_USE;
/* Says goodbye. */
void bench_child_close(struct bench_child *child);

/* Takes what has come, without waiting; returns how many messages. */
size_t bench_child_receive(struct bench_child *child);
/* Waits until `child` has something to receive, at most so long. */
void bench_child_wait(struct bench_child *child, long ms);
/* Asks for the newest model; `anew` as if it held none. `credit`: larger payloads come in pieces. */
void bench_child_pull(struct bench_child *child, bool anew, uint64_t credit);
/* Is there credit for one more payload in PUSH's own frame? */
bool bench_child_may_push(const struct bench_child *child);
/* The next update: in one message, or as an offer that bench_child_receive goes on with. */
void bench_child_push(struct bench_child *child);
void bench_child_offer(struct bench_child *child);

#endif
