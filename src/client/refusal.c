/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals. The broker's code says what went wrong, its retry class what may be done about it; a
 * broker that sends neither (the client did not ask, or it is old) is taken at its worst word.
 */
#include "client/refusal.h"

#include "common/error.h"

#include <string.h>

static void fill(flx_error *ret_error, uint16_t code, flx_retry retry, flx_slice message,
                 flx_slice reason, uint64_t retry_after_ms)
{
    const flx_status status =
        code == FLX_CODE_NONE ? FLX_ERR_INTERNAL : flx_code_status(code, retry);
    const char *name = flx_code_name(code);
    const int message_len = message.len < 160 ? (int)message.len : 160;
    const int reason_len = reason.len < 40 ? (int)reason.len : 40;

    memset(ret_error, 0, sizeof(*ret_error));
    (void)flx_fail(ret_error, status, "broker: %s%s%.*s%s%.*s%s", name != NULL ? name : "",
                   name != NULL ? ": " : "", message_len, (const char *)message.ptr,
                   reason_len > 0 ? " (" : "", reason_len, (const char *)reason.ptr,
                   reason_len > 0 ? ")" : "");
    for (char *at = ret_error->message; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?'; /* one line, whatever the peer wrote */
    ret_error->code = code;
    ret_error->retry = (uint8_t)retry;
    ret_error->retry_after_ms = retry_after_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)retry_after_ms;
}

static void from_words(flx_error *ret_error, flx_slice message, bool has_code, flx_slice code_word,
                       bool has_retry, flx_slice retry_word, bool has_detail,
                       const flx_msg_detail *detail)
{
    const uint16_t code = has_code ? flx_code_find(code_word) : FLX_CODE_NONE;
    flx_retry retry = has_retry ? flx_retry_find(retry_word) : FLX_RETRY_FATAL;
    if (!has_retry && code != FLX_CODE_NONE)
        retry = flx_code_retry(code);
    const flx_slice reason =
        has_detail && detail->has_reason ? detail->reason : (flx_slice){NULL, 0};
    fill(ret_error, code, retry, message, reason,
         has_detail && detail->has_retry_after_ms ? detail->retry_after_ms : 0);
    if (code == FLX_CODE_NONE && has_retry)
        ret_error->status = flx_code_status(code, retry);
}

bool flx_refusal_from_msg(const flx_msg *msg, flx_error *ret_error)
{
    const flx_slice none = {NULL, 0};
    switch (msg->type) {
    case FLX_MSG_ERROR:
        from_words(ret_error, msg->error.message, msg->error.has_code, msg->error.code,
                   msg->error.has_retry, msg->error.retry, msg->error.has_detail,
                   &msg->error.detail);
        return true;
    case FLX_MSG_PUBLISH_ERROR:
        from_words(ret_error, msg->publish_error.message, msg->publish_error.has_code,
                   msg->publish_error.code, msg->publish_error.has_retry, msg->publish_error.retry,
                   msg->publish_error.has_detail, &msg->publish_error.detail);
        return true;
    case FLX_MSG_PUBLISH_REFUSED:
        fill(ret_error, FLX_CODE_INVALID_REQUEST, FLX_RETRY_FATAL, msg->publish_refused.message,
             none, 0);
        ret_error->status = FLX_ERR_CONFLICT;
        return true;
    case FLX_MSG_NOT_LEADER:
        fill(ret_error, FLX_CODE_NOT_LEADER, FLX_RETRY_REDIRECT, msg->not_leader.node_id, none, 0);
        return true;
    case FLX_MSG_UNSUPPORTED:
        fill(ret_error, FLX_CODE_INVALID_REQUEST, FLX_RETRY_FATAL, msg->unsupported.request_type,
             none, 0);
        ret_error->status = FLX_ERR_UNSUPPORTED;
        return true;
    default:
        return false;
    }
}

void flx_refusal_from_ack(const flx_publish_ack *ack, flx_error *ret_error)
{
    const bool coded = (ack->flags & FLX_FLAG_BINARY_PUBLISH_ACK_CODE) != 0;
    fill(ret_error, coded ? ack->code : (uint16_t)FLX_CODE_NONE,
         coded ? flx_retry_from_byte(ack->retry) : FLX_RETRY_FATAL, ack->message, ack->reason,
         ack->retry_after_ms);
}

void flx_refusal_from_operation(const flx_operation_answer *answer, flx_error *ret_error)
{
    const bool is_served = answer->status != FLX_OPERATION_UNSUPPORTED;
    fill(ret_error, is_served ? answer->status : (uint16_t)FLX_CODE_INVALID_REQUEST,
         flx_retry_from_byte(answer->retry), answer->message, answer->reason,
         answer->retry_after_ms);
    if (!is_served)
        ret_error->status = FLX_ERR_UNSUPPORTED;
}

bool flx_refusal_is_harmless(const flx_error *error)
{
    return error->retry == FLX_RETRY_NOW || error->retry == FLX_RETRY_AFTER ||
           error->retry == FLX_RETRY_REDIRECT;
}

uint32_t flx_refusal_pause_ms(const flx_error *error, uint32_t fallback_ms)
{
    return error->retry_after_ms > 0 ? error->retry_after_ms : fallback_ms;
}
