/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/idle.c - what does a connection cost that has one subscription and does nothing?
 *
 *     bench_idle --stream S --conns 2000
 *
 * Opens the connections and subscriptions, says "warm" after the first client's (whose cost is the
 * broker's own beginning), "ready" after the last, and holds them until stdin is closed. The driver
 * reads the broker's memory and processor time at these moments.
 */
#include "load.h"

int main(int argc, char **argv)
{
    load_init(argc, argv);
    flx_error error = {0};
    const uint64_t conns = load_number("--conns", 1000);
    const uint64_t clients_count = (conns + LOAD_CONNECTIONS_MAX - 1) / LOAD_CONNECTIONS_MAX + 1;
    flx_client **clients = calloc(clients_count, sizeof(flx_client *));
    flx_subscriber **subs = calloc(clients_count * LOAD_CONNECTIONS_MAX, sizeof(flx_subscriber *));
    LOAD_CHECK(clients != NULL && subs != NULL);
    uint64_t opened = 0;
    for (uint64_t i = 0; i < clients_count; i++) {
        uint64_t left = i == 0 ? LOAD_CONNECTIONS_MAX : conns + LOAD_CONNECTIONS_MAX - opened;
        left = left > LOAD_CONNECTIONS_MAX ? LOAD_CONNECTIONS_MAX : left;
        clients[i] = load_connect((uint32_t)left, 0);
        for (uint64_t k = 0; k < left; k++) {
            flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
            if (flx_subscriber_new(clients[i], load_text("--stream", "bench"), &options,
                                   &subs[opened + k], &error) != FLX_OK) {
                load_die("subscribe: %s", error.message);
            }
        }
        for (uint64_t k = 0; k < left; k++, opened++) {
            if (flx_subscriber_wait(subs[opened], LOAD_WAIT_MS, &error) != FLX_OK) {
                load_die("subscribe: %s", error.message);
            }
        }
        if (i == 0) {
            load_say("{\"event\":\"warm\"}");
            if (!load_await_line()) {
                return EXIT_FAILURE;
            }
        }
    }
    load_say("{\"event\":\"ready\",\"opened\":%llu,\"cpu_s\":%.6f}", (unsigned long long)opened,
             load_cpu_s());
    while (load_await_line()) {
    }
    /* Ending thousands of connections in order takes longer than the run; the process just ends. */
    _Exit(EXIT_SUCCESS);
}
