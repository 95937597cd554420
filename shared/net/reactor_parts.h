/* The reactor's own parts, for reactor.c, timers.c and signals.c alone. */
#ifndef TRIB_NET_REACTOR_PARTS_H
#define TRIB_NET_REACTOR_PARTS_H

#include "shared/net/reactor.h"

#include <signal.h>
#include <stddef.h>

enum { SIGNALS_MAX = 8 };

/* A binary heap by deadline. Room for every timer that exists is there from its creation, so that arming one
 * cannot fail. */
struct timers {
    struct trib_timer **heap;
    size_t count;    /* armed */
    size_t capacity; /* of heap */
    size_t existing;
    struct trib_timer *all;  /* every timer, for the end */
    struct trib_timer *dead; /* freed during a turn */
};

struct signals {
    int fd; /* -1: none asked for */
    struct trib_watch *watch;
    sigset_t caught;
    sigset_t before; /* the thread's mask when the first was asked for */
    size_t count;
    struct {
        int signo;
        trib_handler *handler;
        void *ctx;
    } entries[SIGNALS_MAX];
};

struct timers *trib_reactor_timers(struct trib_reactor *reactor);
struct signals *trib_reactor_signals(struct trib_reactor *reactor);
bool trib_reactor_in_turn(const struct trib_reactor *reactor);

/* Milliseconds until the first deadline, at most `most`. */
uint64_t trib_timers_wait_ms(const struct timers *timers, uint64_t now_ms, uint64_t most);
/* Runs what is due at now_ms, each timer at most once. */
void trib_timers_run(struct timers *timers, uint64_t now_ms);
void trib_timers_bury(struct timers *timers);
void trib_timers_release(struct timers *timers);
void trib_signals_release(struct signals *signals);

#endif
