#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/net/reactor_parts.h"

enum { NOT_ARMED = 0 };

struct trib_timer {
    struct trib_reactor *reactor;
    trib_handler *handler;
    void *ctx;
    uint64_t deadline_ms;
    uint64_t period_ms;      /* 0: once */
    size_t place;            /* in the heap, from 1; NOT_ARMED */
    struct trib_timer *next; /* of all, or of the dead */
    struct trib_timer *prev; /* of all */
};

static void put(struct timers *timers, size_t place, struct trib_timer *timer) {
    timers->heap[place - 1] = timer;
    timer->place = place;
}

static struct trib_timer *at(const struct timers *timers, size_t place) {
    return timers->heap[place - 1];
}

static void sift_up(struct timers *timers, struct trib_timer *timer, size_t place) {
    while (place > 1 && at(timers, place / 2)->deadline_ms > timer->deadline_ms) {
        put(timers, place, at(timers, place / 2));
        place /= 2;
    }
    put(timers, place, timer);
}

static void sift_down(struct timers *timers, struct trib_timer *timer, size_t place) {
    for (;;) {
        size_t child = 2 * place;
        if (child > timers->count) break;
        if (child < timers->count && at(timers, child + 1)->deadline_ms < at(timers, child)->deadline_ms)
            child++;
        if (at(timers, child)->deadline_ms >= timer->deadline_ms) break;
        put(timers, place, at(timers, child));
        place = child;
    }
    put(timers, place, timer);
}

static void arm(struct trib_timer *timer, uint64_t deadline_ms, uint64_t period_ms) {
    struct timers *timers = trib_reactor_timers(timer->reactor);
    trib_timer_cancel(timer);
    timer->deadline_ms = deadline_ms;
    timer->period_ms = period_ms;
    TRIB_ASSERT(timers->count < timers->capacity);
    timers->count++;
    sift_up(timers, timer, timers->count);
}

void trib_timer_cancel(struct trib_timer *timer) {
    if (timer->place == NOT_ARMED) return;
    struct timers *timers = trib_reactor_timers(timer->reactor);
    struct trib_timer *last = at(timers, timers->count);
    size_t place = timer->place;
    timer->place = NOT_ARMED;
    timers->count--;
    if (last == timer) return;
    if (last->deadline_ms < timer->deadline_ms) {
        sift_up(timers, last, place);
    } else {
        sift_down(timers, last, place);
    }
}

void trib_timer_at(struct trib_timer *timer, uint64_t deadline_ms) {
    arm(timer, deadline_ms, 0);
}

void trib_timer_after(struct trib_timer *timer, uint64_t delay_ms) {
    uint64_t deadline;
    if (__builtin_add_overflow(trib_clock_ms(), delay_ms, &deadline)) deadline = UINT64_MAX;
    arm(timer, deadline, 0);
}

void trib_timer_every(struct trib_timer *timer, uint64_t period_ms) {
    TRIB_ASSERT(period_ms > 0 && period_ms < UINT32_MAX);
    arm(timer, trib_clock_ms() + period_ms, period_ms);
}

bool trib_timer_armed(const struct trib_timer *timer) {
    return timer->place != NOT_ARMED;
}

enum trib_status trib_timer_new(struct trib_reactor *reactor, trib_handler *handler, void *ctx,
                                struct trib_timer **out, struct trib_error *err) {
    struct timers *timers = trib_reactor_timers(reactor);
    struct trib_timer *timer = trib_alloc(sizeof *timer);
    if (timer == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a timer");
    if (timers->existing == timers->capacity) {
        size_t capacity = timers->capacity == 0 ? 16 : 2 * timers->capacity;
        struct trib_timer **heap = trib_realloc(timers->heap, capacity * sizeof(struct trib_timer *));
        if (heap == NULL) {
            trib_free(timer);
            return trib_fail(err, TRIB_NOMEM, "no memory for %zu timers", capacity);
        }
        timers->heap = heap;
        timers->capacity = capacity;
    }
    *timer = (struct trib_timer){.reactor = reactor, .handler = handler, .ctx = ctx, .next = timers->all};
    if (timers->all != NULL) timers->all->prev = timer;
    timers->all = timer;
    timers->existing++;
    *out = timer;
    return TRIB_OK;
}

void trib_timer_free(struct trib_timer **timer) {
    struct trib_timer *t = *timer;
    *timer = NULL;
    if (t == NULL) return;
    struct timers *timers = trib_reactor_timers(t->reactor);
    trib_timer_cancel(t);
    if (t->prev != NULL) t->prev->next = t->next;
    if (t->next != NULL) t->next->prev = t->prev;
    if (timers->all == t) timers->all = t->next;
    timers->existing--;
    /* Its handler may be the one that is running. */
    t->next = timers->dead;
    timers->dead = t;
    if (!trib_reactor_in_turn(t->reactor)) trib_timers_bury(timers);
}

uint64_t trib_timers_wait_ms(const struct timers *timers, uint64_t now_ms, uint64_t most) {
    if (timers->count == 0) return most;
    uint64_t deadline = timers->heap[0]->deadline_ms;
    uint64_t wait = deadline > now_ms ? deadline - now_ms : 0;
    return wait < most ? wait : most;
}

/* A handler may arm a timer for the past, its own too: it then runs in the next turn, because no more run
 * than were due when this one began. */
void trib_timers_run(struct timers *timers, uint64_t now_ms) {
    for (size_t left = timers->count; left > 0 && timers->count > 0; left--) {
        struct trib_timer *timer = timers->heap[0];
        if (timer->deadline_ms > now_ms) return;
        uint64_t period = timer->period_ms;
        uint64_t next = timer->deadline_ms + period;
        trib_timer_cancel(timer);
        if (period > 0) arm(timer, next > now_ms ? next : now_ms + period, period);
        timer->handler(timer->ctx);
    }
}

void trib_timers_bury(struct timers *timers) {
    while (timers->dead != NULL) {
        struct trib_timer *timer = timers->dead;
        timers->dead = timer->next;
        trib_free(timer);
    }
}

void trib_timers_release(struct timers *timers) {
    while (timers->all != NULL) {
        struct trib_timer *timer = timers->all;
        trib_timer_free(&timer);
    }
    trib_free(timers->heap);
    timers->heap = NULL;
}
