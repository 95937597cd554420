#include "shared/net/pipe.h"

#include "shared/base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* A ring of pointers; `first` is the oldest. */
struct queue {
    void **items;
    size_t capacity;
    size_t first;
    size_t count;
};

/* Everything below `mutex` is guarded by it. The eventfd is readable exactly while answers.count > 0 or the
 * actor has ended. */
struct trib_pipe {
    trib_actor_fn *fn;
    void *arg;
    int fd;
    void (*drop_request)(void *item);
    void (*drop_answer)(void *item);
    char name[16];
    pthread_t thread;
    bool joined; /* the owner's alone */

    pthread_mutex_t mutex;
    pthread_cond_t actor_wakes; /* a request, room for an answer, or the end */
    pthread_cond_t owner_wakes; /* ready or ended */
    struct queue requests;
    struct queue answers;
    bool ready;
    bool stopping;
    bool ended;
    enum trib_status result;
    struct trib_error error;
};

/* The same thing seen from the other side: two types, so that the ends cannot be mixed up. */
struct trib_actor {
    struct trib_pipe pipe;
};

static void lock(struct trib_pipe *pipe) {
    int rc = pthread_mutex_lock(&pipe->mutex);
    TRIB_ASSERT(rc == 0);
}

static void unlock(struct trib_pipe *pipe) {
    int rc = pthread_mutex_unlock(&pipe->mutex);
    TRIB_ASSERT(rc == 0);
}

static void signal_owner(struct trib_pipe *pipe) {
    uint64_t one = 1;
    ssize_t wrote = write(pipe->fd, &one, sizeof one);
    TRIB_ASSERT(wrote == (ssize_t)sizeof one);
}

static void clear_owner(struct trib_pipe *pipe) {
    uint64_t count;
    ssize_t got = read(pipe->fd, &count, sizeof count);
    TRIB_ASSERT(got == (ssize_t)sizeof count);
}

static void push(struct queue *queue, void **item) {
    TRIB_ASSERT(queue->count < queue->capacity && *item != NULL);
    queue->items[(queue->first + queue->count) % queue->capacity] = *item;
    queue->count++;
    *item = NULL;
}

static void *pop(struct queue *queue) {
    if (queue->count == 0) return NULL;
    void *item = queue->items[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    return item;
}

static enum trib_status grow(struct queue *queue) {
    struct queue larger = {.capacity = 2 * queue->capacity};
    larger.items = trib_alloc_array(larger.capacity, sizeof(void *));
    if (larger.items == NULL) return TRIB_NOMEM;
    void *item;
    while ((item = pop(queue)) != NULL) push(&larger, &item);
    trib_free(queue->items);
    *queue = larger;
    return TRIB_OK;
}

static void drain(struct queue *queue, void (*drop)(void *item)) {
    void *item;
    while ((item = pop(queue)) != NULL) {
        if (drop != NULL) drop(item);
    }
    trib_free(queue->items);
}

/* ---- The actor's side */

static void *run(void *ctx) {
    struct trib_pipe *pipe = ctx;
    struct trib_error err = {.status = TRIB_OK};
    (void)pthread_setname_np(pthread_self(), pipe->name);
    enum trib_status result = pipe->fn(pipe, pipe->arg, &err);
    lock(pipe);
    pipe->result = result;
    pipe->error = err;
    pipe->ended = true;
    if (pipe->answers.count == 0) signal_owner(pipe);
    (void)pthread_cond_signal(&pipe->owner_wakes);
    unlock(pipe);
    return NULL;
}

void trib_pipe_ready(struct trib_pipe *pipe) {
    lock(pipe);
    pipe->ready = true;
    (void)pthread_cond_signal(&pipe->owner_wakes);
    unlock(pipe);
}

static struct timespec deadline_of(int timeout_ms) {
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec++;
    }
    return at;
}

void *trib_pipe_take(struct trib_pipe *pipe, int timeout_ms) {
    struct timespec deadline = deadline_of(timeout_ms < 0 ? 0 : timeout_ms);
    int rc = 0;
    lock(pipe);
    while (pipe->requests.count == 0 && !pipe->stopping && rc == 0) {
        rc = timeout_ms < 0 ? pthread_cond_wait(&pipe->actor_wakes, &pipe->mutex)
                            : pthread_cond_timedwait(&pipe->actor_wakes, &pipe->mutex, &deadline);
    }
    void *item = pop(&pipe->requests);
    unlock(pipe);
    return item;
}

enum trib_status trib_pipe_answer(struct trib_pipe *pipe, void **item) {
    enum trib_status status = TRIB_OK;
    lock(pipe);
    while (pipe->answers.count == pipe->answers.capacity && !pipe->stopping)
        (void)pthread_cond_wait(&pipe->actor_wakes, &pipe->mutex);
    if (pipe->answers.count == pipe->answers.capacity) status = grow(&pipe->answers);
    if (status == TRIB_OK) {
        push(&pipe->answers, item);
        if (pipe->answers.count == 1) signal_owner(pipe);
    }
    unlock(pipe);
    return status;
}

bool trib_pipe_stopping(struct trib_pipe *pipe) {
    lock(pipe);
    bool stopping = pipe->stopping;
    unlock(pipe);
    return stopping;
}

/* ---- The owner's side */

static enum trib_status prepare(struct trib_pipe *pipe, const struct trib_actor_options *options,
                                struct trib_error *err) {
    TRIB_ASSERT(options->requests > 0 && options->answers > 0);
    pipe->requests.capacity = options->requests;
    pipe->answers.capacity = options->answers;
    pipe->requests.items = trib_alloc_array(options->requests, sizeof(void *));
    pipe->answers.items = trib_alloc_array(options->answers, sizeof(void *));
    if (pipe->requests.items == NULL || pipe->answers.items == NULL)
        return trib_fail(err, TRIB_NOMEM, "no memory for the queues of thread %s", options->name);
    pipe->drop_request = options->drop_request;
    pipe->drop_answer = options->drop_answer;
    (void)snprintf(pipe->name, sizeof pipe->name, "%s", options->name);
    pipe->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pipe->fd < 0) return trib_fail_errno(err, "cannot make an event descriptor for %s", options->name);
    return TRIB_OK;
}

static void init_locks(struct trib_pipe *pipe) {
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&pipe->mutex, NULL);
    (void)pthread_cond_init(&pipe->actor_wakes, &attr);
    (void)pthread_cond_init(&pipe->owner_wakes, &attr);
    (void)pthread_condattr_destroy(&attr);
}

static void release(struct trib_actor *actor) {
    struct trib_pipe *pipe = &actor->pipe;
    drain(&pipe->requests, pipe->drop_request);
    drain(&pipe->answers, pipe->drop_answer);
    if (pipe->fd >= 0) (void)close(pipe->fd);
    (void)pthread_cond_destroy(&pipe->actor_wakes);
    (void)pthread_cond_destroy(&pipe->owner_wakes);
    (void)pthread_mutex_destroy(&pipe->mutex);
    trib_free(actor);
}

/* A thread inherits the mask: block everything for a moment, so that signals stay with the reactor. */
static int create_thread(struct trib_pipe *pipe) {
    sigset_t everything;
    sigset_t before;
    (void)sigfillset(&everything);
    (void)pthread_sigmask(SIG_SETMASK, &everything, &before);
    int rc = pthread_create(&pipe->thread, NULL, run, pipe);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static enum trib_status await_ready(struct trib_pipe *pipe, struct trib_error *err) {
    lock(pipe);
    while (!pipe->ready && !pipe->ended) (void)pthread_cond_wait(&pipe->owner_wakes, &pipe->mutex);
    bool ready = pipe->ready;
    unlock(pipe);
    if (ready) return TRIB_OK;
    (void)pthread_join(pipe->thread, NULL);
    TRIB_ASSERT(pipe->result != TRIB_OK); /* an actor that ends well says ready first */
    if (err != NULL) *err = pipe->error;
    return pipe->result;
}

enum trib_status trib_actor_start(struct trib_actor **out, trib_actor_fn *fn, void *arg,
                                  const struct trib_actor_options *options, struct trib_error *err) {
    struct trib_actor *actor = trib_alloc(sizeof *actor);
    if (actor == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for thread %s", options->name);
    struct trib_pipe *pipe = &actor->pipe;
    pipe->fn = fn;
    pipe->arg = arg;
    pipe->fd = -1;
    init_locks(pipe);
    enum trib_status status = prepare(pipe, options, err);
    if (status == TRIB_OK) {
        int rc = create_thread(pipe);
        if (rc != 0) {
            errno = rc;
            status = trib_fail_errno(err, "cannot start thread %s", options->name);
        }
    }
    if (status == TRIB_OK) status = await_ready(pipe, err);
    if (status != TRIB_OK) {
        release(actor);
        return status;
    }
    *out = actor;
    return TRIB_OK;
}

enum trib_status trib_actor_send(struct trib_actor *actor, void **item) {
    struct trib_pipe *pipe = &actor->pipe;
    enum trib_status status = TRIB_OK;
    lock(pipe);
    if (pipe->ended || pipe->stopping) {
        status = TRIB_NOT_FOUND;
    } else if (pipe->requests.count == pipe->requests.capacity) {
        status = TRIB_AGAIN;
    } else {
        push(&pipe->requests, item);
        (void)pthread_cond_signal(&pipe->actor_wakes);
    }
    unlock(pipe);
    return status;
}

void *trib_actor_take(struct trib_actor *actor) {
    struct trib_pipe *pipe = &actor->pipe;
    lock(pipe);
    void *item = pop(&pipe->answers);
    if (item != NULL) {
        if (pipe->answers.count == 0 && !pipe->ended) clear_owner(pipe);
        (void)pthread_cond_signal(&pipe->actor_wakes);
    }
    unlock(pipe);
    return item;
}

int trib_actor_fd(const struct trib_actor *actor) {
    return actor->pipe.fd;
}

enum trib_status trib_actor_result(struct trib_actor *actor, struct trib_error *err) {
    struct trib_pipe *pipe = &actor->pipe;
    lock(pipe);
    bool ended = pipe->ended;
    unlock(pipe);
    if (!ended) return trib_fail(err, TRIB_AGAIN, "thread %s is still running", pipe->name);
    if (err != NULL) *err = pipe->error;
    return pipe->result;
}

void trib_actor_stop(struct trib_actor *actor) {
    struct trib_pipe *pipe = &actor->pipe;
    if (pipe->joined) return;
    lock(pipe);
    pipe->stopping = true;
    (void)pthread_cond_signal(&pipe->actor_wakes);
    unlock(pipe);
    (void)pthread_join(pipe->thread, NULL);
    pipe->joined = true;
}

void trib_actor_free(struct trib_actor **actor) {
    struct trib_actor *a = *actor;
    *actor = NULL;
    if (a == NULL) return;
    trib_actor_stop(a);
    release(a);
}
