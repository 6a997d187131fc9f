/* SPDX-License-Identifier: Apache-2.0 */
/* A client of operation frames: operations into one frame, answers by id. */
#ifndef FLX_TESTS_OPERATIONS_RIG_H
#define FLX_TESTS_OPERATIONS_RIG_H

#include "broker_harness.h"
#include "unit.h"
#include "wire/flags.h"
#include "wire/operation.h"

#include <string.h>

#define ALL_FEATURES UINT32_C(0xffffffff)
#define HI           FLX_FEATURE_HI_OPERATIONS
#define OPS          FLX_FLAG_OPERATIONS
#define FRAME_MAX    ((size_t)1 << 20)

static uint8_t request[FRAME_MAX];
static size_t request_len;

static inline void add(const flx_operation *operation)
{
    assert_true(request_len + flx_operation_bytes(operation) <= sizeof request);
    request_len = (size_t)(flx_operation_encode(operation, request + request_len) - request);
}

static inline void send_added(hx_stream *s)
{
    hx_frame(s, OPS, request, request_len);
    request_len = 0;
}

static inline void add_open(uint16_t handle, uint8_t kind, const char *tenant, const char *name)
{
    add(&(flx_operation){.opcode = FLX_OPCODE_OPEN,
                         .handle = handle,
                         .id = 1000U + handle,
                         .kind = kind,
                         .tenant = slice_of(tenant),
                         .namespace_ = slice_of("default"),
                         .name = slice_of(name)});
}

static inline void add_get(uint16_t handle, uint32_t id, const char *key)
{
    add(&(flx_operation){
        .opcode = FLX_OPCODE_CACHE_GET, .handle = handle, .id = id, .key = slice_of(key)});
}

static inline void add_put(uint16_t handle, uint32_t id, const char *key, flx_slice value)
{
    add(&(flx_operation){.opcode = FLX_OPCODE_CACHE_PUT,
                         .handle = handle,
                         .id = id,
                         .key = slice_of(key),
                         .value = value});
}

/* Answers by id: what came of them, copied. */
typedef struct got {
    bool came;
    uint8_t flags;
    uint16_t status;
    uint8_t retry;
    uint64_t version;
    uint32_t shards;
    uint16_t workers, worker;
    size_t value_len;
    uint8_t value[64]; /* the beginning of it */
} got;
#define IDS 4096
static got answers[IDS];
static uint32_t answer_frames;

static inline void keep_answer(const flx_operation_head *head)
{
    flx_operation_answer answer;
    memset(&answer, 0, sizeof answer);
    assert_int_equal(flx_operation_answer_decode(head, &answer, NULL), FLX_OK);
    assert_in_range(answer.id, 0, IDS - 1);
    got *it = &answers[answer.id];
    assert_false(it->came); /* exactly one each */
    *it = (got){.came = true,
                .flags = answer.flags,
                .status = answer.status,
                .retry = answer.retry,
                .version = answer.version,
                .shards = answer.shards,
                .workers = answer.workers,
                .worker = answer.worker,
                .value_len = answer.value.len};
    const size_t len = answer.value.len < sizeof it->value ? answer.value.len : sizeof it->value;
    memcpy(it->value, answer.value.ptr == NULL ? it->value : answer.value.ptr, len);
}

/* Reads all frames that are there; returns how many operations were answered. */
static inline uint32_t read_answers(hx_stream *s)
{
    uint32_t count = 0;
    for (hx_got frame = hx_read(s); frame.is_frame; frame = hx_read(s)) {
        flx_slice rest = {frame.payload, frame.len};
        flx_operation_head head;
        uint32_t in_frame;
        assert_int_equal(frame.flags, OPS);
        assert_int_equal(flx_operations_check(rest, IDS, &in_frame, NULL), FLX_OK);
        while (flx_operations_next(&rest, &head)) {
            keep_answer(&head);
        }
        answer_frames++;
        count += in_frame;
    }
    return count;
}

static inline uint32_t run(hx *h, hx_stream *s)
{
    memset(answers, 0, sizeof answers);
    answer_frames = 0;
    assert_true(hx_run(h));
    return read_answers(s);
}

#endif /* FLX_TESTS_OPERATIONS_RIG_H */
