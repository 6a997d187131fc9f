/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/mock_broker_cache.c - the cache of the mock broker, in JSON and by operation frames. */
#include "mock_broker_int.h"
#include "wire/bytes.h"
#include "wire/flags.h"

#include <string.h>

/* ---- the cache ---- */

static mock_entry *find_entry(mock_broker *broker, flx_slice key, bool make)
{
    mock_entry *unused = NULL;
    for (size_t i = 0; i < MOCK_KEYS_MAX; i++) {
        mock_entry *at = &broker->entries[i];
        if (at->version == 0)
            unused = at;
        else if (strlen(at->key) == key.len && memcmp(at->key, key.ptr, key.len) == 0)
            return at;
    }
    if (!make)
        return NULL;
    FLX_ASSERT(unused != NULL && key.len < sizeof(unused->key));
    memset(unused->key, 0, sizeof(unused->key));
    memcpy(unused->key, key.ptr, key.len);
    return unused;
}

static uint64_t store(mock_broker *broker, flx_slice key, flx_slice value)
{
    mock_entry *to = find_entry(broker, key, true);
    flx_free(to->value);
    to->value = flx_alloc(value.len + 1);
    FLX_ASSERT(to->value != NULL);
    memcpy(to->value, value.ptr, value.len);
    to->len = value.len;
    to->version = ++broker->versions;
    return to->version;
}

static void erase(mock_entry *from)
{
    flx_free(from->value);
    memset(from, 0, sizeof(*from));
}

static void send_value(mock_broker *broker, mock_session *to, const struct flx_msg_cache_get *get,
                       const mock_entry *found)
{
    flx_msg answer = {.type = FLX_MSG_CACHE_VALUE,
                      .cache_value = {.tenant_id = get->tenant_id,
                                      .namespace_ = get->namespace_,
                                      .cache = get->cache,
                                      .key = get->key,
                                      .has_request_id = get->has_request_id,
                                      .request_id = get->request_id}};
    if (found != NULL) {
        answer.cache_value.has_value = true;
        answer.cache_value.value = (flx_slice){found->value, found->len};
        answer.cache_value.has_version = true;
        answer.cache_value.version = found->version;
    }
    mock_send_msg(broker, to->control, &answer);
}

static void send_condition(mock_broker *broker, mock_session *to, uint64_t request_id, bool applied,
                           uint64_t version)
{
    const flx_msg answer = {.type = FLX_MSG_CACHE_CONDITION_RESULT,
                            .cache_condition_result = {.applied = applied,
                                                       .has_version = version != 0,
                                                       .version = version,
                                                       .request_id = request_id}};
    mock_send_msg(broker, to->control, &answer);
}

static void put_if(mock_broker *broker, mock_session *from, const struct flx_msg_cache_put_if *put)
{
    const mock_entry *found = find_entry(broker, put->key, false);
    const bool holds = put->condition.kind == FLX_CONDITION_ABSENT
                           ? found == NULL
                           : found != NULL && found->version == put->condition.version;
    uint64_t version = found != NULL ? found->version : 0;
    if (holds)
        version = store(broker, put->key, put->value);
    send_condition(broker, from, put->request_id, holds, version);
}

static void delete_if(mock_broker *broker, mock_session *from,
                      const struct flx_msg_cache_delete_if *gone)
{
    mock_entry *found = find_entry(broker, gone->key, false);
    const bool holds = found != NULL && found->version == gone->version;
    const uint64_t version = found != NULL && !holds ? found->version : 0;
    if (holds)
        erase(found);
    send_condition(broker, from, gone->request_id, holds, version);
}

/* The members of get and delete are the same. */
static void get_or_delete(mock_broker *broker, mock_session *from,
                          const struct flx_msg_cache_get *get, bool removes)
{
    mock_entry *found = find_entry(broker, get->key, false);
    send_value(broker, from, get, found);
    if (removes && found != NULL)
        erase(found);
}

void mock_cache(mock_broker *broker, mock_session *from, flx_msg *msg)
{
    broker->counts.cache_requests++;
    if (broker->rules.cache_silent)
        return;
    if (broker->rules.stream_unknown) {
        mock_send_error(broker, from->control, FLX_CODE_NOT_FOUND, "no such cache");
        flx_quic_stream_finish(from->control);
        return;
    }
    if (msg->type == FLX_MSG_CACHE_PUT) {
        (void)store(broker, msg->cache_put.key, msg->cache_put.value);
        const flx_msg ok = {.type = FLX_MSG_CACHE_OK,
                            .cache_ok = {.request_id = msg->cache_put.request_id}};
        mock_send_msg(broker, from->control, &ok);
    } else if (msg->type == FLX_MSG_CACHE_GET) {
        get_or_delete(broker, from, &msg->cache_get, false);
    } else if (msg->type == FLX_MSG_CACHE_DELETE) {
        const struct flx_msg_cache_get same = {.tenant_id = msg->cache_delete.tenant_id,
                                               .namespace_ = msg->cache_delete.namespace_,
                                               .cache = msg->cache_delete.cache,
                                               .key = msg->cache_delete.key,
                                               .has_request_id = msg->cache_delete.has_request_id,
                                               .request_id = msg->cache_delete.request_id};
        get_or_delete(broker, from, &same, true);
    } else if (msg->type == FLX_MSG_CACHE_PUT_IF) {
        put_if(broker, from, &msg->cache_put_if);
    } else {
        delete_if(broker, from, &msg->cache_delete_if);
    }
}

/* ---- operations ---- */

/* What JSON would have answered, in the other form. */
static void operate(mock_broker *broker, mock_session *from, const flx_operation *asked,
                    flx_operation_answer *answer)
{
    mock_entry *found = find_entry(broker, asked->key, false);
    const bool is_conditional =
        asked->opcode == FLX_OPCODE_CACHE_PUT_IF || asked->opcode == FLX_OPCODE_CACHE_DELETE_IF;
    const bool wants_version =
        asked->opcode == FLX_OPCODE_CACHE_DELETE_IF || (asked->flags & FLX_OPERATION_VERSION) != 0;
    const bool holds =
        !is_conditional ||
        (wants_version ? found != NULL && found->version == asked->version : found == NULL);
    FLX_ASSERT(from->opened[asked->handle]);
    broker->counts.cache_requests++;
    answer->version = found != NULL ? found->version : 0;
    if (asked->opcode == FLX_OPCODE_CACHE_GET || asked->opcode == FLX_OPCODE_CACHE_DELETE) {
        answer->flags = found != NULL ? FLX_OPERATION_FOUND : 0;
        if (found != NULL)
            answer->value = (flx_slice){found->value, found->len};
    }
    if (holds &&
        (asked->opcode == FLX_OPCODE_CACHE_PUT || asked->opcode == FLX_OPCODE_CACHE_PUT_IF))
        answer->version = store(broker, asked->key, asked->value);
    if (holds && asked->opcode == FLX_OPCODE_CACHE_DELETE_IF)
        answer->version = 0;
    if (is_conditional)
        answer->flags = (uint8_t)((holds ? FLX_OPERATION_APPLIED : 0) |
                                  (answer->version != 0 ? FLX_OPERATION_VERSIONED : 0));
}

/* Puts the answer into the room of `cap` bytes at `at`; returns its length, 0: none is given. */
static size_t answer_operation(mock_broker *broker, mock_session *from,
                               const flx_operation_head *head, uint8_t *at, size_t cap)
{
    flx_operation asked;
    FLX_ASSERT(flx_operation_decode(head, &asked, NULL) == FLX_OK);
    flx_operation_answer answer = {.opcode = head->opcode, .id = head->id};
    if (head->opcode == FLX_OPCODE_OPEN) {
        from->opened[head->handle] = true;
        answer.shards = 1;
    } else if (head->opcode == FLX_OPCODE_PLACEMENT) {
        answer.workers = 3;
    } else if (broker->rules.cache_silent ||
               (asked.key.len == 6 && memcmp(asked.key.ptr, "silent", 6) == 0)) {
        broker->counts.cache_requests++;
        return 0;
    } else if (broker->rules.operations_unserved || broker->rules.stream_unknown) {
        answer.status =
            broker->rules.stream_unknown ? FLX_CODE_NOT_FOUND : FLX_OPERATION_UNSUPPORTED;
        answer.retry = broker->rules.stream_unknown ? FLX_RETRY_AFTER : FLX_RETRY_FATAL;
    } else {
        operate(broker, from, &asked, &answer);
    }
    FLX_ASSERT(flx_operation_answer_bytes(&answer) <= cap);
    const size_t len = (size_t)(flx_operation_answer_encode(&answer, at) - at);
    if (head->opcode == FLX_OPCODE_PLACEMENT && broker->rules.placement_astray)
        (void)flx_put_u16(at + len - 2, 3); /* of 3 */
    if (head->opcode == FLX_OPCODE_CACHE_DELETE && answer.status == 0 &&
        (answer.flags & FLX_OPERATION_FOUND) != 0)
        erase(find_entry(broker, asked.key, false));
    if (head->opcode == FLX_OPCODE_CACHE_DELETE_IF && (answer.flags & FLX_OPERATION_APPLIED) != 0)
        erase(find_entry(broker, asked.key, false));
    return len;
}

void mock_operations(mock_broker *broker, mock_session *from, const flx_frame *frame)
{
    enum { CAP = 1 << 20 };
    static uint8_t bytes[FLX_FRAME_HEADER_BYTES + CAP];
    flx_slice rest = frame->payload;
    flx_operation_head head;
    uint32_t count;
    broker->counts.operation_frames++;
    if (flx_operations_check(rest, broker->rules.operation_window, &count, NULL) != FLX_OK) {
        broker->counts.protocol_errors++;
        return;
    }
    /* Backwards they fill the room from its end. */
    const bool backwards = broker->rules.answers_backwards;
    uint8_t *const first = bytes + FLX_FRAME_HEADER_BYTES;
    uint8_t *start = backwards ? first + CAP : first;
    uint8_t *end = start;
    while (flx_operations_next(&rest, &head)) {
        static uint8_t one[CAP];
        const size_t len = answer_operation(broker, from, &head, one, sizeof(one));
        FLX_ASSERT(backwards ? start - first >= (ptrdiff_t)len
                             : first + CAP - end >= (ptrdiff_t)len);
        memcpy(backwards ? start - len : end, one, len);
        start -= backwards ? len : 0;
        end += backwards ? 0 : len;
    }
    if (start == end)
        return;
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, (uint32_t)(end - start),
                            start - FLX_FRAME_HEADER_BYTES);
    mock_send_bytes(from->control, start - FLX_FRAME_HEADER_BYTES,
                    (size_t)(end - start) + FLX_FRAME_HEADER_BYTES);
}
