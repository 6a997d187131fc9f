/* SPDX-License-Identifier: Apache-2.0 */
/* node/settings.c - the one place where a configuration key meets the option it stands for. */
#include "node/settings.h"

#include "common/cpus.h"
#include "common/error.h"
#include "common/sockaddr.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void flx_settings_limits(const flx_config *config, flx_worker_limits *ret_limits)
{
    *ret_limits = (flx_worker_limits){
        .frame_bytes_max = (uint32_t)config->max_frame_bytes,
        .preauth_frame_bytes_max = (uint32_t)config->preauth_max_frame_bytes,
        .preauth_streams_max = config->preauth_max_streams_per_conn,
        .auth_timeout_ms = config->auth_timeout_ms == 0 ? UINT32_MAX : config->auth_timeout_ms,
        .publish_window = config->publish_window == 0 ? UINT32_MAX : config->publish_window,
        .operation_window = config->operation_window == 0 ? UINT32_MAX : config->operation_window,
        .subscriptions_max = config->max_subscriptions_per_conn,
        .identity_publish_bytes = config->pub_conn_inflight_bytes,
        .conn_publish_bytes = config->pub_conn_total_inflight_bytes,
        .process_publish_bytes = config->pub_inflight_bytes,
        .tenant_bytes_per_s = config->tenant_publish_bytes_per_sec,
        .tenant_records_per_s = config->tenant_publish_msgs_per_sec,
        .tenant_burst_ms = config->tenant_publish_burst_ms,
        .shard_ring_frames = config->shard_ring_frames,
        .shard_ring_bytes = config->shard_ring_bytes,
        .ring_bytes = config->ring_bytes,
        .queue_capacity_max = config->subscriber_queue_capacity_max,
        .block_ms = config->subscriber_block_ms,
        .frame_events_max = config->event_batch_max_events,
        .frame_gather_bytes = (uint32_t)config->event_batch_max_bytes,
        .cache_bytes = config->cache_memory_bytes,
        .log_segment_bytes = config->log_segment_bytes,
        .log_pending_bytes = config->log_pending_bytes,
        .log_read_cache_bytes = config->log_read_cache_bytes,
        .producer_memory_bytes = config->log_producer_memory_bytes,
        .counter_bytes = config->counter_memory_bytes,
    };
}

void flx_settings_quic(const flx_config *config, flx_quic_options *ret_options)
{
    *ret_options = (flx_quic_options){
        .idle_timeout_ms = config->max_idle_timeout_ms,
        .keepalive_ms = config->keepalive_ms == 0 ? UINT32_MAX : config->keepalive_ms,
        .conn_window_bytes = config->pub_conn_recv_window,
        .stream_window_bytes = config->pub_stream_recv_window,
        .udp_payload_max = config->udp_payload_max,
        .socket_buffer_bytes =
            (uint32_t)(config->udp_recv_buffer > config->udp_send_buffer ? config->udp_recv_buffer
                                                                         : config->udp_send_buffer),
        .bbr = config->congestion_control == FLX_CONFIG_BBR,
        .unacked_bytes_max = (uint32_t)config->cache_send_window,
        .alpn_required = config->tls_require_alpn,
        .connections_max = config->max_client_connections,
        .connections_per_source_max =
            config->max_connections_per_ip == 0 ? UINT32_MAX : config->max_connections_per_ip,
    };
}

/* The text was checked when it was loaded. */
static size_t bound_cpus(const flx_config *config, uint32_t cpus[FLX_CPU_MAX + 1])
{
    size_t count = 0;
    (void)flx_cpus_parse(config->worker_cpus, cpus, FLX_CPU_MAX + 1, &count, NULL);
    return count;
}

uint32_t flx_settings_workers(const flx_config *config)
{
    uint32_t cpus[FLX_CPU_MAX + 1];
    const size_t bound = bound_cpus(config, cpus);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const size_t wanted = config->workers > 0 ? config->workers
                          : bound > 0         ? bound
                          : online > 0        ? (size_t)online
                                              : 1;
    return wanted < FLX_WORKERS_MAX ? (uint32_t)wanted : FLX_WORKERS_MAX;
}

int flx_settings_cpu(const flx_config *config, uint32_t index)
{
    uint32_t cpus[FLX_CPU_MAX + 1];
    const size_t bound = bound_cpus(config, cpus);
    return bound > 0 ? (int)cpus[index % bound] : -1;
}

flx_status flx_settings_address(const char *text, bool any_port,
                                struct sockaddr_storage *ret_address, socklen_t *ret_len,
                                flx_error *reterr)
{
    char host[FLX_HOST_MAX];
    uint16_t port = 0;
    const flx_status status = flx_address_split(text, host, &port, reterr);
    if (status != FLX_OK) {
        return status;
    }
    const int failed =
        flx_sockaddr_lookup(host, any_port ? 0 : port, AI_PASSIVE, ret_address, ret_len);
    if (failed != 0) {
        return flx_fail(reterr, FLX_ERR_NOT_FOUND, "look up '%s': %s", host, gai_strerror(failed));
    }
    return FLX_OK;
}

void flx_settings_address_text(const struct sockaddr_storage *address, char *text, size_t cap)
{
    struct sockaddr_storage shown = *address;
    if (address->ss_family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&shown;
        if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) {
            in6->sin6_addr = in6addr_loopback;
        }
    } else {
        struct sockaddr_in *in4 = (struct sockaddr_in *)&shown;
        if (in4->sin_addr.s_addr == htonl(INADDR_ANY)) {
            in4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        }
    }
    flx_sockaddr_text((const struct sockaddr *)&shown, text, cap);
}
