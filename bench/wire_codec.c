/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/wire_codec.c - how many nanoseconds does the codec take of one operation?
 *
 * One line an operation: decode or encode of the messages that every publish and every cache
 * operation pays for, with payloads of 100 and 4096 bytes. A decode includes copying the text to
 * memory that may be rewritten, as the frame reader does. Goal: a whole JSON cache operation of the
 * broker under 4 us, of which the codec (decode + encode) may be a tenth.
 */
#include "common/clock.h"
#include "common/slice.h"
#include "wire/ack.h"
#include "wire/event.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 200000

typedef struct subject {
    const char *name;
    flx_msg msg;
    flx_arena arena;
    uint8_t frame[16384]; /* the encoded message or batch */
    size_t len;
    uint8_t scratch[16384];
} subject;

static volatile uint64_t sink; /* keeps results alive */

static void decode_json(subject *s)
{
    flx_msg msg;
    const size_t len = s->len - FLX_FRAME_HEADER_BYTES;
    memcpy(s->scratch, s->frame + FLX_FRAME_HEADER_BYTES, len);
    flx_arena_reset(&s->arena);
    if (flx_msg_decode(&s->arena, s->scratch, len, &msg, NULL) != FLX_OK) {
        abort();
    }
    sink += msg.cache_get.key.len;
}

static void encode_json(subject *s)
{
    flx_writer writer;
    flx_writer_init(&writer, s->scratch, sizeof s->scratch);
    flx_msg_encode_frame(&s->msg, &writer);
    sink += writer.len;
}

static void decode_publish(subject *s)
{
    flx_publish publish;
    const flx_slice payload = {s->frame, s->len};
    if (flx_publish_decode(0x0049, payload, &publish, NULL) != FLX_OK) {
        abort();
    }
    sink += publish.region.len;
}

static void encode_ack(subject *s)
{
    const uint64_t offset = s->len;
    sink += (uint64_t)(flx_publish_ack_ok_frame(7, &offset, s->scratch) - s->scratch);
}

static void encode_event_head(subject *s)
{
    const flx_event_batch batch = {.flags = 0x0024, .count = 1, .base_offset = s->len};
    sink += (uint64_t)(flx_event_frame_head_encode(&batch, s->scratch) - s->scratch);
}

static void run(const char *what, subject *s, void (*work)(subject *s))
{
    for (int i = 0; i < ROUNDS / 10; i++) {
        work(s);
    }
    const uint64_t start = flx_clock_monotonic_ns();
    for (int i = 0; i < ROUNDS; i++) {
        work(s);
    }
    const uint64_t ns = flx_clock_monotonic_ns() - start;
    (void)printf("%-10s %-24s %6zu bytes %8.1f ns\n", what, s->name, s->len, (double)ns / ROUNDS);
}

static subject *json_subject(const char *name, const flx_msg *msg)
{
    subject *s = calloc(1, sizeof *s);
    if (s == NULL) {
        abort();
    }
    s->name = name;
    s->msg = *msg;
    flx_arena_init(&s->arena, 1 << 20);
    flx_writer writer;
    flx_writer_init(&writer, s->frame, sizeof s->frame);
    flx_msg_encode_frame(msg, &writer);
    s->len = writer.len;
    return s;
}

static void run_json(const char *name, const flx_msg *msg)
{
    subject *s = json_subject(name, msg);
    run("decode", s, decode_json);
    run("encode", s, encode_json);
    flx_arena_done(&s->arena);
    free(s);
}

static void run_sizes(size_t payload_len)
{
    uint8_t *bytes = malloc(payload_len);
    if (bytes == NULL) {
        abort();
    }
    for (size_t i = 0; i < payload_len; i++) {
        bytes[i] = (uint8_t)(i * 31);
    }
    const flx_slice payload = {bytes, payload_len};
    const flx_slice tenant_id = flx_slice_of("t1");
    const flx_slice namespace_ = flx_slice_of("default");
    const flx_slice key = flx_slice_of("customer-000042");

    flx_msg msg = {.type = FLX_MSG_CACHE_GET};
    msg.cache_get = (struct flx_msg_cache_get){.tenant_id = tenant_id,
                                               .namespace_ = namespace_,
                                               .cache = flx_slice_of("primary"),
                                               .key = key,
                                               .has_request_id = true,
                                               .request_id = 12345};
    run_json("cache_get", &msg);
    msg.type = FLX_MSG_CACHE_PUT;
    msg.cache_put = (struct flx_msg_cache_put){.tenant_id = tenant_id,
                                               .namespace_ = namespace_,
                                               .cache = flx_slice_of("primary"),
                                               .key = key,
                                               .value = payload,
                                               .has_request_id = true,
                                               .request_id = 12345};
    run_json("cache_put", &msg);
    msg.type = FLX_MSG_CACHE_VALUE;
    msg.cache_value = (struct flx_msg_cache_value){.tenant_id = tenant_id,
                                                   .namespace_ = namespace_,
                                                   .cache = flx_slice_of("primary"),
                                                   .key = key,
                                                   .has_value = true,
                                                   .value = payload,
                                                   .has_request_id = true,
                                                   .request_id = 12345};
    run_json("cache_value", &msg);
    msg.type = FLX_MSG_PUBLISH;
    msg.publish = (struct flx_msg_publish){.tenant_id = tenant_id,
                                           .namespace_ = namespace_,
                                           .stream = flx_slice_of("orders"),
                                           .payload = payload,
                                           .has_request_id = true,
                                           .request_id = 12345,
                                           .has_ack = true,
                                           .ack = FLX_ACK_PER_MESSAGE};
    run_json("publish", &msg);

    subject *s = json_subject("binary publish", &msg);
    const flx_publish publish = {.flags = 0x0049,
                                 .ack = FLX_ACK_PER_BATCH,
                                 .request_id = 1,
                                 .key = key,
                                 .tenant_id = tenant_id,
                                 .namespace_ = namespace_,
                                 .stream = flx_slice_of("orders"),
                                 .count = 1};
    uint8_t *end = flx_records_put(flx_publish_head_encode(&publish, s->frame), payload);
    s->len = (size_t)(end - s->frame);
    run("decode", s, decode_publish);
    s->name = "binary ack";
    run("encode", s, encode_ack);
    s->name = "event head";
    run("encode", s, encode_event_head);
    free(s);
    free(bytes);
}

int main(void)
{
    run_sizes(100);
    run_sizes(4096);
    return EXIT_SUCCESS;
}
