/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operation_suite.c - operation frames, an extension of Felix's own (docs/spec/extensions.md 1): who
 * may send them, what each is answered, and what a broken one gets. A broker that does not offer
 * them skips all but the first two rows, which must hold for every broker.
 */
#include "common/assert.h"
#include "wire/flags.h"
#include "wire/operation.h"
#include "words.h"

#define FRAME_BYTES 8192
#define MANY        64 /* operations under way at once, where the window allows it */

/* Operations on their way out. */
typedef struct outgoing {
    uint8_t bytes[FRAME_BYTES];
    size_t len;
} outgoing;

static void add(outgoing *out, const flx_operation *operation)
{
    FLX_ASSERT(out->len + flx_operation_bytes(operation) <= sizeof out->bytes);
    out->len = (size_t)(flx_operation_encode(operation, out->bytes + out->len) - out->bytes);
}

static void send_added(raw_stream *stream, outgoing *out)
{
    raw_send_frame(stream, FLX_FLAG_OPERATIONS, out->bytes, out->len);
    out->len = 0;
}

static flx_operation open_of(const check_suite *suite, uint32_t id)
{
    return (flx_operation){.opcode = FLX_OPCODE_OPEN,
                           .handle = 1,
                           .id = id,
                           .kind = FLX_OPERATION_CACHE,
                           .tenant = flx_slice_of(suite->target->tenant),
                           .namespace_ = flx_slice_of(suite->target->namespace_),
                           .name = flx_slice_of(suite->target->cache)};
}

static flx_operation get_of(uint16_t handle, uint32_t id, const char *key)
{
    return (flx_operation){
        .opcode = FLX_OPCODE_CACHE_GET, .handle = handle, .id = id, .key = flx_slice_of(key)};
}

static void auth(const check_suite *suite, raw_stream *stream, bool offers)
{
    flx_msg msg = {.type = FLX_MSG_AUTH};
    msg.auth.tenant_id = flx_slice_of(suite->target->tenant);
    msg.auth.token = flx_slice_of(suite->target->token);
    msg.auth.has_client_flags = true;
    msg.auth.client_flags = FLX_FLAGS_ORIGINAL_V1;
    msg.auth.has_client_features = true;
    msg.auth.client_features =
        FLX_FEATURE_ERROR_CODES | FLX_FEATURE_UNSUPPORTED | (offers ? FLX_FEATURE_EXTENDED : 0);
    msg.auth.has_client_features_hi = offers;
    msg.auth.client_features_hi = FLX_FEATURE_HI_OPERATIONS;
    raw_send_msg(stream, &msg);
}

/* A connection, a stream on it, and what it was granted: a window of 0 when there is none. */
static check_result begin(check_suite *suite, bool offers, raw_client **ret_client,
                          raw_stream **ret_stream, uint32_t *ret_window)
{
    flx_error error;
    raw_frame frame;
    char got[200];
    if (raw_connect(suite->target, NULL, ret_client, &error) != FLX_OK) {
        return check_fail(suite, "%s", error.message);
    }
    *ret_stream = raw_open(*ret_client, true);
    auth(suite, *ret_stream, offers);
    if (!next_msg(*ret_stream, FLX_MSG_AUTH_OK, &frame, got, sizeof got)) {
        return check_fail(suite, "auth: expected auth_ok, got %s", got);
    }
    const bool is_offered = (frame.msg.auth_ok.server_features & FLX_FEATURE_EXTENDED) != 0 &&
                            frame.msg.auth_ok.has_server_features_hi &&
                            (frame.msg.auth_ok.server_features_hi & FLX_FEATURE_HI_OPERATIONS) != 0;
    if (is_offered &&
        (!frame.msg.auth_ok.has_operation_window || frame.msg.auth_ok.operation_window == 0)) {
        return check_fail(suite, "operations are offered without a window");
    }
    *ret_window = is_offered ? frame.msg.auth_ok.operation_window : 0;
    return CHECK_PASS;
}

#define BEGIN(offers)                                                                              \
    raw_client *client = NULL;                                                                     \
    raw_stream *stream = NULL;                                                                     \
    raw_frame frame;                                                                               \
    outgoing out = {.len = 0};                                                                     \
    uint32_t window = 0;                                                                           \
    (void)frame, (void)out;                                                                        \
    check_result result = begin(suite, offers, &client, &stream, &window);                         \
    if (result != CHECK_PASS) {                                                                    \
        goto done;                                                                                 \
    }

#define NEED_OPERATIONS()                                                                          \
    if (window == 0) {                                                                             \
        result = check_skip(suite, "the broker does not offer operations");                        \
        goto done;                                                                                 \
    }

#define END()                                                                                      \
    done:                                                                                          \
    (void)raw_disconnect(client);                                                                  \
    return result

/* Answers that have come, by id. Slices of values are not kept. */
typedef struct answered {
    bool came[MANY + 2];
    flx_operation_answer answers[MANY + 2];
    char value[MANY + 2][16]; /* the beginning of it */
} answered;

/* Reads until `count` answers are there; false: *ret_got says what came instead. */
static bool read_answers(raw_stream *stream, uint32_t count, answered *to, char *ret_got,
                         size_t cap)
{
    memset(to, 0, sizeof *to);
    for (uint32_t seen = 0; seen < count;) {
        raw_frame frame;
        uint32_t in_frame;
        flx_operation_head head;
        const raw_event event = raw_next(stream, &frame);
        flx_slice rest = frame.payload;
        if (event != RAW_FRAME || frame.flags != FLX_FLAG_OPERATIONS ||
            flx_operations_check(rest, count - seen, &in_frame, NULL) != FLX_OK) {
            (void)snprintf(ret_got, cap, "%s, flags 0x%04x after %u answers", raw_event_name(event),
                           event == RAW_FRAME ? frame.flags : 0, seen);
            return false;
        }
        for (; flx_operations_next(&rest, &head); seen++) {
            flx_operation_answer answer = {0};
            if (flx_operation_answer_decode(&head, &answer, NULL) != FLX_OK ||
                head.id >= MANY + 2 || to->came[head.id]) {
                (void)snprintf(ret_got, cap, "a malformed, repeated or unasked answer, id %u",
                               head.id);
                return false;
            }
            to->came[head.id] = true;
            to->answers[head.id] = answer;
            (void)snprintf(to->value[head.id], sizeof to->value[0], "%.*s", (int)answer.value.len,
                           answer.value.len > 0 ? (const char *)answer.value.ptr : "");
        }
    }
    return true;
}

#define EXPECT_ANSWERS(count)                                                                      \
    do {                                                                                           \
        char got[200];                                                                             \
        const bool came = read_answers(stream, (count), &all, got, sizeof got);                    \
        EXPECT(came, "expected %u answers, got %s", (unsigned)(count), got);                       \
    } while (0)

#define EXPECT_STATUS(id, code)                                                                    \
    EXPECT(all.answers[id].status == (code), "operation %u: expected status %u, got %u",           \
           (unsigned)(id), (unsigned)(code), (unsigned)all.answers[id].status)

static answered all; /* one check at a time */

static check_result only_when_asked(check_suite *suite)
{
    BEGIN(false);
    EXPECT(window == 0, "operations were offered to a client that did not offer them");
    END();
}

static check_result flag_without_negotiation(check_suite *suite)
{
    BEGIN(false);
    const flx_operation open = open_of(suite, 1);
    add(&out, &open);
    send_added(stream, &out);
    EXPECT_CODE(stream, "invalid_request");
    const flx_operation again = open_of(suite, 2); /* passed over, and the stream goes on */
    add(&out, &again);
    send_added(stream, &out);
    EXPECT_CODE(stream, "invalid_request");
    END();
}

static check_result before_auth(check_suite *suite)
{
    BEGIN(true);
    NEED_OPERATIONS();
    raw_stream *stranger = raw_open(client, true);
    const flx_operation open = open_of(suite, 1);
    add(&out, &open);
    send_added(stranger, &out);
    const raw_event event = raw_next(stranger, &frame);
    EXPECT(event != RAW_FRAME || frame.flags == 0, "a stranger was answered with operations");
    END();
}

static check_result all_of_the_cache(check_suite *suite)
{
    BEGIN(true);
    NEED_OPERATIONS();
    const flx_slice key = flx_slice_of("conformance-operations");
    const flx_operation operations[] = {
        open_of(suite, 0),
        {.opcode = FLX_OPCODE_CACHE_DELETE, .handle = 1, .id = 1, .key = key},
        {.opcode = FLX_OPCODE_CACHE_PUT_IF,
         .handle = 1,
         .id = 2,
         .key = key,
         .value = flx_slice_of("a")},
        {.opcode = FLX_OPCODE_CACHE_PUT_IF,
         .handle = 1,
         .id = 3,
         .key = key,
         .value = flx_slice_of("b")},
        {.opcode = FLX_OPCODE_CACHE_GET, .handle = 1, .id = 4, .key = key},
        {.opcode = FLX_OPCODE_CACHE_PUT,
         .flags = FLX_OPERATION_TTL,
         .handle = 1,
         .id = 5,
         .ttl_ms = 60000,
         .key = key,
         .value = flx_slice_of("c")},
        {.opcode = FLX_OPCODE_CACHE_DELETE, .handle = 1, .id = 6, .key = key},
        {.opcode = FLX_OPCODE_CACHE_GET, .handle = 1, .id = 7, .key = key},
    };
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (i > 0 && window < 8) { /* no frame may have more than the window */
            send_added(stream, &out);
        }
        add(&out, &operations[i]);
    }
    send_added(stream, &out);
    EXPECT_ANSWERS(8);
    for (uint32_t id = 0; id < 8; id++) {
        EXPECT_STATUS(id, 0);
    }
    EXPECT(all.answers[0].shards > 0, "open: no shards");
    EXPECT(all.answers[2].flags == (FLX_OPERATION_APPLIED | FLX_OPERATION_VERSIONED),
           "put_if absent was not applied");
    EXPECT(all.answers[3].flags == FLX_OPERATION_VERSIONED &&
               all.answers[3].version == all.answers[2].version,
           "put_if absent of what is there was applied, or told another version");
    EXPECT(all.answers[4].version == all.answers[2].version && strcmp(all.value[4], "a") == 0,
           "get: another value or version");
    EXPECT(strcmp(all.value[6], "c") == 0, "delete: not the value that was there");
    EXPECT(all.answers[7].flags == 0, "get: there is something after the delete");
    END();
}

static check_result many_under_way(check_suite *suite)
{
    BEGIN(true);
    NEED_OPERATIONS();
    const flx_operation open = open_of(suite, MANY);
    add(&out, &open);
    send_added(stream, &out);
    for (uint32_t id = 0; id < MANY; id++) { /* put, get, put, get, ... of one key */
        char value[16];
        (void)snprintf(value, sizeof value, "%u", id / 2);
        const flx_operation put = {.opcode = FLX_OPCODE_CACHE_PUT,
                                   .handle = 1,
                                   .id = id,
                                   .key = flx_slice_of("conformance-many"),
                                   .value = flx_slice_of(value)};
        const flx_operation get = get_of(1, id, "conformance-many");
        add(&out, id % 2 == 0 ? &put : &get);
        if (id % 4 == 3 || window < 4) {
            send_added(stream, &out);
        }
    }
    EXPECT_ANSWERS(MANY + 1);
    for (uint32_t id = 1; id < MANY; id += 2) { /* in any order, but each saw the put before it */
        char value[16];
        (void)snprintf(value, sizeof value, "%u", id / 2);
        EXPECT(strcmp(all.value[id], value) == 0, "get %u read '%s' after a put of '%s'", id,
               all.value[id], value);
    }
    END();
}

static check_result bad_operations(check_suite *suite)
{
    BEGIN(true);
    NEED_OPERATIONS();
    static const struct {
        const char *what;
        const char *bytes;
        size_t len;
        uint16_t status;
    } rows[] = {
        {"an unknown opcode", "\0\0\0\0\x7f\0\0\1\0\0\0\1", 12, FLX_OPERATION_UNSUPPORTED},
        {"an unknown flag", "\0\0\0\1\x10\1\0\1\0\0\0\1k", 13, FLX_CODE_INVALID_REQUEST},
        {"a key that is not UTF-8", "\0\0\0\1\x10\0\0\1\0\0\0\1\xff", 13, FLX_CODE_INVALID_REQUEST},
        {"a body too short", "\0\0\0\2\x14\0\0\1\0\0\0\1kk", 14, FLX_CODE_INVALID_REQUEST},
        {"a handle not opened", "\0\0\0\1\x10\0\0\7\0\0\0\1k", 13, FLX_CODE_NOT_FOUND},
        {"a handle out of range", "\0\0\0\1\x10\0\1\0\0\0\0\1k", 13, FLX_CODE_INVALID_REQUEST},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        raw_send_frame(stream, FLX_FLAG_OPERATIONS, rows[i].bytes, rows[i].len);
        EXPECT_ANSWERS(1);
        EXPECT(all.came[1] && all.answers[1].status == rows[i].status,
               "%s: expected status %u, got %u", rows[i].what, rows[i].status,
               all.answers[1].status);
    }
    const flx_operation open = open_of(suite, 1); /* and the stream goes on */
    add(&out, &open);
    send_added(stream, &out);
    EXPECT_ANSWERS(1);
    EXPECT_STATUS(1, 0);
    END();
}

static check_result names_that_are_not_mine(check_suite *suite)
{
    BEGIN(true);
    NEED_OPERATIONS();
    flx_operation foreign = open_of(suite, 0);
    foreign.tenant = flx_slice_of("conformance-nobody");
    flx_operation missing = open_of(suite, 2);
    missing.name = flx_slice_of(suite->target->missing_stream);
    const flx_operation first = get_of(1, 1, "k");
    const flx_operation second = get_of(1, 3, "k");
    const flx_operation *const operations[] = {&foreign, &first, &missing, &second};
    for (size_t i = 0; i < 4; i++) {
        add(&out, operations[i]);
        send_added(stream, &out);
    }
    EXPECT_ANSWERS(4);
    EXPECT_STATUS(0, FLX_CODE_FORBIDDEN);
    EXPECT_STATUS(1, FLX_CODE_FORBIDDEN);
    EXPECT_STATUS(2, FLX_CODE_NOT_FOUND);
    EXPECT_STATUS(3, FLX_CODE_NOT_FOUND);
    END();
}

static check_result broken_frames(check_suite *suite)
{
    BEGIN(true);
    NEED_OPERATIONS();
    static const struct {
        const char *what;
        const char *bytes;
        size_t len;
    } rows[] = {
        {"no operation", "", 0},
        {"half a head", "\0\0\0\0\x10\0\0", 7},
        {"a length past the end", "\0\0\0\2\x10\0\0\1\0\0\0\1k", 13},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        raw_stream *broken = raw_open(client, true);
        auth(suite, broken, true);
        EXPECT_MSG(broken, AUTH_OK);
        raw_send_frame(broken, FLX_FLAG_OPERATIONS, rows[i].bytes, rows[i].len);
        EXPECT_END(broken);
    }
    END();
}

static check_result placement(check_suite *suite)
{
    BEGIN(true);
    NEED_OPERATIONS();
    const flx_operation asked = {.opcode = FLX_OPCODE_PLACEMENT,
                                 .id = 1,
                                 .kind = FLX_PLACEMENT_PUBLISH,
                                 .tenant = flx_slice_of(suite->target->tenant),
                                 .namespace_ = flx_slice_of(suite->target->namespace_),
                                 .name = flx_slice_of(suite->target->stream)};
    add(&out, &asked);
    send_added(stream, &out);
    EXPECT_ANSWERS(1);
    EXPECT_STATUS(1, 0);
    EXPECT(all.answers[1].worker < all.answers[1].workers, "worker %u of %u", all.answers[1].worker,
           all.answers[1].workers);
    END();
}

const check operation_checks[] = {
    {"operations.only_when_asked", "not a word of them to a client that did not offer them",
     only_when_asked},
    {"operations.flag_without_negotiation", "an unknown flag, and the stream goes on",
     flag_without_negotiation},
    {"operations.before_auth", "not served", before_auth},
    {"operations.all_of_the_cache", "open, put, get, delete, conditions, expiry", all_of_the_cache},
    {"operations.many_under_way", "each answered once by its id, one key in order", many_under_way},
    {"operations.bad_operations", "each answered by itself, and the stream goes on",
     bad_operations},
    {"operations.names_that_are_not_mine",
     "forbidden and not_found, of the handle's operations too", names_that_are_not_mine},
    {"operations.broken_frames", "the end of the stream", broken_frames},
    {"operations.placement", "which worker serves a shard", placement},
    {NULL, NULL, NULL},
};
