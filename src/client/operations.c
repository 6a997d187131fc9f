/* SPDX-License-Identifier: Apache-2.0 */
/* Operation frames on one channel; see the header. */
#include "client/operations.h"

#include "client/asks.h"
#include "client/names.h"
#include "client/refusal.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"
#include "wire/bytes.h"

#include <string.h>

#define WINDOW_MAX  4096U  /* places, however many the broker grants */
#define CHUNK_BYTES 65536U /* frames are written to, one behind the other */
#define SMALL_BYTES 8192U  /* an operation up to here is copied behind the others */
#define OPEN_ID     UINT32_MAX
#define NO_PLACE    UINT32_MAX

/* ---- places ---- */

flx_status flx_op_pipe_init(flx_op_pipe *pipe, uint32_t window)
{
    memset(pipe, 0, sizeof(*pipe));
    window = window < WINDOW_MAX ? window : WINDOW_MAX;
    pipe->places = flx_calloc(window, sizeof(*pipe->places));
    if (pipe->places == NULL)
        return FLX_ERR_NOMEM;
    for (uint32_t i = 0; i < window; i++)
        pipe->places[i].next_free = i + 1 < window ? i + 1 : NO_PLACE;
    pipe->window = window;
    return FLX_OK;
}

void flx_op_pipe_done(flx_op_pipe *pipe)
{
    FLX_ASSERT(pipe->live == 0);
    flx_free(pipe->places);
    (void)flx_chunk_unref(pipe->chunk);
    memset(pipe, 0, sizeof(*pipe));
}

static void give_place(flx_op_pipe *pipe, flx_ask *ask)
{
    const uint32_t id = pipe->first_free;
    FLX_ASSERT(id < pipe->window);
    flx_op_place *place = &pipe->places[id];
    pipe->first_free = place->next_free;
    *place = (flx_op_place){.ask = ask, .is_out = true};
    ask->op_id = id;
    pipe->out++;
    pipe->live++;
}

static void free_place(flx_op_pipe *pipe, uint32_t id)
{
    pipe->places[id] = (flx_op_place){.next_free = pipe->first_free};
    pipe->first_free = id;
    pipe->out--;
}

bool flx_op_pipe_answered(flx_op_pipe *pipe, uint32_t id, flx_ask **ret_ask)
{
    *ret_ask = NULL;
    if (id == OPEN_ID)
        return pipe->window > 0; /* what was refused is said again for each operation */
    if (id >= pipe->window || !pipe->places[id].is_out)
        return false;
    *ret_ask = pipe->places[id].ask;
    pipe->live -= *ret_ask != NULL ? 1 : 0;
    free_place(pipe, id);
    return true;
}

void flx_op_pipe_abandon(flx_op_pipe *pipe, flx_ask *ask)
{
    FLX_ASSERT(pipe->places[ask->op_id].ask == ask);
    pipe->places[ask->op_id].ask = NULL;
    pipe->live--;
}

flx_ask *flx_op_pipe_take(flx_op_pipe *pipe)
{
    for (uint32_t id = 0; id < pipe->window && pipe->live > 0; id++) {
        flx_ask *ask = pipe->places[id].ask;
        if (ask != NULL) {
            flx_op_pipe_abandon(pipe, ask);
            return ask;
        }
    }
    return NULL;
}

/* ---- the frame being filled ---- */

flx_status flx_op_pipe_flush(flx_op_pipe *pipe, flx_channel *channel)
{
    if (pipe->frame_count == 0)
        return FLX_OK;
    flx_chunk *chunk = pipe->chunk;
    const flx_range range = {flx_chunk_ref(chunk), pipe->frame_start, chunk->len};
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, flx_range_len(&range) - FLX_FRAME_HEADER_BYTES,
                            chunk->data + pipe->frame_start);
    pipe->frame_count = 0;
    return flx_channel_write_take(channel, range);
}

/* Sees to a frame with room for `len` more. */
static flx_status make_room(flx_op_pipe *pipe, flx_channel *channel, size_t len)
{
    if (pipe->frame_count > 0 &&
        (pipe->frame_count == pipe->window || flx_chunk_room(pipe->chunk) < len)) {
        const flx_status status = flx_op_pipe_flush(pipe, channel);
        if (status != FLX_OK)
            return status;
    }
    if (pipe->frame_count > 0)
        return FLX_OK;
    if (pipe->chunk != NULL && flx_chunk_is_sole(pipe->chunk))
        pipe->chunk->len = 0; /* all of it was acknowledged */
    if (pipe->chunk == NULL || flx_chunk_room(pipe->chunk) < FLX_FRAME_HEADER_BYTES + len) {
        flx_chunk *chunk = flx_chunk_new(CHUNK_BYTES);
        if (chunk == NULL)
            return FLX_ERR_NOMEM;
        (void)flx_chunk_unref(pipe->chunk);
        pipe->chunk = chunk;
    }
    pipe->frame_start = pipe->chunk->len;
    pipe->chunk->len += FLX_FRAME_HEADER_BYTES;
    return FLX_OK;
}

/* The handle of the ask's cache; opened in front of it where it has none. */
static flx_status handle_of(flx_op_pipe *pipe, flx_channel *channel, const flx_ask *ask,
                            uint16_t *ret_handle)
{
    if (pipe->serials[pipe->last_handle] != ask->serial) {
        uint32_t handle = 0;
        while (handle < FLX_OP_HANDLES && pipe->serials[handle] != ask->serial)
            handle++;
        if (handle == FLX_OP_HANDLES) {
            handle = pipe->next_handle;
            const flx_operation open = {.opcode = FLX_OPCODE_OPEN,
                                        .handle = (uint16_t)handle,
                                        .id = OPEN_ID,
                                        .kind = FLX_OPERATION_CACHE,
                                        .tenant = flx_slice_of(ask->name->tenant),
                                        .namespace_ = flx_slice_of(ask->name->namespace_),
                                        .name = flx_slice_of(ask->name->name)};
            const size_t len = flx_operation_bytes(&open);
            const flx_status status = make_room(pipe, channel, len);
            if (status != FLX_OK)
                return status;
            (void)flx_operation_encode(&open, pipe->chunk->data + pipe->chunk->len);
            pipe->chunk->len += (uint32_t)len;
            pipe->frame_count++;
            pipe->serials[handle] = ask->serial;
            pipe->next_handle = (handle + 1) % FLX_OP_HANDLES;
        }
        pipe->last_handle = handle;
    }
    *ret_handle = (uint16_t)pipe->last_handle;
    return FLX_OK;
}

/* Handle and id of an encoded operation. */
static void patch(uint8_t *operation, uint16_t handle, uint32_t id)
{
    (void)flx_put_u32(flx_put_u16(operation + 6, handle), id);
}

/* A large write leaves from where it was encoded, as a frame of its own. */
static flx_status put_large(flx_op_pipe *pipe, flx_channel *channel, flx_ask *ask, uint16_t handle)
{
    flx_status status = flx_op_pipe_flush(pipe, channel);
    if (status != FLX_OK)
        return status;
    flx_chunk *frame = ask->frame;
    give_place(pipe, ask);
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, frame->len - FLX_OP_FRAME_AT, frame->data);
    patch(frame->data + FLX_OP_FRAME_AT, handle, ask->op_id);
    status = flx_channel_write_take(channel, (flx_range){flx_chunk_ref(frame), 0, frame->len});
    if (status != FLX_OK) {
        flx_op_pipe_abandon(pipe, ask);
        free_place(pipe, ask->op_id);
    }
    return status;
}

flx_status flx_op_pipe_put(flx_op_pipe *pipe, flx_channel *channel, flx_ask *ask)
{
    FLX_ASSERT(flx_op_pipe_has_room(pipe));
    const size_t len = ask->frame->len - FLX_OP_FRAME_AT;
    uint16_t handle;
    flx_status status = handle_of(pipe, channel, ask, &handle);
    if (status != FLX_OK)
        return status;
    /* A read may be sent again while the bytes of its first time are still QUIC's: it is copied. */
    if (len > SMALL_BYTES && !ask->is_read)
        return put_large(pipe, channel, ask, handle);
    if (len > CHUNK_BYTES - FLX_FRAME_HEADER_BYTES)
        return FLX_ERR_TOO_LARGE;
    status = make_room(pipe, channel, len);
    if (status != FLX_OK)
        return status;
    give_place(pipe, ask);
    uint8_t *to = pipe->chunk->data + pipe->chunk->len;
    memcpy(to, ask->frame->data + FLX_OP_FRAME_AT, len);
    patch(to, handle, ask->op_id);
    pipe->chunk->len += (uint32_t)len;
    pipe->frame_count++;
    return FLX_OK;
}

/* ---- JSON instead ---- */

void flx_op_to_msg(const flx_operation *operation, flx_msg *ret_msg)
{
    const bool has_ttl = (operation->flags & FLX_OPERATION_TTL) != 0;
    memset(ret_msg, 0, sizeof(*ret_msg));
    switch (operation->opcode) {
    case FLX_OPCODE_CACHE_GET:
        ret_msg->type = FLX_MSG_CACHE_GET;
        ret_msg->cache_get.key = operation->key;
        ret_msg->cache_get.has_request_id = true;
        break;
    case FLX_OPCODE_CACHE_PUT:
        ret_msg->type = FLX_MSG_CACHE_PUT;
        ret_msg->cache_put.key = operation->key;
        ret_msg->cache_put.value = operation->value;
        ret_msg->cache_put.has_request_id = true;
        ret_msg->cache_put.has_ttl_ms = has_ttl;
        ret_msg->cache_put.ttl_ms = operation->ttl_ms;
        break;
    case FLX_OPCODE_CACHE_DELETE:
        ret_msg->type = FLX_MSG_CACHE_DELETE;
        ret_msg->cache_delete.key = operation->key;
        ret_msg->cache_delete.has_request_id = true;
        break;
    case FLX_OPCODE_CACHE_PUT_IF: {
        const bool has_version = (operation->flags & FLX_OPERATION_VERSION) != 0;
        ret_msg->type = FLX_MSG_CACHE_PUT_IF;
        ret_msg->cache_put_if.key = operation->key;
        ret_msg->cache_put_if.value = operation->value;
        ret_msg->cache_put_if.has_ttl_ms = has_ttl;
        ret_msg->cache_put_if.ttl_ms = operation->ttl_ms;
        ret_msg->cache_put_if.condition.kind =
            has_version ? FLX_CONDITION_VERSION : FLX_CONDITION_ABSENT;
        ret_msg->cache_put_if.condition.version = operation->version;
        break;
    }
    case FLX_OPCODE_CACHE_DELETE_IF:
        ret_msg->type = FLX_MSG_CACHE_DELETE_IF;
        ret_msg->cache_delete_if.key = operation->key;
        ret_msg->cache_delete_if.version = operation->version;
        break;
    case FLX_OPCODE_COUNTER_ADD:
        ret_msg->type = FLX_MSG_COUNTER_ADD;
        ret_msg->counter_add.key = operation->key;
        ret_msg->counter_add.delta = (int64_t)operation->delta;
        break;
    case FLX_OPCODE_COUNTER_GET:
        ret_msg->type = FLX_MSG_COUNTER_GET;
        ret_msg->counter_get.key = operation->key;
        break;
    default:
        FLX_UNREACHABLE();
    }
}

bool flx_op_answer_to_msg(const flx_operation_answer *answer, flx_msg *ret_msg,
                          flx_error *ret_error)
{
    if (answer->status != 0) {
        flx_refusal_from_operation(answer, ret_error);
        return false;
    }
    switch (answer->opcode) {
    case FLX_OPCODE_CACHE_GET:
    case FLX_OPCODE_CACHE_DELETE:
        ret_msg->type = FLX_MSG_CACHE_VALUE;
        ret_msg->cache_value =
            (struct flx_msg_cache_value){.has_value = (answer->flags & FLX_OPERATION_FOUND) != 0,
                                         .value = answer->value,
                                         .has_version = answer->opcode == FLX_OPCODE_CACHE_GET &&
                                                        (answer->flags & FLX_OPERATION_FOUND) != 0,
                                         .version = answer->version};
        return true;
    case FLX_OPCODE_CACHE_PUT:
        ret_msg->type = FLX_MSG_CACHE_OK;
        return true;
    case FLX_OPCODE_CACHE_PUT_IF:
    case FLX_OPCODE_CACHE_DELETE_IF:
        ret_msg->type = FLX_MSG_CACHE_CONDITION_RESULT;
        ret_msg->cache_condition_result = (struct flx_msg_cache_condition_result){
            .applied = (answer->flags & FLX_OPERATION_APPLIED) != 0,
            .has_version = (answer->flags & FLX_OPERATION_VERSIONED) != 0,
            .version = answer->version};
        return true;
    case FLX_OPCODE_COUNTER_ADD:
    case FLX_OPCODE_COUNTER_GET:
        ret_msg->type = FLX_MSG_COUNTER_VALUE;
        ret_msg->counter_value =
            (struct flx_msg_counter_value){.has_value = (answer->flags & FLX_OPERATION_FOUND) != 0,
                                           .value = (int64_t)answer->counter};
        return true;
    default:
        (void)flx_fail(ret_error, FLX_ERR_PROTOCOL, "an operation was answered with opcode 0x%02x",
                       answer->opcode);
        return false;
    }
}
