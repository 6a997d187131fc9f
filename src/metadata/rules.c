/* SPDX-License-Identifier: Apache-2.0 */
/* metadata/rules.c - defaults, ranges and words of what the catalog holds. */
#include "metadata/rules.h"

#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const ack_names[] = {"accepted", "written", "synced", "quorum"};
static const char *const fsync_names[] = {"none", "periodic", "on_commit"};
static const char *const slow_names[] = {"lag", "drop_new", "drop_old", "block"};
static const char *const routing_names[] = {"modulo", "jump_hash"};

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool flx_name_is_valid(flx_slice name)
{
    if (name.len == 0 || name.len > FLX_NAME_MAX || !is_alnum(name.ptr[0])) {
        return false;
    }
    for (size_t i = 1; i < name.len; i++) {
        const uint8_t c = name.ptr[i];
        if (!is_alnum(c) && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

flx_status flx_name_check(const char *field, flx_slice name, flx_error *reterr)
{
    if (flx_name_is_valid(name)) {
        return FLX_OK;
    }
    return flx_fail(reterr, FLX_ERR_INVALID,
                    "%s: must be 1..%d of A-Z a-z 0-9 . _ - and begin with a letter or digit",
                    field, FLX_NAME_MAX);
}

flx_status flx_display_name_check(const char *display_name, flx_error *reterr)
{
    const size_t len = strlen(display_name);
    if (len > FLX_NAME_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "display_name: longer than %d bytes",
                        FLX_NAME_MAX);
    }
    for (size_t i = 0; i < len; i++) {
        const uint8_t c = (uint8_t)display_name[i];
        if (c < 0x20 || c == 0x7f) {
            return flx_fail(reterr, FLX_ERR_INVALID, "display_name: holds a control character");
        }
    }
    return FLX_OK;
}

static void copy_text(char *to, size_t size, const char *from)
{
    FLX_ASSERT(strlen(from) < size);
    (void)snprintf(to, size, "%s", from);
}

void flx_stream_info_init(flx_stream_info *info, const char *tenant, const char *namespace_,
                          const char *name)
{
    memset(info, 0, sizeof *info);
    copy_text(info->tenant, sizeof info->tenant, tenant);
    copy_text(info->namespace_, sizeof info->namespace_, namespace_);
    copy_text(info->name, sizeof info->name, name);
    info->shards = 1;
    info->routing = FLX_ROUTING_MODULO;
    info->slow_policy = FLX_SLOW_LAG;
    info->replication_factor = 1;
    copy_text(info->kind, sizeof info->kind, "Stream");
    copy_text(info->consistency, sizeof info->consistency, "Leader");
    copy_text(info->delivery, sizeof info->delivery, "AtLeastOnce");
}

void flx_cache_info_init(flx_cache_info *info, const char *tenant, const char *namespace_,
                         const char *name)
{
    memset(info, 0, sizeof *info);
    copy_text(info->tenant, sizeof info->tenant, tenant);
    copy_text(info->namespace_, sizeof info->namespace_, namespace_);
    copy_text(info->name, sizeof info->name, name);
    copy_text(info->display_name, sizeof info->display_name, name);
    info->shards = 1;
    info->replication_factor = 1;
    copy_text(info->consistency, sizeof info->consistency, "Leader");
}

static flx_status check_path(const char *tenant, const char *namespace_, const char *field,
                             const char *name, flx_error *reterr)
{
    flx_status status = flx_name_check("tenant_id", flx_slice_of(tenant), reterr);
    if (status == FLX_OK) {
        status = flx_name_check("namespace", flx_slice_of(namespace_), reterr);
    }
    return status == FLX_OK ? flx_name_check(field, flx_slice_of(name), reterr) : status;
}

static flx_status check_range(const char *field, uint32_t value, uint32_t max, flx_error *reterr)
{
    if (value >= 1 && value <= max) {
        return FLX_OK;
    }
    return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be 1..%u", field, max);
}

static flx_status check_word(const char *field, const char *value, const char *first,
                             const char *second, const char *third, flx_error *reterr)
{
    if (strcmp(value, first) == 0 || strcmp(value, second) == 0 ||
        (third != NULL && strcmp(value, third) == 0)) {
        return FLX_OK;
    }
    return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be %s%s%s or %s", field, first,
                    third == NULL ? "" : ", ", third == NULL ? "" : second,
                    third == NULL ? second : third);
}

static flx_status check_consistency(const char *consistency, const flx_abilities *abilities,
                                    flx_error *reterr)
{
    const flx_status status =
        check_word("consistency", consistency, "Leader", "Quorum", NULL, reterr);
    if (status == FLX_OK && abilities != NULL && !abilities->quorum &&
        strcmp(consistency, "Quorum") == 0) {
        return flx_fail(reterr, FLX_ERR_UNSUPPORTED,
                        "consistency: Quorum needs replicas, which this node does not have");
    }
    return status;
}

/* An ack never promises more than the storage can keep (README.md, rule 4). `what`: "stream". */
static flx_status check_ack(const char *what, const flx_promise *promise,
                            const flx_abilities *abilities, flx_error *reterr)
{
    if ((unsigned)promise->ack >= COUNT(ack_names)) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "ack: must be accepted, written, synced or quorum");
    }
    if (!promise->durable && promise->ack != FLX_ACK_ACCEPTED) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "ack: a %s that is not durable can only promise accepted", what);
    }
    if (promise->ack == FLX_ACK_QUORUM && abilities != NULL && !abilities->quorum) {
        return flx_fail(reterr, FLX_ERR_UNSUPPORTED,
                        "ack: quorum needs replicas, which this node does not have");
    }
    return FLX_OK;
}

/* `synced` waits for the device, so the device must be asked with every write; a disk nobody has
 * cannot be synced (README.md, rule 4). */
static flx_status check_fsync(const char *what, const flx_promise *promise, flx_error *reterr)
{
    if ((unsigned)promise->fsync >= COUNT(fsync_names)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "fsync: must be none, periodic or on_commit");
    }
    if (!promise->durable && promise->fsync != FLX_FSYNC_NONE) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "fsync: a %s that is not durable has nothing to sync", what);
    }
    if (promise->ack >= FLX_ACK_SYNCED && promise->fsync != FLX_FSYNC_ON_COMMIT) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "fsync: ack %s needs on_commit; with %s it can be written or accepted",
                        ack_names[promise->ack], fsync_names[promise->fsync]);
    }
    const bool is_periodic = promise->fsync == FLX_FSYNC_PERIODIC;
    if (is_periodic ? promise->fsync_ms < 1 || promise->fsync_ms > FLX_FSYNC_MS_MAX
                    : promise->fsync_ms != 0) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        is_periodic ? "fsync_interval_ms: must be 1..%u"
                                    : "fsync_interval_ms: only with fsync periodic",
                        FLX_FSYNC_MS_MAX);
    }
    return FLX_OK;
}

static flx_status check_promise(const char *what, const flx_promise *promise,
                                const flx_abilities *abilities, flx_error *reterr)
{
    if (promise->durable && abilities != NULL && !abilities->durable) {
        return flx_fail(reterr, FLX_ERR_UNSUPPORTED,
                        "durable: a durable %s needs a data directory, which this node does not "
                        "have",
                        what);
    }
    const flx_status status = check_ack(what, promise, abilities, reterr);
    return status == FLX_OK ? check_fsync(what, promise, reterr) : status;
}

/* Where the records live and how long: retention fits the store's signed integers. */
static flx_status check_place(const flx_stream_info *info, flx_error *reterr)
{
    if (info->retention_bytes > INT64_MAX || info->retention_age_s > INT64_MAX ||
        info->retention_records > INT64_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "retention: larger than a signed 64-bit integer");
    }
    return info->region[0] == '\0' ? FLX_OK
                                   : flx_name_check("region", flx_slice_of(info->region), reterr);
}

flx_status flx_stream_info_check(const flx_stream_info *info, const flx_abilities *abilities,
                                 flx_error *reterr)
{
    flx_status status = check_path(info->tenant, info->namespace_, "stream", info->name, reterr);
    if (status == FLX_OK) {
        status = check_range("shards", info->shards, FLX_SHARDS_MAX, reterr);
    }
    if (status == FLX_OK) {
        status = check_range("replication_factor", info->replication_factor,
                             FLX_REPLICATION_FACTOR_MAX, reterr);
    }
    if (status == FLX_OK) {
        status = check_word("kind", info->kind, "Stream", "Queue", "Cache", reterr);
    }
    if (status == FLX_OK) {
        status = check_word("delivery", info->delivery, "AtMostOnce", "AtLeastOnce", NULL, reterr);
    }
    if (status == FLX_OK && (unsigned)info->routing >= COUNT(routing_names)) {
        status = flx_fail(reterr, FLX_ERR_INVALID, "routing: must be modulo or jump_hash");
    }
    if (status == FLX_OK && (unsigned)info->slow_policy >= COUNT(slow_names)) {
        status = flx_fail(reterr, FLX_ERR_INVALID,
                          "slow_policy: must be lag, drop_new, drop_old or block");
    }
    if (status == FLX_OK) {
        status = check_consistency(info->consistency, abilities, reterr);
    }
    if (status == FLX_OK) {
        status = check_promise("stream", &info->promise, abilities, reterr);
    }
    return status == FLX_OK ? check_place(info, reterr) : status;
}

flx_status flx_cache_info_check(const flx_cache_info *info, const flx_abilities *abilities,
                                flx_error *reterr)
{
    flx_status status = check_path(info->tenant, info->namespace_, "cache", info->name, reterr);
    if (status == FLX_OK) {
        status = check_range("shards", info->shards, FLX_SHARDS_MAX, reterr);
    }
    if (status == FLX_OK) {
        status = check_range("replication_factor", info->replication_factor,
                             FLX_REPLICATION_FACTOR_MAX, reterr);
    }
    if (status == FLX_OK) {
        status = flx_display_name_check(info->display_name, reterr);
    }
    if (status == FLX_OK) {
        status = check_consistency(info->consistency, abilities, reterr);
    }
    return status == FLX_OK ? check_promise("cache", &info->promise, abilities, reterr) : status;
}

static bool path_equal(const char *const a[3], const char *const b[3])
{
    return strcmp(a[0], b[0]) == 0 && strcmp(a[1], b[1]) == 0 && strcmp(a[2], b[2]) == 0;
}

static bool promise_equal(const flx_promise *a, const flx_promise *b)
{
    return a->durable == b->durable && a->ack == b->ack && a->fsync == b->fsync &&
           a->fsync_ms == b->fsync_ms;
}

bool flx_stream_info_equal(const flx_stream_info *a, const flx_stream_info *b)
{
    return path_equal((const char *const[]){a->tenant, a->namespace_, a->name},
                      (const char *const[]){b->tenant, b->namespace_, b->name}) &&
           path_equal((const char *const[]){a->kind, a->consistency, a->delivery},
                      (const char *const[]){b->kind, b->consistency, b->delivery}) &&
           strcmp(a->region, b->region) == 0 && a->shards == b->shards &&
           a->routing == b->routing && a->slow_policy == b->slow_policy &&
           promise_equal(&a->promise, &b->promise) && a->retention_bytes == b->retention_bytes &&
           a->retention_age_s == b->retention_age_s &&
           a->retention_records == b->retention_records &&
           a->replication_factor == b->replication_factor;
}

bool flx_cache_info_equal(const flx_cache_info *a, const flx_cache_info *b)
{
    return path_equal((const char *const[]){a->tenant, a->namespace_, a->name},
                      (const char *const[]){b->tenant, b->namespace_, b->name}) &&
           strcmp(a->display_name, b->display_name) == 0 &&
           strcmp(a->consistency, b->consistency) == 0 && a->shards == b->shards &&
           promise_equal(&a->promise, &b->promise) &&
           a->replication_factor == b->replication_factor;
}

flx_ack_rule flx_ack_rule_default(bool durable, bool quorum)
{
    if (!durable) {
        return FLX_ACK_ACCEPTED;
    }
    return quorum ? FLX_ACK_QUORUM : FLX_ACK_SYNCED;
}

flx_fsync_rule flx_fsync_rule_default(bool durable, flx_ack_rule ack)
{
    if (!durable) {
        return FLX_FSYNC_NONE;
    }
    return ack >= FLX_ACK_SYNCED ? FLX_FSYNC_ON_COMMIT : FLX_FSYNC_PERIODIC;
}

flx_promise flx_promise_durable(flx_ack_rule ack)
{
    const flx_fsync_rule fsync = flx_fsync_rule_default(true, ack);
    return (flx_promise){true, ack, fsync, fsync == FLX_FSYNC_PERIODIC ? FLX_FSYNC_MS_DEFAULT : 0};
}

/* flx_ack_rule_name and flx_ack_rule_from_name, and so on: a value is the place of its word. */
#define WORDS(type, names)                                                                         \
    const char *type##_name(type value)                                                            \
    {                                                                                              \
        return (unsigned)value < COUNT(names) ? (names)[value] : NULL;                             \
    }                                                                                              \
    bool type##_from_name(flx_slice word, type *ret_value)                                         \
    {                                                                                              \
        for (unsigned i = 0; i < COUNT(names); i++) {                                              \
            if (flx_slice_is(word, (names)[i])) {                                                  \
                *ret_value = (type)i;                                                              \
                return true;                                                                       \
            }                                                                                      \
        }                                                                                          \
        return false;                                                                              \
    }

WORDS(flx_ack_rule, ack_names)
WORDS(flx_fsync_rule, fsync_names)
WORDS(flx_slow_policy, slow_names)
WORDS(flx_routing, routing_names)
