#include "shared/net/reactor_parts.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* From now on a SIGINT takes its default action, in the kernel: it works even when a handler hangs. */
static void give_up_sigint(struct signals *signals) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigdelset(&signals->caught, SIGINT);
    (void)signalfd(signals->fd, &signals->caught, SFD_CLOEXEC | SFD_NONBLOCK);
    (void)signal(SIGINT, SIG_DFL);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void on_signal(void *ctx) {
    struct signals *signals = ctx;
    struct signalfd_siginfo info;
    if (read(signals->fd, &info, sizeof info) != (ssize_t)sizeof info) return;
    int signo = (int)info.ssi_signo;
    if (signo == SIGINT) give_up_sigint(signals);
    for (size_t i = 0; i < signals->count; i++) {
        if (signals->entries[i].signo != signo) continue;
        signals->entries[i].handler(signals->entries[i].ctx);
        return;
    }
}

static enum trib_status start(struct trib_reactor *reactor, struct signals *signals, struct trib_error *err) {
    (void)sigemptyset(&signals->caught);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &signals->before);
    signals->fd = signalfd(-1, &signals->caught, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0) return trib_fail_errno(err, "cannot make a signal descriptor");
    enum trib_status status =
        trib_reactor_watch_fd(reactor, signals->fd, TRIB_WANT_READ, on_signal, signals, &signals->watch, err);
    if (status != TRIB_OK) {
        (void)close(signals->fd);
        signals->fd = -1;
    }
    return status;
}

static size_t entry_of(const struct signals *signals, int signo) {
    size_t i = 0;
    while (i < signals->count && signals->entries[i].signo != signo) i++;
    return i;
}

enum trib_status trib_reactor_on_signal(struct trib_reactor *reactor, int signo, trib_handler *handler,
                                        void *ctx, struct trib_error *err) {
    struct signals *signals = trib_reactor_signals(reactor);
    TRIB_ASSERT(handler != NULL);
    if (signals->fd < 0) {
        enum trib_status status = start(reactor, signals, err);
        if (status != TRIB_OK) return status;
    }
    size_t i = entry_of(signals, signo);
    TRIB_ASSERT(i < SIGNALS_MAX);
    if (i == signals->count) signals->count++;
    signals->entries[i].signo = signo;
    signals->entries[i].handler = handler;
    signals->entries[i].ctx = ctx;
    (void)sigaddset(&signals->caught, signo);
    (void)pthread_sigmask(SIG_BLOCK, &signals->caught, NULL);
    if (signalfd(signals->fd, &signals->caught, SFD_CLOEXEC | SFD_NONBLOCK) < 0)
        return trib_fail_errno(err, "cannot catch signal %d", signo);
    return TRIB_OK;
}

void trib_signals_release(struct signals *signals) {
    if (signals->fd < 0) return;
    trib_watch_free(&signals->watch);
    (void)close(signals->fd);
    signals->fd = -1;
    (void)pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}
