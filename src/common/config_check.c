/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/config_check.c - values that are fine alone and wrong together.
 *
 * Each message names both keys with their values and which way to move one of them.
 */
#include "common/config_int.h"
#include "common/cpus.h"
#include "common/error.h"

#include <stdio.h>
#include <string.h>

typedef struct checker {
    const flx_config *config;
    void (*problem)(void *arg, const char *text);
    void *arg;
} checker;

static const char *value_of(const checker *check, int index, char text[64])
{
    (void)flx_config_value_text(check->config, flx_config_key_at((size_t)index), text, 64);
    return text;
}

/* `small` must not be above `large`. */
static void not_above(const checker *check, uint64_t small, int small_key, uint64_t large,
                      int large_key)
{
    char small_text[64];
    char large_text[64];
    char message[240];
    if (small <= large) {
        return;
    }
    (void)snprintf(
        message, sizeof message,
        "%s (%s) must not be above %s (%s): lower the first or raise the second",
        flx_config_key_at((size_t)small_key)->name, value_of(check, small_key, small_text),
        flx_config_key_at((size_t)large_key)->name, value_of(check, large_key, large_text));
    check->problem(check->arg, message);
}

#define NOT_ABOVE(check, small, large)                                                             \
    not_above((check), (check)->config->small, FLX_CONFIG_KEY_##small, (check)->config->large,     \
              FLX_CONFIG_KEY_##large)

static void tls_belongs_together(const checker *check)
{
    const flx_config *config = check->config;
    if ((config->tls_cert[0] == '\0') != (config->tls_key[0] == '\0')) {
        check->problem(check->arg, "tls_cert and tls_key go together: set both or neither");
    }
    if (config->tls_cert[0] != '\0' && config->tls_cert_export[0] != '\0') {
        check->problem(check->arg,
                       "tls_cert_export is for the certificate Felix makes itself: clients of "
                       "tls_cert already have its CA, so unset one of the two");
    }
    if (config->tls_require_client_cert && config->tls_client_ca[0] == '\0') {
        check->problem(check->arg, "tls_require_client_cert needs tls_client_ca to check them by");
    }
}

static void ports_differ(const checker *check)
{
    char host[FLX_HOST_MAX];
    char other_host[FLX_HOST_MAX];
    uint16_t port = 0;
    uint16_t other = 0;
    if (flx_address_split(check->config->metrics_bind, host, &port, NULL) != FLX_OK ||
        flx_address_split(check->config->controlplane_bind, other_host, &other, NULL) != FLX_OK) {
        return;
    }
    if (port == other && port != 0 && strcmp(host, other_host) == 0) {
        check->problem(check->arg, "metrics_bind and controlplane_bind are the same address: "
                                   "give one of them another port");
    }
}

static void total_inflight_in_range(const checker *check)
{
    const flx_config *config = check->config;
    if (config->pub_conn_total_inflight_bytes == 0) {
        return; /* derived */
    }
    NOT_ABOVE(check, pub_conn_inflight_bytes, pub_conn_total_inflight_bytes);
    NOT_ABOVE(check, pub_conn_total_inflight_bytes, pub_inflight_bytes);
}

static void packets_are_possible(const checker *check)
{
    const uint32_t bytes = check->config->udp_payload_max;
    if (bytes != 0 && bytes < 1200) {
        check->problem(check->arg,
                       "udp_payload_max must be 0 or at least 1200, which QUIC needs everywhere");
    }
}

static void keepalive_keeps_alive(const checker *check)
{
    const flx_config *config = check->config;
    if (config->keepalive_ms != 0 && config->keepalive_ms >= config->max_idle_timeout_ms) {
        check->problem(check->arg, "keepalive_ms must be below max_idle_timeout_ms, or "
                                   "connections end before they are kept alive");
    }
}

static void processors_are_a_list(const checker *check)
{
    uint32_t cpus[FLX_CPU_MAX + 1];
    size_t count = 0;
    flx_error error = {0};
    if (flx_cpus_parse(check->config->worker_cpus, cpus, FLX_CPU_MAX + 1, &count, &error) !=
        FLX_OK) {
        flx_error_prefix(&error, "worker_cpus");
        check->problem(check->arg, error.message);
    }
}

void flx_config_cross_check(const flx_config *config, void (*problem)(void *arg, const char *text),
                            void *arg)
{
    const checker check = {config, problem, arg};
    NOT_ABOVE(&check, preauth_max_frame_bytes, max_frame_bytes);
    NOT_ABOVE(&check, event_batch_max_bytes, max_frame_bytes);
    NOT_ABOVE(&check, max_frame_bytes, pub_stream_recv_window);
    NOT_ABOVE(&check, pub_stream_recv_window, pub_conn_recv_window);
    NOT_ABOVE(&check, pub_conn_inflight_bytes, pub_inflight_bytes);
    NOT_ABOVE(&check, event_batch_max_bytes, shard_ring_bytes);
    NOT_ABOVE(&check, shard_ring_bytes, ring_bytes);
    total_inflight_in_range(&check);
    tls_belongs_together(&check);
    ports_differ(&check);
    packets_are_possible(&check);
    keepalive_keeps_alive(&check);
    processors_are_a_list(&check);
}
