/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - messages as JSON. */
#include "record.h"

#include "common/alloc.h"
#include "timespec.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* How many bytes follow a leading byte, -1: it leads nothing. */
static int follow_count(uint8_t lead)
{
    if (lead < 0x80) {
        return 0;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return 1;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        return 2;
    }
    return lead >= 0xf0 && lead <= 0xf4 ? 3 : -1;
}

/* The second byte of some leads is narrower: no overlong forms, surrogates, or above U+10FFFF. */
static bool second_is_fine(uint8_t lead, uint8_t second)
{
    switch (lead) {
    case 0xe0:
        return second >= 0xa0;
    case 0xed:
        return second <= 0x9f;
    case 0xf0:
        return second >= 0x90;
    case 0xf4:
        return second <= 0x8f;
    default:
        return true;
    }
}

bool cli_is_text(flx_slice bytes)
{
    for (size_t i = 0; i < bytes.len;) {
        const uint8_t lead = bytes.ptr[i];
        const int follow = follow_count(lead);
        if (lead == 0 || follow < 0 || (size_t)follow >= bytes.len - i) {
            return false;
        }
        for (int j = 1; j <= follow; j++) {
            if ((bytes.ptr[i + (size_t)j] & 0xc0) != 0x80) {
                return false;
            }
        }
        if (follow > 0 && !second_is_fine(lead, bytes.ptr[i + 1])) {
            return false;
        }
        i += (size_t)follow + 1;
    }
    return true;
}

/* RFC 4648 section 4, with padding; the caller frees. */
static char *base64(flx_slice bytes)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = flx_alloc((bytes.len + 2) / 3 * 4 + 1);
    size_t len = 0;
    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < bytes.len; i += 3) {
        const size_t left = bytes.len - i;
        const uint32_t group = (uint32_t)bytes.ptr[i] << 16 |
                               (left > 1 ? (uint32_t)bytes.ptr[i + 1] << 8 : 0) |
                               (left > 2 ? (uint32_t)bytes.ptr[i + 2] : 0);
        text[len++] = letters[group >> 18 & 63];
        text[len++] = letters[group >> 12 & 63];
        text[len++] = left > 1 ? letters[group >> 6 & 63] : '=';
        text[len++] = left > 2 ? letters[group & 63] : '=';
    }
    text[len] = '\0';
    return text;
}

bool cli_json_set_bytes(json_t *object, const char *name, flx_slice bytes)
{
    if (cli_is_text(bytes)) {
        return json_object_set_new(
                   object, name,
                   json_stringn_nocheck(bytes.len > 0 ? (const char *)bytes.ptr : "", bytes.len)) ==
               0;
    }
    char member[64];
    char *text = base64(bytes);
    (void)snprintf(member, sizeof member, "%s_base64", name);
    const bool set =
        text != NULL && json_object_set_new(object, member, json_string_nocheck(text)) == 0;
    flx_free(text);
    return set;
}

json_t *cli_record_json(const flx_message *message)
{
    json_t *row = json_pack("{s:I}", "shard", (json_int_t)message->shard);
    bool whole = row != NULL;
    if (whole && message->has_offset) {
        whole = json_object_set_new(row, "offset", json_integer((json_int_t)message->offset)) == 0;
    }
    if (whole && message->timestamp_us != 0) {
        char time[40];
        cli_time_format(message->timestamp_us, time, sizeof time);
        whole = json_object_set_new(row, "time", json_string(time)) == 0;
    }
    if (whole && cli_json_set_bytes(row, "payload", message->payload)) {
        return row;
    }
    json_decref(row);
    return NULL;
}

const char *cli_gap_reason(flx_gap_reason reason)
{
    switch (reason) {
    case FLX_GAP_LAGGED:
        return "lagged";
    case FLX_GAP_TOO_OLD:
        return "too_old";
    case FLX_GAP_RESET:
        return "reset";
    case FLX_GAP_MISSING:
        return "missing";
    case FLX_GAP_DROPPED:
        return "dropped";
    case FLX_GAP_UNKNOWN:
    case FLX_GAP_NONE:
        break;
    }
    return "unknown";
}

json_t *cli_gap_json(const flx_message *message)
{
    const uint64_t missed =
        message->gap_end > message->offset ? message->gap_end - message->offset : 0;
    json_t *row =
        json_pack("{s:s, s:s, s:I}", "notice", "gap", "reason", cli_gap_reason(message->gap_reason),
                  "shard", (json_int_t)message->shard);
    if (row != NULL && message->has_offset) {
        (void)json_object_set_new(row, "offset", json_integer((json_int_t)message->offset));
        (void)json_object_set_new(row, "gap_end", json_integer((json_int_t)message->gap_end));
        (void)json_object_set_new(row, "missed", json_integer((json_int_t)missed));
    }
    return row;
}
