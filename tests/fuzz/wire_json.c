/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON messages: any text is decoded or refused; what was decoded is encoded, decodes again, and
 * encodes to the same bytes. Input: the text.
 */
#include "common/assert.h"
#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *copy_of(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    FLX_ASSERT(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

static uint8_t *encode(const flx_msg *msg, size_t *ret_len)
{
    flx_writer writer;
    flx_writer_init(&writer, NULL, 0);
    flx_msg_encode(msg, &writer);
    *ret_len = writer.len;
    uint8_t *out = malloc(writer.len);
    FLX_ASSERT(out != NULL);
    flx_writer_init(&writer, out, *ret_len);
    flx_msg_encode(msg, &writer);
    FLX_ASSERT(writer.len == *ret_len);
    return out;
}

static void check_again(const flx_msg *msg)
{
    size_t len;
    size_t second_len;
    uint8_t *first = encode(msg, &len);
    uint8_t *json = copy_of(first, len);
    flx_arena arena;
    flx_msg back;
    flx_arena_init(&arena, ARENA_BYTES);
    FLX_ASSERT(flx_msg_decode(&arena, json, len, &back, NULL) == FLX_OK);
    FLX_ASSERT(back.type == msg->type);
    uint8_t *second = encode(&back, &second_len);
    FLX_ASSERT(len == second_len && memcmp(first, second, len) == 0);
    flx_arena_done(&arena);
    free(first);
    free(second);
    free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *json = copy_of(data, size);
    flx_arena arena;
    flx_msg msg;
    flx_error error;
    flx_arena_init(&arena, ARENA_BYTES);
    const flx_status status = flx_msg_decode(&arena, json, size, &msg, &error);
    if (status == FLX_OK) {
        check_again(&msg);
    } else if (status == FLX_ERR_UNSUPPORTED) {
        FLX_ASSERT(msg.type == FLX_MSG_UNKNOWN);
        FLX_ASSERT(flx_msg_find(msg.unknown.type_name) == FLX_MSG_UNKNOWN);
    } else {
        FLX_ASSERT(error.message[0] != '\0');
    }
    flx_arena_done(&arena);
    free(json);
    return 0;
}
