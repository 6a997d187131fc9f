/* SPDX-License-Identifier: Apache-2.0 */
/* The mock broker's watches: asked and answered as the rules say; what they are told is the test's. */
#include "mock_broker_int.h"
#include "wire/flags.h"

#include <string.h>

void mock_answer_watch(mock_broker *broker)
{
    flx_msg msg = {.type = FLX_MSG_CACHE_WATCH_STARTED};
    if (broker->watch_control == NULL)
        return;
    msg.cache_watch_started.subscription_id = broker->watch_id;
    msg.cache_watch_started.resume_offset = broker->rules.watch.resume_offset;
    msg.cache_watch_started.resnapshot = broker->rules.watch.resnapshot;
    msg.cache_watch_started.has_retained_count = broker->watch_asked.retained;
    msg.cache_watch_started.retained_count = broker->rules.watch.retained_count;
    mock_send_msg(broker, broker->watch_control, &msg);
    flx_quic_stream_finish(broker->watch_control);
    broker->watch_control = NULL;
}

static void refuse_watch(mock_broker *broker, mock_session *from)
{
    const flx_msg refused = {
        .type = FLX_MSG_SUBSCRIBE_CURSOR_ERROR,
        .subscribe_cursor_error = {.reason = FLX_CURSOR_IN_FUTURE,
                                   .requested = broker->watch_asked.from_offset,
                                   .available = broker->rules.watch.resume_offset}};
    mock_send_msg(broker, from->control, &refused);
    flx_quic_stream_finish(from->control);
}

void mock_watch(mock_broker *broker, mock_session *from, const struct flx_msg_cache_watch *ask)
{
    const flx_slice text = ask->has_key ? ask->key : ask->prefix;
    mock_watch_asked *asked = &broker->watch_asked;
    FLX_ASSERT(text.len < sizeof(asked->text));
    *asked = (mock_watch_asked){.count = asked->count + 1,
                                .in_batches = from->watch_batches,
                                .is_key = ask->has_key,
                                .retained = ask->retained,
                                .has_from_offset = ask->has_from_offset,
                                .from_offset = ask->from_offset};
    if (text.len > 0)
        memcpy(asked->text, text.ptr, text.len);
    if (broker->rules.watch.is_in_future && ask->has_from_offset) {
        refuse_watch(broker, from);
        return;
    }
    broker->watch_id = broker->rules.own_ids ? 1000 + broker->ids++ : ask->subscription_id;
    broker->watch_control = from->control;
    FLX_ASSERT(flx_quic_stream_open(flx_quic_stream_conn(from->control), false, NULL,
                                    &broker->watch_out, NULL) == FLX_OK);
    const flx_msg hello = {.type = FLX_MSG_EVENT_STREAM_HELLO,
                           .event_stream_hello = {.subscription_id = broker->watch_id}};
    mock_send_msg(broker, broker->watch_out, &hello);
    if (!broker->rules.watch.is_held)
        mock_answer_watch(broker);
}

/* A stream is gone. */
void mock_end_watch(mock_broker *broker, const flx_quic_stream *quic)
{
    if (broker->watch_out == quic)
        broker->watch_out = NULL;
    if (broker->watch_control == quic)
        broker->watch_control = NULL;
}
