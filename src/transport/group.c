/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the endpoints of one server port share: the options, the persistent secret, and the counts
 * behind the connection caps. Counts per source live in a small table under a lock that is taken
 * when a connection comes or goes and never for a packet.
 */
#include "common/alloc.h"
#include "common/error.h"
#include "transport/quic_int.h"

#include <string.h>
#include <xxhash.h>

#define SOURCES_FIRST 64

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

flx_quic_options flx_quic_options_resolve(const flx_quic_options *options)
{
    flx_quic_options o = {0};
    if (options != NULL)
        o = *options;
    o.idle_timeout_ms = or_default(o.idle_timeout_ms, 30000);
    o.keepalive_ms = or_default(o.keepalive_ms, 5000);
    o.handshake_timeout_ms = or_default(o.handshake_timeout_ms, 10000);
    o.conn_window_bytes = o.conn_window_bytes != 0 ? o.conn_window_bytes : UINT64_C(16) << 20;
    o.stream_window_bytes = o.stream_window_bytes != 0 ? o.stream_window_bytes : UINT64_C(16) << 20;
    o.streams_bidi = or_default(o.streams_bidi, 1024);
    o.streams_uni = or_default(o.streams_uni, 1024);
    o.socket_buffer_bytes = or_default(o.socket_buffer_bytes, 8 << 20);
    o.unacked_bytes_max = or_default(o.unacked_bytes_max, 256 << 20);
    o.alpn = o.alpn != NULL ? o.alpn : FLX_QUIC_ALPN;
    o.connections_max = or_default(o.connections_max, 8192);
    o.connections_per_source_max = or_default(o.connections_per_source_max, 512);
    o.retry_above = or_default(o.retry_above, 512);
    return o;
}

static flx_status options_check(const flx_quic_options *o, flx_error *reterr)
{
    if (o->udp_payload_max != 0 && (o->udp_payload_max < 1200 || o->udp_payload_max > 65000))
        return flx_fail(reterr, FLX_ERR_INVALID, "UDP payload of %u bytes is not in 1200..65000",
                        o->udp_payload_max);
    if (strlen(o->alpn) == 0 || strlen(o->alpn) > 255)
        return flx_fail(reterr, FLX_ERR_INVALID, "an ALPN id has 1..255 bytes");
    return FLX_OK;
}

flx_status flx_quic_group_new(uint32_t count, const uint8_t secret[32],
                              const flx_quic_options *options, flx_quic_group **ret_group,
                              flx_error *reterr)
{
    if (count < 1 || count > FLX_QUIC_WORKERS_MAX)
        return flx_fail(reterr, FLX_ERR_INVALID, "%u endpoints are not in 1..%d", count,
                        FLX_QUIC_WORKERS_MAX);
    const flx_quic_options resolved = flx_quic_options_resolve(options);
    const flx_status status = options_check(&resolved, reterr);
    if (status != FLX_OK)
        return status;

    flx_quic_group *group = flx_calloc(1, sizeof *group);
    if (group == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for an endpoint group");
    group->count = count;
    group->options = resolved;
    memcpy(group->secret, secret, sizeof group->secret);
    (void)pthread_mutex_init(&group->lock, NULL);
    *ret_group = group;
    return FLX_OK;
}

flx_quic_group *flx_quic_group_free(flx_quic_group *group)
{
    if (group == NULL)
        return NULL;
    FLX_ASSERT(atomic_load(&group->endpoints) == 0);
    (void)pthread_mutex_destroy(&group->lock);
    flx_free(group->sources);
    explicit_bzero(group->secret, sizeof group->secret);
    flx_free(group);
    return NULL;
}

void flx_source_of(const struct sockaddr *address, uint8_t ret_source[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memset(ret_source, 0, 16);
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        memcpy(ret_source, mapped, sizeof mapped);
        memcpy(ret_source + 12, &in.sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        memcpy(ret_source, &in6.sin6_addr, 16);
    }
}

/* --- counts per source: open addressing, as cidmap.c ---------------------------------------- */

static uint32_t home_of(const flx_quic_group *group, const uint8_t source[16])
{
    uint64_t seed;
    memcpy(&seed, group->secret, sizeof seed);
    return (uint32_t)XXH3_64bits_withSeed(source, 16, seed) & (group->sources_cap - 1);
}

static uint32_t find(const flx_quic_group *group, const uint8_t source[16])
{
    uint32_t i = home_of(group, source);
    while (group->sources[i].count != 0 && memcmp(group->sources[i].source, source, 16) != 0)
        i = (i + 1) & (group->sources_cap - 1);
    return i;
}

static bool grow(flx_quic_group *group)
{
    source_count *old = group->sources;
    const uint32_t old_cap = group->sources_cap;
    const uint32_t cap = old_cap == 0 ? SOURCES_FIRST : old_cap * 2;
    source_count *wider = flx_calloc(cap, sizeof *wider);
    if (wider == NULL)
        return false;
    group->sources = wider;
    group->sources_cap = cap;
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i].count != 0)
            wider[find(group, old[i].source)] = old[i];
    flx_free(old);
    return true;
}

static admission source_enter(flx_quic_group *group, const uint8_t source[16])
{
    if ((group->sources_count + 1) * 3 > group->sources_cap * 2 && !grow(group))
        return ADMIT_NOMEM;
    source_count *slot = &group->sources[find(group, source)];
    if (slot->count >= group->options.connections_per_source_max)
        return ADMIT_SOURCE;
    if (slot->count == 0) {
        memcpy(slot->source, source, 16);
        group->sources_count++;
    }
    slot->count++;
    return ADMIT_OK;
}

static void source_leave(flx_quic_group *group, const uint8_t source[16])
{
    const uint32_t mask = group->sources_cap - 1;
    uint32_t hole = find(group, source);
    FLX_ASSERT(group->sources[hole].count > 0);
    if (--group->sources[hole].count > 0)
        return;
    for (uint32_t i = (hole + 1) & mask; group->sources[i].count != 0; i = (i + 1) & mask) {
        const uint32_t home = home_of(group, group->sources[i].source);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        group->sources[hole] = group->sources[i];
        hole = i;
    }
    group->sources[hole].count = 0;
    group->sources_count--;
}

admission flx_group_admit(flx_quic_group *group, const uint8_t source[16])
{
    /* Added first and taken back when it is one too many, so that workers cannot pass together. */
    if (atomic_fetch_add(&group->connections, 1) >= group->options.connections_max) {
        (void)atomic_fetch_sub(&group->connections, 1);
        return ADMIT_TOTAL;
    }
    (void)pthread_mutex_lock(&group->lock);
    const admission verdict = source_enter(group, source);
    (void)pthread_mutex_unlock(&group->lock);
    if (verdict != ADMIT_OK)
        (void)atomic_fetch_sub(&group->connections, 1);
    return verdict;
}

void flx_group_leave(flx_quic_group *group, const uint8_t source[16])
{
    (void)pthread_mutex_lock(&group->lock);
    source_leave(group, source);
    (void)pthread_mutex_unlock(&group->lock);
    (void)atomic_fetch_sub(&group->connections, 1);
}
