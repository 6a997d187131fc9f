/* SPDX-License-Identifier: Apache-2.0 */
/* common/buffer.c - bytes that grow by doubling, up to a bound. */
#include "common/buffer.h"

#include "common/alloc.h"
#include "common/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUFFER_CAP_FIRST 256

void flx_buffer_init(flx_buffer *buffer, size_t max)
{
    *buffer = (flx_buffer){.max = max};
}

void flx_buffer_done(flx_buffer *buffer)
{
    flx_free(buffer->data);
    *buffer = (flx_buffer){.max = buffer->max};
}

flx_status flx_buffer_reserve(flx_buffer *buffer, size_t len, uint8_t **ret_room)
{
    FLX_ASSERT(buffer->len <= buffer->cap);
    if (buffer->len > buffer->max || len > buffer->max - buffer->len) {
        return FLX_ERR_TOO_LARGE;
    }
    const size_t needed = buffer->len + len;
    if (needed > buffer->cap || buffer->data == NULL) {
        size_t cap = buffer->cap < BUFFER_CAP_FIRST ? BUFFER_CAP_FIRST : buffer->cap;
        while (cap < needed) {
            cap = cap > buffer->max / 2 ? buffer->max : cap * 2;
        }
        uint8_t *data = flx_realloc(buffer->data, cap);
        if (data == NULL) {
            return FLX_ERR_NOMEM;
        }
        buffer->data = data;
        buffer->cap = cap;
    }
    *ret_room = buffer->data + buffer->len;
    return FLX_OK;
}

flx_status flx_buffer_append(flx_buffer *buffer, const void *bytes, size_t len)
{
    uint8_t *room = NULL;
    const flx_status status = flx_buffer_reserve(buffer, len, &room);
    if (status == FLX_OK && len > 0) {
        memcpy(room, bytes, len);
        buffer->len += len;
    }
    return status;
}

flx_status flx_buffer_append_text(flx_buffer *buffer, const char *text)
{
    return flx_buffer_append(buffer, text, strlen(text));
}

flx_status flx_buffer_printf(flx_buffer *buffer, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    const int printed = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    FLX_ASSERT(printed >= 0);
    const size_t len = (size_t)printed;
    if (len < sizeof text) {
        return flx_buffer_append(buffer, text, len);
    }
    uint8_t *room = NULL;
    const flx_status status = flx_buffer_reserve(buffer, len + 1, &room); /* with its terminator */
    if (status == FLX_OK) {
        va_start(args, format);
        (void)vsnprintf((char *)room, len + 1, format, args);
        va_end(args);
        buffer->len += len;
    }
    return status;
}

void flx_buffer_consume(flx_buffer *buffer, size_t len)
{
    FLX_ASSERT(len <= buffer->len);
    buffer->len -= len;
    if (buffer->len > 0 && len > 0) {
        memmove(buffer->data, buffer->data + len, buffer->len);
    }
}

const char *flx_buffer_text(flx_buffer *buffer)
{
    uint8_t *room = NULL;
    if (flx_buffer_reserve(buffer, 1, &room) != FLX_OK) {
        return NULL;
    }
    *room = '\0';
    return (const char *)buffer->data;
}
