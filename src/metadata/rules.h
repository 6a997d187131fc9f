/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/rules.h - what a name, a stream and a cache may be: defaults, ranges, words. Pure.
 *
 * Every check answers FLX_ERR_INVALID (FLX_ERR_UNSUPPORTED for what is right but not offered yet)
 * with a message that begins with the field's name as the REST API spells it: "shards: ...".
 */
#ifndef FLX_METADATA_RULES_H
#define FLX_METADATA_RULES_H

#include "metadata/catalog.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

#define FLX_SHARDS_MAX             1024U
#define FLX_REPLICATION_FACTOR_MAX 16U
#define FLX_FSYNC_MS_MAX           3600000U
#define FLX_FSYNC_MS_DEFAULT       250U

/* What this node is able to offer beyond streams in memory. */
typedef struct flx_abilities {
    bool durable; /* there is a log: durable streams may be created */
    bool quorum;  /* there are replicas: ack `quorum` and consistency `Quorum` mean something */
} flx_abilities;

/* A stream or cache of one shard with every default set and `id` 0. Names longer than FLX_NAME_MAX
 * are a bug of the caller: foreign ones go through flx_name_check first. */
void flx_stream_info_init(flx_stream_info *info, const char *tenant, const char *namespace_,
                          const char *name);
void flx_cache_info_init(flx_cache_info *info, const char *tenant, const char *namespace_,
                         const char *name);

/* Whether such a stream or cache may exist. `abilities` NULL: everything is offered. */
flx_status flx_stream_info_check(const flx_stream_info *info, const flx_abilities *abilities,
                                 flx_error *reterr);
flx_status flx_cache_info_check(const flx_cache_info *info, const flx_abilities *abilities,
                                flx_error *reterr);

/* Equal in everything an administrator can say, that is in all but `id`. */
bool flx_stream_info_equal(const flx_stream_info *a, const flx_stream_info *b);
bool flx_cache_info_equal(const flx_cache_info *a, const flx_cache_info *b);

/* FLX_ERR_INVALID "field: ..." unless `name` is a valid name. */
flx_status flx_name_check(const char *field, flx_slice name, flx_error *reterr);

/* FLX_ERR_INVALID "display_name: ..." unless it is 0..FLX_NAME_MAX bytes without control characters. */
flx_status flx_display_name_check(const char *display_name, flx_error *reterr);

/* What `ack` is when nobody said: the strongest promise the storage can keep. */
flx_ack_rule flx_ack_rule_default(bool durable, bool quorum);

/* What `fsync` is when nobody said: enough for the ack, and no more than it needs. */
flx_fsync_rule flx_fsync_rule_default(bool durable, flx_ack_rule ack);

/* The promise of one that is durable when only its ack is said. */
flx_promise flx_promise_durable(flx_ack_rule ack);

/* "accepted", "lag", "jump_hash"; and back, false for a word that is none. */
const char *flx_ack_rule_name(flx_ack_rule value);
bool flx_ack_rule_from_name(flx_slice word, flx_ack_rule *ret_value);
const char *flx_fsync_rule_name(flx_fsync_rule value);
bool flx_fsync_rule_from_name(flx_slice word, flx_fsync_rule *ret_value);
const char *flx_slow_policy_name(flx_slow_policy value);
bool flx_slow_policy_from_name(flx_slice word, flx_slow_policy *ret_value);
const char *flx_routing_name(flx_routing value);
bool flx_routing_from_name(flx_slice word, flx_routing *ret_value);

#endif /* FLX_METADATA_RULES_H */
