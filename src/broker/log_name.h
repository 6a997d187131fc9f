/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/log_name.h - what the log of a shard is called: on the disk, and to people.
 *
 * A name people find again, and no other stream or cache ever has: ids are not used twice, and should a
 * catalog be lost and begin anew, the hash of the path differs. Pure; any thread.
 */
#ifndef FLX_BROKER_LOG_NAME_H
#define FLX_BROKER_LOG_NAME_H

#include "storage/store.h"

typedef struct flx_log_subject {
    bool is_cache;
    uint32_t id; /* of the stream or cache in the catalog */
    const char *tenant;
    const char *namespace_;
    const char *name;
} flx_log_subject;

typedef struct flx_log_named {
    char name[FLX_LOG_NAME_MAX + 1];     /* "orders-7-0-1a2b3c4d", of a cache "settings-c3-0-..." */
    char label[FLX_LOG_STATE_LABEL_MAX]; /* "t1/default/orders/0", "cache:t1/default/settings/0" */
} flx_log_named;

void flx_log_name(const flx_log_subject *subject, uint32_t shard, flx_log_named *ret_named);

#endif /* FLX_BROKER_LOG_NAME_H */
