/* One hop for tests of shared/net: a reactor with a server and some clients, and a record of what came. */
#ifndef TRIB_TESTS_HOP_H
#define TRIB_TESTS_HOP_H

#include "shared/net/client.h"
#include "shared/net/server.h"

enum { HOP_CLIENTS = 8, HOP_RECORDS = 4096 };

struct hop_record {
    struct trib_route route;
    char identity[80];
    char head[32];
    size_t frames;
    enum trib_fault fault;
    struct trib_blob *payload;
};

struct hop_inbox {
    struct hop_record *records;
    size_t count;
    size_t malformed; /* those of `count` that are */
};

struct hop {
    struct trib_reactor *reactor;
    struct trib_context *server_context;
    struct trib_context *client_context;
    struct trib_server *server;
    struct hop_inbox at_server;
    struct hop_client {
        struct hop *hop;
        struct trib_client *client;
        struct hop_inbox inbox;
        unsigned links[4]; /* by enum trib_link */
        bool echo;         /* send each message back */
    } clients[HOP_CLIENTS];
    bool echo; /* the server sends each message back */
    size_t gone;
    size_t refused;
    char refused_key[48];
    size_t reloads;
    size_t keys_in_force;
    struct trib_error reload_error;
};

void hop_start(struct hop *hop);
/* Starts the server with these options; what is 0 is filled in: a free loopback port, the callbacks. */
void hop_serve(struct hop *hop, struct trib_server_options options);
/* Connects client i to the server's first endpoint unless options name another. */
void hop_connect(struct hop *hop, int i, struct trib_client_options options);
void hop_stop(struct hop *hop);
/* The same of its own memory: it is too large for some stacks. */
struct hop *hop_new(void);
void hop_free(struct hop *hop);

/* Turns until `done`, and fails the test if that takes 30 s. */
void hop_until(struct hop *hop, bool (*done)(struct hop *hop, size_t argument), size_t argument);
/* Conditions for it: at least so many. */
bool hop_server_has(struct hop *hop, size_t messages);
bool hop_client_has(struct hop *hop, size_t messages); /* client 0 */
bool hop_client_up(struct hop *hop, size_t times);     /* client 0 */
bool hop_client_down(struct hop *hop, size_t times);

/* Sends a text as the head. */
enum trib_status hop_send(struct hop *hop, int client, const char *head, struct trib_blob *payload);
enum trib_status hop_answer(struct hop *hop, const struct trib_route *route, const char *head,
                            struct trib_blob *payload);

#endif
