/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/stream_read.c - what does a broker pay for history that is asked for page by page (stream_read)?
 *
 *     bench_stream_read --stream S --count N --records 1000
 *
 * One request at a time, as a client that pages through a stream does it; the next one asks from where
 * the answer said. The answers are JSON with the payloads in base64, parsed here by our own wire room.
 * Speaks the protocol by hand (tools/conformance/raw_client.h): libfelix reads history by subscribing.
 */
#include "common/slice.h"
#include "load.h"
#include "raw_client.h"

#define TOKEN_MAX 8192

static const char *read_token(char text[TOKEN_MAX])
{
    FILE *file = fopen(load_text("--token-file", ""), "r");
    LOAD_CHECK(file != NULL && fgets(text, TOKEN_MAX, file) != NULL);
    (void)fclose(file);
    text[strcspn(text, "\r\n")] = '\0';
    return text;
}

static void need(raw_stream *stream, raw_frame *frame, flx_msg_type type)
{
    const raw_event event = raw_next(stream, frame);
    if (event != RAW_FRAME) {
        load_die("%s instead of an answer", raw_event_name(event));
    }
    if (frame->msg.type != type) {
        load_die("not the answer: %.*s", (int)frame->payload.len, (const char *)frame->payload.ptr);
    }
}

static void authenticate(raw_stream *stream, const raw_target *target)
{
    flx_msg msg = {.type = FLX_MSG_AUTH};
    raw_frame frame;
    msg.auth.tenant_id = flx_slice_of(target->tenant);
    msg.auth.token = flx_slice_of(target->token);
    raw_send_msg(stream, &msg);
    need(stream, &frame, FLX_MSG_OK);
}

/* Pages from the earliest on until `count` records came; returns how many came out of place. */
static uint64_t read_pages(raw_stream *stream, const raw_target *target, uint64_t count)
{
    uint64_t wrong = 0;
    uint64_t next = 0;
    while (next < count) {
        flx_msg msg = {.type = FLX_MSG_STREAM_READ};
        raw_frame frame;
        msg.stream_read.tenant_id = flx_slice_of(target->tenant);
        msg.stream_read.namespace_ = flx_slice_of(target->namespace_);
        msg.stream_read.stream = flx_slice_of(target->stream);
        msg.stream_read.from = next;
        msg.stream_read.has_max_records = true;
        msg.stream_read.max_records = (uint32_t)load_number("--records", 1000);
        raw_send_msg(stream, &msg);
        need(stream, &frame, FLX_MSG_STREAM_RECORDS);
        LOAD_CHECK(frame.msg.stream_records.next_offset > next);
        for (size_t i = 0; i < frame.msg.stream_records.records_count; i++) {
            load_stamp stamp = {0};
            const flx_slice payload = frame.msg.stream_records.records[i].payload;
            memcpy(&stamp, payload.ptr, payload.len < sizeof stamp ? payload.len : sizeof stamp);
            wrong += stamp.sequence != next + i;
        }
        next = frame.msg.stream_records.next_offset;
    }
    return wrong;
}

int main(int argc, char **argv)
{
    char token[TOKEN_MAX];
    flx_error error = {0};
    raw_client *client = NULL;
    load_init(argc, argv);
    const raw_target target = {
        .address = load_text("--address", "127.0.0.1:5000"),
        .server_name = "localhost",
        .ca_file = load_text("--ca-file", NULL),
        .tenant = load_text("--tenant", "t1"),
        .namespace_ = "default",
        .token = read_token(token),
        .stream = load_text("--stream", "bench"),
        .wait_ms = LOAD_WAIT_MS,
    };
    if (raw_connect(&target, "felix/1", &client, &error) != FLX_OK) {
        load_die("connect: %s", error.message);
    }
    raw_stream *stream = raw_open(client, true);
    authenticate(stream, &target);
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return EXIT_FAILURE;
    }
    const uint64_t count = load_number("--count", 100000);
    const double cpu_s = load_cpu_s();
    const uint64_t start_ns = flx_clock_monotonic_ns();
    const uint64_t wrong = read_pages(stream, &target, count);
    load_say(
        "{\"event\":\"result\",\"count\":%llu,\"wrong\":%llu,\"start_ns\":%llu,\"end_ns\":%llu,"
        "\"cpu_s\":%.6f}",
        (unsigned long long)count, (unsigned long long)wrong, (unsigned long long)start_ns,
        (unsigned long long)flx_clock_monotonic_ns(), load_cpu_s() - cpu_s);
    (void)raw_disconnect(client);
    return EXIT_SUCCESS;
}
