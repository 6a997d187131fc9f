/* SPDX-License-Identifier: Apache-2.0 */
/* node/certificate_watch.c - inotify on the folders, one call after the dust has settled. */
#include "node/certificate_watch.h"

#include "common/clock.h"
#include "common/error.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SETTLE_NS (200 * FLX_NS_PER_MS)
#define EVENTS    (IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR)

static void on_settled(void *arg, uint64_t now_ns)
{
    const flx_certificate_watch *watch = arg;
    (void)now_ns;
    watch->changed(watch->arg);
}

/* What happened does not matter, only that something did. */
static void on_event(void *arg, uint32_t events)
{
    flx_certificate_watch *watch = arg;
    (void)events;
    char buffer[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
    while (read(watch->watch.fd, buffer, sizeof buffer) > 0) {
    }
    (void)flx_loop_timer_set(watch->loop, &watch->settle, flx_loop_now_ns(watch->loop) + SETTLE_NS);
}

static flx_status watch_folder(int fd, const char *file, flx_error *reterr)
{
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s", file);
    char *slash = strrchr(folder, '/');
    if (slash == NULL) {
        (void)snprintf(folder, sizeof folder, ".");
    } else {
        slash[slash == folder ? 1 : 0] = '\0';
    }
    if (inotify_add_watch(fd, folder, EVENTS) < 0) {
        return flx_fail_errno(reterr, errno, "watch '%s'", folder);
    }
    return FLX_OK;
}

flx_status flx_certificate_watch_start(flx_certificate_watch *watch, flx_loop *loop,
                                       const char *const *files, size_t count,
                                       void (*changed)(void *arg), void *arg, flx_error *reterr)
{
    const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) {
        return flx_fail_errno(reterr, errno, "watch the certificates");
    }
    *watch = (flx_certificate_watch){.loop = loop, .changed = changed, .arg = arg};
    watch->watch = (flx_watch){.ready = on_event, .arg = watch, .fd = fd};
    watch->settle = (flx_timer){.fire = on_settled, .arg = watch};
    flx_status status = FLX_OK;
    for (size_t i = 0; status == FLX_OK && i < count; i++) {
        if (files[i] != NULL && files[i][0] != '\0') {
            status = watch_folder(fd, files[i], reterr);
        }
    }
    if (status == FLX_OK) {
        status = flx_loop_add(loop, &watch->watch, EPOLLIN, reterr);
    }
    if (status != FLX_OK) {
        (void)close(fd);
        watch->loop = NULL;
    }
    return status;
}

void flx_certificate_watch_stop(flx_certificate_watch *watch)
{
    if (watch->loop != NULL) {
        flx_loop_timer_cancel(watch->loop, &watch->settle);
        flx_loop_remove(watch->loop, &watch->watch);
        (void)close(watch->watch.fd);
        watch->loop = NULL;
    }
}
