/* What the files of the federation's driver share; nobody else includes this. */
#ifndef TRIBUTARY_TESTS_FEDERATION_INTERNAL_H
#define TRIBUTARY_TESTS_FEDERATION_INTERNAL_H

#include "tests/support/federation.h"

#include "shared/base/rng.h"

enum event_kind { EVENT_MESSAGE, EVENT_WAKE, EVENT_COMMITTED, EVENT_CONNECT, EVENT_TRAINED, EVENT_ALARM };

struct event {
    uint64_t at_ms, order;
    enum event_kind kind;
    size_t node;
    bool up;                /* MESSAGE: from a child */
    trib_child_route route; /* MESSAGE up: of the child; down: the connection it belongs to */
    uint8_t *frame;
    size_t frame_bytes;
    struct trib_blob *payload;
    uint64_t generation; /* of the node: what happened before a crash concerns nobody */
    float *difference;   /* TRAINED */
    float *local[TRIB_LOCAL_MAX];
    struct trib_submission submission;
    uint64_t what; /* ALARM */
};

struct waiting { /* a send that waits for its position */
    struct trib_action action;
    struct waiting *next;
};

enum { GROUP_RECORDS = 256 };

struct records {
    size_t count, capacity;
    struct trib_record **at; /* owned */
};

struct node {
    char name[FED_NAME];
    enum trib_role role;
    size_t parent;
    struct trib_state *state; /* NULL: it is down */
    struct trib_outbox outbox;
    struct trib_aggregator *aggregator;
    struct trib_participant *participant;
    uint64_t generation, connection, committed, wake_ms;
    int64_t skew_ms;
    struct federation_link link;
    struct waiting *waiting, **waiting_end;
    struct records queue, group, kept; /* group: on its way to the disk; kept: keep_journal */
    struct trib_buf spooling, spool;   /* spools: on its way, and there */
    uint64_t backlog_bytes;            /* payloads of queue and group */
    uint64_t trained;
};

struct federation {
    struct federation_options options;
    struct federation_disk disk;
    struct trib_rng rng;
    uint64_t now_ms, order, events;
    bool calm;
    size_t node_count;
    struct node *nodes;
    size_t heap_count, heap_capacity;
    struct event *heap;
};

/* federation_events.c */
void federation_must(bool good, const char *what);
void federation_push(struct federation *fed, struct event event);
struct event federation_pop(struct federation *fed);
void federation_release(struct event *event);
void records_add(struct records *records, struct trib_record *record);
void records_free(struct records *records);

/* federation_journal.c: a disk in memory */
struct federation_disk federation_memory_disk(struct federation *fed);
void federation_spool_init(struct node *node);
void federation_spool_release(struct node *node);

#endif
