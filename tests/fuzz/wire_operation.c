/* SPDX-License-Identifier: Apache-2.0 */
/* Operation frames: what decodes encodes to the same bytes. Input: 0 for requests, anything else for
 * answers; then the payload. */
#include "common/assert.h"
#include "wire/operation.h"

#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void repeat(const flx_operation_head *head, bool is_request)
{
    flx_operation operation;
    flx_operation_answer answer;
    const flx_status status = is_request ? flx_operation_decode(head, &operation, NULL)
                                         : flx_operation_answer_decode(head, &answer, NULL);
    FLX_ASSERT(status == FLX_OK || status == FLX_ERR_PROTOCOL || status == FLX_ERR_UNSUPPORTED);
    FLX_ASSERT(status != FLX_ERR_UNSUPPORTED || flx_opcode_name(head->opcode) == NULL);
    if (status != FLX_OK) {
        return;
    }
    const size_t len = FLX_OPERATION_HEAD_BYTES + head->body.len;
    FLX_ASSERT((is_request ? flx_operation_bytes(&operation)
                           : flx_operation_answer_bytes(&answer)) == len);
    uint8_t *out = malloc(len);
    FLX_ASSERT(out != NULL);
    const uint8_t *end = is_request ? flx_operation_encode(&operation, out)
                                    : flx_operation_answer_encode(&answer, out);
    FLX_ASSERT(end == out + len);
    FLX_ASSERT(memcmp(out, head->body.ptr - FLX_OPERATION_HEAD_BYTES, len) == 0);
    free(out);
    flx_group_record record;
    flx_slice records = answer.records;
    while (!is_request && head->status == 0 && head->opcode == FLX_OPCODE_GROUP_POLL &&
           flx_group_record_next(&records, &record)) {
        FLX_ASSERT(flx_group_record_bytes(&record) <= answer.records.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t count;
    if (size < 1) {
        return 0;
    }
    flx_slice payload = {data + 1, size - 1};
    if (flx_operations_check(payload, COUNT_MAX, &count, NULL) != FLX_OK) {
        return 0;
    }
    flx_operation_head head;
    uint32_t seen = 0;
    for (; flx_operations_next(&payload, &head); seen++) {
        repeat(&head, data[0] == 0);
    }
    FLX_ASSERT(seen == count && count > 0);
    return 0;
}
