/* SPDX-License-Identifier: Apache-2.0 */
/* broker/admission_int.h - may it come in: budgets, quotas of tenants, known addresses. */
#ifndef FLX_BROKER_ADMISSION_INT_H
#define FLX_BROKER_ADMISSION_INT_H

#include "broker/worker.h"

typedef struct flx_publish_request flx_publish_request;

typedef struct flx_bucket { /* tenant quota */
    char tenant[FLX_NAME_MAX + 1];
    int64_t bytes; /* may go below 0: debt */
    int64_t records;
    uint64_t filled_ns;
} flx_bucket;

typedef struct flx_source {
    uint8_t address[16];
    uint32_t connections; /* authenticated ones, here */
    uint32_t elsewhere;   /* workers that have some */
} flx_source;

/* FLX_CODE_NONE: admitted. Otherwise the code, with reason and wait. */
flx_code flx_admit(flx_lane *lane, const flx_publish_request *request, const char **ret_reason,
                   uint32_t *ret_retry_after_ms);
void flx_admit_charge(flx_lane *lane, uint32_t bytes);
void flx_admit_release(flx_lane *lane, uint32_t bytes);
void flx_source_change(flx_worker *worker, const uint8_t source[16], bool elsewhere, bool gained);
bool flx_source_is_known(const flx_worker *worker, const uint8_t source[16]);

#endif /* FLX_BROKER_ADMISSION_INT_H */
