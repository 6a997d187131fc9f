/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/broker_harness.c - see the header. */
#include "authz/issuer.h"
#include "authz/token.h"
#include "broker_harness_int.h"
#include "common/alloc.h"
#include "crypto/jwks.h"
#include "crypto/key.h"
#include "metadata/catalog_builder.h"
#include "metadata/rules.h"

static flx_status add_stream(flx_catalog_builder *builder, uint32_t id, const char *name,
                             uint32_t shards, flx_slow_policy policy)
{
    flx_stream_info info;
    flx_stream_info_init(&info, "t1", "default", name);
    info.id = id;
    info.shards = shards;
    info.slow_policy = policy;
    return flx_catalog_builder_stream(builder, &info, NULL);
}

typedef struct durable_row {
    const char *name;
    uint32_t shards;
    flx_ack_rule ack;
    flx_slow_policy policy;
    uint64_t retain_records;
} durable_row;

static bool add_durable(flx_catalog_builder *builder, uint32_t first_id, const hx_policy *policy)
{
    static const durable_row rows[] = {
        {"logged", 1, FLX_ACK_SYNCED, FLX_SLOW_LAG, 0},
        {"logged4", 4, FLX_ACK_SYNCED, FLX_SLOW_LAG, 0},
        {"written", 1, FLX_ACK_WRITTEN, FLX_SLOW_LAG, 0},
        {"accepted", 1, FLX_ACK_ACCEPTED, FLX_SLOW_LAG, 0},
        {"kept", 1, FLX_ACK_SYNCED, FLX_SLOW_BLOCK, 0},
        {"bounded", 1, FLX_ACK_SYNCED, FLX_SLOW_LAG, 40},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        flx_stream_info info;
        flx_stream_info_init(&info, "t1", "default", rows[i].name);
        info.id = first_id + (uint32_t)i;
        info.shards = rows[i].shards;
        info.slow_policy = rows[i].policy;
        info.promise = flx_promise_durable(rows[i].ack);
        info.retention_records = rows[i].retain_records;
        if (policy->stream != NULL && strcmp(policy->stream, rows[i].name) == 0) {
            info.promise.ack = policy->ack;
            info.promise.fsync = policy->fsync;
            info.promise.fsync_ms = policy->fsync_ms;
            info.retention_records = policy->retain_records;
            HX_MUST(flx_stream_info_check(&info, &(flx_abilities){.durable = true}, NULL) ==
                    FLX_OK);
        }
        if (flx_catalog_builder_stream(builder, &info, NULL) != FLX_OK) {
            return false;
        }
    }
    return true;
}

static flx_status add_cache(flx_catalog_builder *builder, uint32_t id, const char *name,
                            uint32_t shards, flx_promise promise)
{
    flx_cache_info info;
    flx_cache_info_init(&info, "t1", "default", name);
    info.id = id;
    info.shards = shards;
    info.promise = promise;
    return flx_catalog_builder_cache(builder, &info, NULL);
}

static flx_catalog *catalog_new(hx *h, bool with_demo)
{
    const flx_promise none = {0};
    const flx_promise synced = flx_promise_durable(FLX_ACK_SYNCED);
    flx_catalog *catalog = NULL;
    flx_catalog_builder *builder = flx_catalog_builder_new();
    bool ok = builder != NULL;
    ok = ok && (!with_demo || add_stream(builder, 1, "demo", 1, FLX_SLOW_LAG) == FLX_OK);
    ok = ok && add_stream(builder, 2, "wide", 4, FLX_SLOW_LAG) == FLX_OK;
    ok = ok && add_stream(builder, 3, "newest", 1, FLX_SLOW_DROP_NEW) == FLX_OK;
    ok = ok && add_stream(builder, 4, "oldest", 1, FLX_SLOW_DROP_OLD) == FLX_OK;
    ok = ok && add_stream(builder, 5, "wait", 1, FLX_SLOW_BLOCK) == FLX_OK;
    ok = ok && (h->options.disk == NULL || add_durable(builder, h->durable_ids, &h->policy));
    ok = ok && (!with_demo || add_cache(builder, 1, "primary", 1, none) == FLX_OK);
    ok = ok && add_cache(builder, 2, "cached", 4, none) == FLX_OK;
    if (h->options.disk != NULL) {
        const flx_promise *asked = &h->options.cache_promise;
        ok = ok && add_cache(builder, h->durable_ids, "safe", 1,
                             asked->durable ? *asked : synced) == FLX_OK;
        ok = ok && add_cache(builder, h->durable_ids + 1, "safe4", 4, synced) == FLX_OK;
    }
    ok = ok && flx_catalog_builder_finish(builder, ++h->version, &catalog, NULL) == FLX_OK;
    flx_catalog_builder_free(builder);
    return ok ? catalog : NULL;
}

static char *mint(const flx_signing_key *key, const char *tenant, const char *const *perms,
                  size_t count, uint64_t wall_s)
{
    flx_secret secret = {0};
    const flx_token_claims claims = {.tenant = tenant,
                                     .subject = "somebody",
                                     .perms = perms,
                                     .perm_count = count,
                                     .ttl_s = 86400};
    if (flx_issuer_mint(key, &claims, wall_s, &secret, NULL) != FLX_OK) {
        return NULL;
    }
    char *text = hx_alloc(secret.len + 1);
    memcpy(text, secret.bytes, secret.len);
    flx_secret_done(&secret);
    return text;
}

static bool tokens_new(hx *h)
{
    static const char *const all[] = {"stream.publish:stream:t1/*/*",
                                      "stream.subscribe:stream:t1/*/*", "cache.read:cache:t1/*/*",
                                      "cache.write:cache:t1/*/*"};
    static const char *const bare[] = {"stream.publish:stream:t1/default/elsewhere"};
    static const char *const other[] = {"stream.publish:stream:t2/*/*",
                                        "stream.subscribe:stream:t2/*/*"};
    static const uint8_t seed[32] = {7, 7, 7};
    flx_signing_key *key = NULL;
    char *jwks = NULL;
    if (flx_signing_key_from_seed((flx_slice){seed, sizeof seed}, &key, NULL) != FLX_OK) {
        return false;
    }
    flx_public_key *keys[1] = {flx_signing_key_public(key)};
    const uint64_t wall_s = h->wall_us / 1000000;
    bool ok = flx_jwks_encode(keys, 1, &jwks, NULL) == FLX_OK &&
              flx_keyset_parse_jwks(NULL, flx_slice_of(jwks), &h->keyset, NULL) == FLX_OK;
    flx_free(jwks);
    ok = ok && (h->tokens[0] = mint(key, "t1", all, 4, wall_s)) != NULL &&
         (h->tokens[1] = mint(key, "t1", bare, 1, wall_s)) != NULL &&
         (h->tokens[2] = mint(key, "t2", other, 2, wall_s)) != NULL;
    flx_signing_key_unref(key);
    return ok;
}

static void on_news(void *arg, const flx_log_news *news)
{
    static const char *const words[] = {"opened", "damaged", "full",    "room",
                                        "failed", "unread",  "removed", "left"};
    hx *h = arg;
    const size_t len = strlen(h->news);
    (void)snprintf(h->news + len, sizeof h->news - len, "%s %s\n", words[news->kind], news->label);
}

static bool worker_new(hx *h, uint32_t index)
{
    const flx_verifier_options verifier = {
        .issuer = FLX_TOKEN_ISSUER, .audience = FLX_TOKEN_AUDIENCE_BROKER, .leeway_s = 60};
    hx_mailbox *box = &h->boxes[index];
    box->cap = h->options.mailbox == 0 ? 1024 : h->options.mailbox;
    box->mails = hx_alloc(box->cap * sizeof *box->mails);
    if (flx_verifier_new(&verifier, h->keyset, &h->verifiers[index], NULL) != FLX_OK) {
        return false;
    }
    if (h->logs != NULL && flx_io_manual_new(&h->io[index], NULL) != FLX_OK) {
        return false;
    }
    const flx_worker_options options = {
        .index = index,
        .count = h->count,
        .link = hx_link_ops,
        .post = hx_post,
        .post_arg = h,
        .verifier = h->verifiers[index],
        .seats = h->seats,
        .catalog = h->catalog,
        .seed = 42,
        .listener_ports = h->options.listener_ports,
        .listener_port_count = h->options.listener_port_count,
        .record_publishers = h->options.record_publishers,
        .limits = h->options.limits,
        .logs = h->logs,
        .io = h->io[index],
        .log_news = on_news,
        .log_news_arg = h,
    };
    if (flx_worker_new(&options, &h->workers[index], NULL) != FLX_OK) {
        return false;
    }
    flx_worker_clock(h->workers[index], h->now_ns, h->wall_us);
    return true;
}

hx *hx_new(const hx_options *options)
{
    hx *h = hx_alloc(sizeof *h);
    h->options = *options;
    h->count = options->workers == 0 ? 1 : options->workers;
    h->now_ns = UINT64_C(1000000000);
    h->wall_us = UINT64_C(1700000000000000) + options->wall_ms * 1000;
    h->durable_ids = 10;
    (void)flx_seats_new(&h->seats, NULL);
    bool ok = tokens_new(h) && (h->catalog = catalog_new(h, true)) != NULL;
    ok = ok && (options->disk == NULL || flx_store_open(options->disk, FLX_STORE_CREATE, h->wall_us,
                                                        &h->logs, NULL) == FLX_OK);
    for (uint32_t i = 0; ok && i < h->count; i++) {
        ok = worker_new(h, i);
    }
    if (!ok) {
        hx_free(h);
        return NULL;
    }
    return h;
}

void hx_disconnect(hx_conn *conn)
{
    if (conn->dead) {
        return;
    }
    for (hx_stream *s = conn->streams; s != NULL; s = s->next) {
        hx_stream_close(s);
    }
    conn->dead = true;
    flx_worker_conn_closed(conn->h->workers[conn->worker], conn->peer);
}

void hx_free(hx *h)
{
    for (hx_conn *conn = h->conns; conn != NULL;) {
        hx_conn *next = conn->next;
        hx_disconnect(conn);
        for (hx_stream *s = conn->streams; s != NULL;) {
            hx_stream *after = s->next;
            free(s->out);
            free(s->frame);
            free(s->event_frame);
            free(s);
            s = after;
        }
        free(conn);
        conn = next;
    }
    for (uint32_t i = 0; i < h->count; i++) {
        hx_mailbox *box = &h->boxes[i];
        for (; box->mails != NULL && box->head != box->tail; box->head++) {
            flx_worker_mail_discard(box->mails[box->head % box->cap]);
        }
    }
    for (uint32_t i = 0; i < h->count; i++) {
        hx_mailbox *box = &h->boxes[i];
        flx_worker_free(h->workers[i]);
        for (; box->mails != NULL && box->head != box->tail; box->head++) {
            flx_worker_mail_discard(box->mails[box->head % box->cap]);
        }
        flx_verifier_free(h->verifiers[i]);
    }
    for (uint32_t i = 0; i < h->count; i++) {
        free(h->boxes[i].mails);
        flx_io_free(h->io[i]);
    }
    flx_store_free(h->logs);
    h->seats = flx_seats_free(h->seats);
    flx_keyset_unref(h->keyset);
    flx_catalog_unref(h->catalog);
    for (size_t i = 0; i < 3; i++) {
        free(h->tokens[i]);
    }
    free(h);
}

flx_worker *hx_worker(hx *h, uint32_t index)
{
    return h->workers[index];
}

const char *hx_token(const hx *h)
{
    return h->tokens[0];
}

const char *hx_token_bare(const hx *h)
{
    return h->tokens[1];
}

const char *hx_token_other(const hx *h)
{
    return h->tokens[2];
}

void hx_set_catalog(hx *h, bool with_demo)
{
    flx_catalog *catalog = catalog_new(h, with_demo);
    HX_MUST(catalog != NULL);
    for (uint32_t i = 0; i < h->count; i++) {
        flx_worker_set_catalog(h->workers[i], catalog);
    }
    flx_catalog_unref(h->catalog);
    h->catalog = catalog;
}

void hx_renew_durable(hx *h)
{
    h->durable_ids += 100;
    hx_set_catalog(h, true);
}

void hx_set_policy(hx *h, const hx_policy *policy)
{
    h->policy = *policy;
    hx_set_catalog(h, true);
}

void hx_set_cache_promise(hx *h, const flx_promise *promise)
{
    h->options.cache_promise = *promise;
    hx_set_catalog(h, true);
}

const char *hx_log_news(hx *h)
{
    memcpy(h->news_read, h->news, sizeof h->news);
    h->news[0] = '\0';
    return h->news_read;
}

bool hx_io(hx *h, uint32_t worker, size_t index)
{
    return h->io[worker] != NULL && flx_io_manual_step(h->io[worker], index);
}

size_t hx_io_waiting(const hx *h, uint32_t worker)
{
    return h->io[worker] == NULL ? 0 : flx_io_in_flight(h->io[worker]);
}
