/* SPDX-License-Identifier: Apache-2.0 */
/* common/signals.c - a signalfd on a loop. */
#include "common/signals.h"

#include "common/error.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void signal_set(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGHUP);
    (void)sigaddset(set, SIGUSR1);
}

void flx_signals_block(sigset_t *ret_set)
{
    sigset_t set;
    signal_set(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    if (ret_set != NULL) {
        *ret_set = set;
    }
}

static void take_signals(void *arg, uint32_t events)
{
    flx_signals *signals = arg;
    struct signalfd_siginfo info;
    (void)events;
    /* One a tick, level-triggered: `received` may stop us, and then there is nothing left to read. */
    if (read(signals->watch.fd, &info, sizeof info) == (ssize_t)sizeof info) {
        signals->received(signals->arg, (int)info.ssi_signo);
    }
}

flx_status flx_signals_start(flx_signals *signals, flx_loop *loop,
                             void (*received)(void *arg, int number), void *arg, flx_error *reterr)
{
    sigset_t set;
    signal_set(&set);
    const int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        return flx_fail_errno(reterr, errno, "make a signalfd");
    }
    *signals = (flx_signals){.watch = {.ready = take_signals, .arg = signals, .fd = fd},
                             .loop = loop,
                             .received = received,
                             .arg = arg};
    const flx_status status = flx_loop_add(loop, &signals->watch, EPOLLIN, reterr);
    if (status != FLX_OK) {
        (void)close(fd);
        signals->loop = NULL;
    }
    return status;
}

void flx_signals_stop(flx_signals *signals)
{
    if (signals->loop != NULL) {
        flx_loop_remove(signals->loop, &signals->watch);
        (void)close(signals->watch.fd);
        signals->loop = NULL;
    }
}
