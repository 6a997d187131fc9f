/* SPDX-License-Identifier: Apache-2.0 */
/* stop.c - a pipe that becomes readable, and how often it was asked for. */
#include "stop.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static int stop_pipe[2] = {-1, -1};
static atomic_int requests;
static atomic_int signals;

void cli_stop_request(void)
{
    const int kept = errno;
    if (atomic_fetch_add(&requests, 1) == 0 && stop_pipe[1] >= 0) {
        (void)!write(stop_pipe[1], "", 1); /* one byte for ever: the pipe stays readable */
    }
    errno = kept;
}

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
    cli_stop_request();
}

flx_status cli_stop_init(flx_error *reterr)
{
    struct sigaction action;
    if (stop_pipe[0] < 0 && pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        return flx_fail_errno(reterr, errno, "make a pipe");
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal; /* without SA_RESTART: reads end */
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0) {
        return flx_fail_errno(reterr, errno, "catch signals");
    }
    return FLX_OK;
}

int cli_stop_fd(void)
{
    return stop_pipe[0];
}

bool cli_stop_requested(void)
{
    return atomic_load(&requests) > 0;
}

bool cli_stop_at_once(void)
{
    return atomic_load(&signals) > 1;
}
