/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long does a UDP datagram take there and back between two processes on the loop everything else
 * uses? The floor under the floor: no QUIC, no encryption.
 *
 *     bench_udp_pingpong [--count 20000] [--size 140] [--busy-us 0] [--pin 1]
 */
#include "common/loop.h"
#include "floor.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct side {
    flx_loop *loop;
    flx_watch watch;
    bool server;
    size_t size;
    uint64_t *samples;
    size_t count;
    size_t done;
    uint64_t sent_ns;
} side;

static void say(side *s)
{
    static const uint8_t bytes[65536];
    s->sent_ns = flx_clock_monotonic_ns();
    (void)send(s->watch.fd, bytes, s->size, 0);
}

static void on_ready(void *arg, uint32_t events)
{
    (void)events;
    static uint8_t bytes[65536];
    side *s = arg;
    if (recv(s->watch.fd, bytes, sizeof bytes, MSG_DONTWAIT) < 0)
        return;
    if (!s->server) {
        s->samples[s->done++] = flx_clock_monotonic_ns() - s->sent_ns;
        if (s->done == s->count) {
            flx_loop_stop(s->loop);
            return;
        }
    }
    say(s);
}

int main(int argc, char **argv)
{
    int fds[2];
    struct sockaddr_in addresses[2];
    for (int i = 0; i < 2; i++) {
        socklen_t len = sizeof addresses[i];
        addresses[i] = floor_loopback();
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        FLOOR_CHECK(fds[i] >= 0);
        FLOOR_CHECK(bind(fds[i], (struct sockaddr *)&addresses[i], len) == 0);
        FLOOR_CHECK(getsockname(fds[i], (struct sockaddr *)&addresses[i], &len) == 0);
    }
    for (int i = 0; i < 2; i++)
        FLOOR_CHECK(connect(fds[i], (struct sockaddr *)&addresses[1 - i], sizeof addresses[0]) ==
                    0);
    const pid_t child = fork();
    FLOOR_CHECK(child >= 0);
    floor_pin(argc, argv, child == 0);

    side s = {.server = child == 0, .size = floor_option(argc, argv, "--size", 140)};
    const flx_loop_options options = {.busy_poll_us =
                                          (uint32_t)floor_option(argc, argv, "--busy-us", 0)};
    s.count = floor_option(argc, argv, "--count", 20000);
    FLOOR_CHECK(s.count > 0 && s.size > 0 && s.size <= 65000);
    s.samples = calloc(s.count, sizeof *s.samples);
    FLOOR_CHECK(s.samples != NULL);
    FLOOR_CHECK(flx_loop_new(&options, &s.loop, NULL) == FLX_OK);
    s.watch = (flx_watch){.ready = on_ready, .arg = &s, .fd = fds[s.server]};
    FLOOR_CHECK(flx_loop_add(s.loop, &s.watch, EPOLLIN, NULL) == FLX_OK);
    if (!s.server)
        say(&s);
    FLOOR_CHECK(flx_loop_run(s.loop, NULL) == FLX_OK);
    if (s.server)
        return 0;
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    floor_report(options.busy_poll_us > 0 ? "udp_pingpong_busy" : "udp_pingpong", s.samples,
                 s.count, floor_cpu_s());
    free(s.samples);
    return 0;
}
