/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop's side of a publisher: its channel, the way out for sealed frames, the way back for
 * answers.
 *
 * Callbacks run without the lock, so they may publish. One of them may even free the publisher
 * while a frame's other callbacks are still to come: what is known about the frame that is ending
 * stands in publisher->ending, and the end of the publisher finishes it first.
 */
#include "client/publisher_int.h"
#include "client/refusal.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"

#include <string.h>

#define TAKE_COUNT     32U           /* frames or callbacks taken with one lock */
#define QUEUED_MAX     (1U << 20)    /* bytes handed to the transport and not in a packet yet */
#define WINDOW_UNSAID  256U          /* frames under way when the broker grants no window */
#define RETRY_PAUSE_MS 100U          /* after a refusal that does not say how long */
#define WINDOW_LOOK_NS FLX_NS_PER_MS /* others fill the connection's window: look again */
#define FLUSH_LOOK_NS  FLX_NS_PER_MS /* QUIC tells nobody when it is acknowledged: look again */
/* Times and publishers belong to subscriptions. */
#define CHANNEL_BITS                                                                               \
    (FLX_FLAGS_KNOWN & ~(FLX_FLAG_EVENT_BATCH_TIMESTAMPS | FLX_FLAG_EVENT_BATCH_PUBLISHER))

/* ---- endings ---- */

/* Calls back what the ending frame still owes. Lock held; let go while calling. */
static void drain_ending(flx_publisher *publisher)
{
    flx_pending_done dones[TAKE_COUNT];
    const flx_frame_end end = publisher->ending;
    while (publisher->ending.id == end.id && end.id != 0) {
        const size_t count = flx_pending_take_dones(&publisher->pending, end.id, dones, TAKE_COUNT);
        if (count == 0) {
            publisher->ending.id = 0;
            return;
        }
        (void)pthread_mutex_unlock(&publisher->mutex);
        for (size_t i = 0; i < count; i++) {
            const flx_publish_result result = {.status = end.status,
                                               .has_offset = end.has_offset,
                                               .offset = end.offset + dones[i].index,
                                               .error = end.error};
            dones[i].fn(dones[i].arg, &result);
        }
        (void)pthread_mutex_lock(&publisher->mutex);
    }
}

static void uncount(flx_publisher *publisher)
{
    flx_uplink *uplink = publisher->channel.uplink;
    if (publisher->counted == 0)
        return;
    publisher->counted--;
    if (uplink->unanswered > 0)
        uplink->unanswered--;
}

/* Ends one frame with a result. Lock held; let go while calling back. */
static void end_frame(flx_publisher *publisher, const flx_frame_end *end)
{
    FLX_ASSERT(publisher->ending.id == 0);
    const flx_pending_frame *frame = flx_pending_at(&publisher->pending, end->id);
    if (frame->state == FLX_PENDING_SENT)
        uncount(publisher);
    if (end->status == FLX_OK)
        publisher->stats.acked += frame->count;
    else
        publisher->stats.failed += frame->count;
    flx_pending_end(&publisher->pending, end->id);
    publisher->ending = *end;
    drain_ending(publisher);
}

/* Ends every frame in one state. */
static void end_all(flx_publisher *publisher, flx_pending_state state, const flx_error *error)
{
    uint64_t id = 0;
    while (flx_pending_find(&publisher->pending, state, &id)) {
        const flx_frame_end end = {.id = id, .status = error->status, .error = error};
        end_frame(publisher, &end);
    }
}

static void end_sent(flx_publisher *publisher, const flx_error *why)
{
    flx_error unknown;
    (void)flx_fail(&unknown, FLX_ERR_UNKNOWN_OUTCOME, "sent, then %.180s", why->message);
    end_all(publisher, FLX_PENDING_SENT, &unknown);
}

static void end_unsent(flx_publisher *publisher, const flx_error *why)
{
    end_all(publisher, FLX_PENDING_OPEN, why);
    end_all(publisher, FLX_PENDING_SEALED, why);
    end_all(publisher, FLX_PENDING_REFUSED, why);
}

/* Half empty: so that those who wait are woken once for many answers. */
static bool has_room(const flx_publisher *publisher)
{
    const flx_pending *pending = &publisher->pending;
    const flx_publisher_options *options = &publisher->options;
    return pending->inflight_bytes <= options->inflight_bytes_max / 2 &&
           pending->next - pending->first <= options->inflight_batches_max / 2 &&
           pending->done_next - pending->done_first <= options->inflight_count_max / 2;
}

/* Tells who waits: flushing threads, those that want room, room_fn. Lock held; let go for that. */
static void tell_room(flx_publisher *publisher)
{
    const bool room = has_room(publisher);
    const bool flushed = publisher->pending.first >= publisher->flush_end;
    if (flushed || (room && publisher->waiting > 0)) {
        publisher->flush_end = UINT64_MAX; /* who is not content sets it again */
        (void)pthread_cond_broadcast(&publisher->changed);
    }
    if (!publisher->room_wanted || !room)
        return;
    publisher->room_wanted = false;
    (void)pthread_mutex_unlock(&publisher->mutex);
    publisher->options.room_fn(publisher->options.room_arg);
    (void)pthread_mutex_lock(&publisher->mutex);
}

/* ---- answers ---- */

static bool may_retry(const flx_publisher *publisher, flx_pending_frame *frame,
                      const flx_error *error, uint64_t now_ns)
{
    const uint64_t patience_ns = publisher->options.retry_timeout_ms * FLX_NS_PER_MS;
    if (!publisher->pending.options.keep_sent || !flx_refusal_is_harmless(error))
        return false;
    if (frame->give_up_ns == 0)
        frame->give_up_ns = now_ns + patience_ns;
    return now_ns < frame->give_up_ns;
}

static void service_publisher(flx_publisher *publisher);

static void answered(flx_publisher *publisher, const flx_frame_end *end)
{
    const uint64_t now_ns = flx_loop_now_ns(publisher->member.client->loop);
    (void)pthread_mutex_lock(&publisher->mutex);
    flx_pending_frame *frame = flx_pending_find_sent(&publisher->pending, end->id);
    if (frame != NULL && end->status != FLX_OK && may_retry(publisher, frame, end->error, now_ns)) {
        const uint32_t pause_ms = flx_refusal_pause_ms(end->error, RETRY_PAUSE_MS);
        flx_pending_refuse(&publisher->pending, end->id, now_ns + pause_ms * FLX_NS_PER_MS);
        uncount(publisher);
        publisher->refusal = *end->error;
        publisher->stats.retried++;
    } else if (frame != NULL) {
        end_frame(publisher, end);
        tell_room(publisher);
    }
    (void)pthread_mutex_unlock(&publisher->mutex);
}

static void receive_ack(flx_publisher *publisher, const flx_frame *frame)
{
    flx_publish_ack ack;
    flx_error error;
    if ((frame->flags & FLX_FLAG_BINARY_PUBLISH_ACK) == 0 ||
        flx_publish_ack_decode(frame->flags, frame->payload, &ack, &error) != FLX_OK) {
        (void)flx_fail(&error, FLX_ERR_PROTOCOL, "a publish was answered with a malformed frame");
        flx_channel_fail(&publisher->channel, &error);
        return;
    }
    flx_frame_end end = {.id = ack.request_id,
                         .has_offset = (ack.flags & FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET) != 0,
                         .offset = ack.offset};
    if (!ack.ok) {
        flx_refusal_from_ack(&ack, &error);
        end.status = error.status;
        end.error = &error;
    }
    answered(publisher, &end);
}

static void receive_msg(flx_publisher *publisher, const flx_msg *msg)
{
    flx_error error;
    flx_frame_end end = {0};
    if (msg->type == FLX_MSG_PUBLISH_OK) {
        end.id = msg->publish_ok.request_id;
        end.has_offset = msg->publish_ok.has_offset;
        end.offset = end.has_offset ? msg->publish_ok.offset : 0;
    } else if (msg->type == FLX_MSG_PUBLISH_ERROR && flx_refusal_from_msg(msg, &error)) {
        end.id = msg->publish_error.request_id;
        end.status = error.status;
        end.error = &error;
    } else {
        return; /* `error` is kept by the channel and told when the broker ends it */
    }
    answered(publisher, &end);
}

static void channel_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg)
{
    flx_publisher *publisher = channel->owner;
    if (frame != NULL)
        receive_ack(publisher, frame);
    else
        receive_msg(publisher, msg);
    if (!publisher->member.ended)
        flx_member_poke(&publisher->member); /* the window has moved */
}

/* ---- the channel ---- */

static void channel_ready(flx_channel *channel)
{
    flx_publisher *publisher = channel->owner;
    flx_backoff_reset(&publisher->backoff);
    service_publisher(publisher);
}

static void channel_pull(flx_channel *channel)
{
    flx_publisher *publisher = channel->owner;
    flx_quic_stream_want_pull(channel->stream, false);
    service_publisher(publisher);
}

static void channel_lost(flx_channel *channel, const flx_error *error, bool refused)
{
    flx_publisher *publisher = channel->owner;
    flx_client *client = publisher->member.client;
    const uint32_t pause_ms = flx_backoff_next_ms(&publisher->backoff, flx_client_random(client));
    publisher->reopen_ns = flx_loop_now_ns(client->loop) + pause_ms * FLX_NS_PER_MS;
    flx_seat_leave(&publisher->seat);
    (void)pthread_mutex_lock(&publisher->mutex);
    publisher->held_bytes = 0;
    end_sent(publisher, error);
    /* The token does not do while the connection stands: what waits would wait in vain. */
    if (refused && error->retry == FLX_RETRY_FATAL)
        end_unsent(publisher, error);
    publisher->counted = 0;
    tell_room(publisher);
    (void)pthread_mutex_unlock(&publisher->mutex);
    if (!publisher->member.ended)
        flx_member_poke(&publisher->member);
}

static const flx_channel_ops channel_ops = {.ready = channel_ready,
                                            .received = channel_received,
                                            .lost = channel_lost,
                                            .pull = channel_pull};

static void open_channel(flx_publisher *publisher, uint64_t now_ns)
{
    flx_error error;
    if (flx_channel_is_open(&publisher->channel) || now_ns < publisher->reopen_ns)
        return;
    flx_uplink *uplink = flx_seat_take(&publisher->seat);
    if (uplink == NULL)
        return;
    if (flx_channel_open(&publisher->channel, uplink, &channel_ops, publisher, CHANNEL_BITS,
                         &error) == FLX_OK)
        return;
    const uint32_t pause_ms =
        flx_backoff_next_ms(&publisher->backoff, flx_client_random(publisher->member.client));
    publisher->reopen_ns = now_ns + pause_ms * FLX_NS_PER_MS;
}

/* ---- the way out ---- */

/* How many more frames the broker takes now. */
static uint32_t window_left(const flx_publisher *publisher)
{
    const flx_offer *offer = &publisher->channel.offer;
    const uint32_t window = offer->publish_window > 0 ? offer->publish_window : WINDOW_UNSAID;
    const bool per_stream =
        offer->publish_window == 0 || (offer->features & FLX_FEATURE_STREAM_PUBLISH_WINDOW) != 0;
    const uint32_t used =
        per_stream ? publisher->pending.sent_count : publisher->channel.uplink->unanswered;
    return used < window ? window - used : 0;
}

/* Ends the frames at the front that this broker cannot take. Lock held. */
static void refuse_unsupported(flx_publisher *publisher)
{
    uint16_t flags;
    while ((flags = flx_pending_next_flags(&publisher->pending)) != 0) {
        const unsigned missing = flags & ~(unsigned)publisher->channel.offer.flags &
                                 ~(unsigned)FLX_FLAG_BINARY_PUBLISH_BATCH;
        if (missing == 0)
            return;
        flx_error error;
        (void)flx_fail(&error, FLX_ERR_UNSUPPORTED, "the broker does not offer %s publishes",
                       (missing & FLX_FLAG_BINARY_PUBLISH_KEYED) != 0 ? "keyed" : "acknowledged");
        const flx_frame_end end = {
            .id = publisher->pending.unsent, .status = error.status, .error = &error};
        end_frame(publisher, &end);
        if (!flx_channel_is_open(&publisher->channel))
            return; /* a callback has freed the publisher */
    }
}

typedef struct outgoing {
    flx_range range;
    uint64_t id;
} outgoing;

/* Takes what may leave now. Lock held. */
static size_t take_frames(flx_publisher *publisher, uint64_t now_ns, outgoing *out, size_t cap)
{
    const bool acked = publisher->options.acks != FLX_ACKS_NONE;
    size_t count = 0;
    uint32_t left = acked ? window_left(publisher) : UINT32_MAX;
    size_t queued = flx_quic_stream_queued(publisher->channel.stream);
    while (count < cap && left > 0 && queued < QUEUED_MAX) {
        outgoing *at = &out[count];
        if (!flx_pending_take_retry(&publisher->pending, now_ns, &at->range, &at->id)) {
            refuse_unsupported(publisher);
            if (!flx_channel_is_open(&publisher->channel) ||
                !flx_pending_take(&publisher->pending, now_ns, &at->range, &at->id))
                break;
            publisher->stats.batches++;
        }
        queued += flx_range_len(&at->range);
        if (acked) {
            publisher->counted++;
            publisher->channel.uplink->unanswered++;
            left--;
        }
        count++;
    }
    if (queued >= QUEUED_MAX && flx_channel_is_open(&publisher->channel))
        flx_quic_stream_want_pull(publisher->channel.stream, true);
    return count;
}

/* What the transport did not take has not left: it waits for the next connection. */
static void give_back(flx_publisher *publisher, const outgoing *out, size_t first, size_t count)
{
    (void)pthread_mutex_lock(&publisher->mutex);
    while (count > first) {
        const outgoing *at = &out[--count];
        if (publisher->member.ended) {
            (void)flx_chunk_unref(at->range.chunk); /* a callback freed it; the frames have ended */
            continue;
        }
        uncount(publisher);
        flx_pending_untake(&publisher->pending, at->id, at->range);
    }
    (void)pthread_mutex_unlock(&publisher->mutex);
}

/* Without acknowledgements a frame ends when it is handed over. */
static void end_written(flx_publisher *publisher, const outgoing *out, size_t count)
{
    (void)pthread_mutex_lock(&publisher->mutex);
    for (size_t i = 0; i < count && !publisher->member.ended; i++) {
        const flx_frame_end end = {.id = out[i].id};
        end_frame(publisher, &end);
    }
    tell_room(publisher);
    (void)pthread_mutex_unlock(&publisher->mutex);
}

/* Writes frames. False: the channel is gone. */
static bool write_frames(flx_publisher *publisher, const outgoing *out, size_t count)
{
    flx_channel *channel = &publisher->channel;
    flx_status status = FLX_OK;
    size_t written = 0;
    while (written < count && status == FLX_OK && flx_channel_is_open(channel)) {
        flx_chunk *chunk =
            flx_chunk_ref(out[written].range.chunk); /* writing takes one in any case */
        status = flx_channel_write_take(channel, out[written].range);
        if (status == FLX_OK) {
            (void)flx_chunk_unref(chunk);
            written++;
        }
    }
    give_back(publisher, out, written, count);
    if (publisher->options.acks == FLX_ACKS_NONE)
        end_written(publisher, out, written);
    if (status != FLX_OK && flx_channel_is_open(channel)) {
        flx_error error;
        (void)flx_fail(&error, status, "write to the publish stream");
        flx_channel_fail(channel, &error);
    }
    return flx_channel_is_open(channel);
}

static void pump(flx_publisher *publisher, uint64_t now_ns)
{
    outgoing out[TAKE_COUNT];
    size_t count = TAKE_COUNT;
    while (count == TAKE_COUNT && publisher->channel.ready) {
        (void)pthread_mutex_lock(&publisher->mutex);
        count = take_frames(publisher, now_ns, out, TAKE_COUNT);
        (void)pthread_mutex_unlock(&publisher->mutex);
        if (!write_frames(publisher, out, count))
            return;
    }
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Seals the open frame when it has lingered enough; UINT64_MAX or when it will have. Lock held. */
static uint64_t seal_lingering(flx_publisher *publisher, uint64_t now_ns)
{
    flx_pending *pending = &publisher->pending;
    if (!pending->open)
        return UINT64_MAX;
    if (publisher->options.linger_us == 0) {
        flx_pending_seal(pending);
        return UINT64_MAX;
    }
    const uint64_t due_ns = flx_pending_at(pending, pending->next - 1)->since_ns +
                            publisher->options.linger_us * FLX_NS_PER_US;
    if (due_ns > now_ns)
        return due_ns;
    flx_pending_seal(pending);
    return UINT64_MAX;
}

/* Ends what has waited too long for a connection, or for the broker to take it. Lock held. */
static void expire_unsent(flx_publisher *publisher, uint64_t now_ns)
{
    const uint64_t patience_ns = publisher->options.unsent_timeout_ms * FLX_NS_PER_MS;
    const flx_pending_frame *frame;
    flx_error error;
    while (!publisher->channel.ready && !publisher->member.ended &&
           (frame = flx_pending_oldest_unsent(&publisher->pending)) != NULL &&
           frame->since_ns + patience_ns <= now_ns) {
        (void)flx_fail(&error, FLX_ERR_TIMEOUT, "not sent in %u ms: no connection",
                       publisher->options.unsent_timeout_ms);
        const flx_frame_end end = {
            .id = publisher->pending.unsent, .status = error.status, .error = &error};
        end_frame(publisher, &end);
    }
    uint64_t id = 0;
    while (publisher->pending.refused_count > 0 &&
           flx_pending_find(&publisher->pending, FLX_PENDING_REFUSED, &id)) {
        if (flx_pending_at(&publisher->pending, id)->give_up_ns <= now_ns) {
            const flx_error refusal = publisher->refusal;
            const flx_frame_end end = {.id = id, .status = refusal.status, .error = &refusal};
            end_frame(publisher, &end);
        }
        id++;
    }
}

/* A frame without an answer for request_timeout_ms: the stream is stuck. Lock held. */
static bool is_stuck(flx_publisher *publisher, uint64_t now_ns, uint64_t *ret_due_ns)
{
    const uint64_t patience_ns =
        publisher->member.client->options.request_timeout_ms * FLX_NS_PER_MS;
    uint64_t id = 0;
    *ret_due_ns = UINT64_MAX;
    if (publisher->pending.sent_count == 0 ||
        !flx_pending_find(&publisher->pending, FLX_PENDING_SENT, &id))
        return false;
    *ret_due_ns = flx_pending_at(&publisher->pending, id)->since_ns + patience_ns;
    return *ret_due_ns <= now_ns;
}

/* The next time something is due that no event tells. Lock held. */
static uint64_t next_due(flx_publisher *publisher, uint64_t now_ns)
{
    const flx_pending_frame *unsent = flx_pending_oldest_unsent(&publisher->pending);
    uint64_t due_ns = flx_pending_retry_due_ns(&publisher->pending);
    if (unsent != NULL && !publisher->channel.ready) {
        due_ns = earlier(due_ns,
                         unsent->since_ns + publisher->options.unsent_timeout_ms * FLX_NS_PER_MS);
        if (publisher->reopen_ns > now_ns)
            due_ns = earlier(due_ns, publisher->reopen_ns);
    }
    const bool waits_for_others =
        unsent != NULL && publisher->channel.ready && publisher->pending.sent_count == 0 &&
        publisher->options.acks != FLX_ACKS_NONE && window_left(publisher) == 0;
    if (waits_for_others)
        due_ns = earlier(due_ns, now_ns + WINDOW_LOOK_NS);
    if (publisher->held_bytes > 0 && publisher->flushing > 0)
        due_ns = earlier(due_ns, now_ns + FLUSH_LOOK_NS);
    return due_ns;
}

static void look_at_held(flx_publisher *publisher)
{
    if (publisher->options.acks != FLX_ACKS_NONE)
        return;
    publisher->held_bytes = flx_channel_is_open(&publisher->channel)
                                ? flx_quic_stream_held(publisher->channel.stream)
                                : 0;
    if (publisher->held_bytes == 0 && publisher->flushing > 0)
        (void)pthread_cond_broadcast(&publisher->changed);
}

static void fail_hopeless(flx_publisher *publisher)
{
    const flx_client *client = publisher->member.client;
    if (client->state == FLX_CLIENT_WAITING && client->error_is_final) {
        const flx_error error = client->error;
        end_unsent(publisher, &error);
    }
}

static void service_publisher(flx_publisher *publisher)
{
    flx_loop *loop = publisher->member.client->loop;
    const uint64_t now_ns = flx_loop_now_ns(loop);
    flx_error stuck;
    uint64_t answer_due_ns;

    (void)pthread_mutex_lock(&publisher->mutex);
    uint64_t due_ns = seal_lingering(publisher, now_ns);
    fail_hopeless(publisher);
    expire_unsent(publisher, now_ns);
    const bool is_over_due = is_stuck(publisher, now_ns, &answer_due_ns);
    (void)pthread_mutex_unlock(&publisher->mutex);
    if (publisher->member.ended)
        return;
    if (is_over_due) {
        (void)flx_fail(&stuck, FLX_ERR_TIMEOUT, "no answer in time");
        flx_channel_fail(&publisher->channel, &stuck);
    }
    if (!publisher->member.ended)
        open_channel(publisher, now_ns);
    pump(publisher, now_ns);
    if (publisher->member.ended)
        return;

    (void)pthread_mutex_lock(&publisher->mutex);
    look_at_held(publisher);
    tell_room(publisher);
    due_ns = earlier(due_ns, earlier(answer_due_ns, next_due(publisher, now_ns)));
    (void)pthread_mutex_unlock(&publisher->mutex);
    if (publisher->member.ended)
        return;
    /* An earlier alarm than needed costs one look; moving the timer each time would cost more. */
    if (due_ns != UINT64_MAX &&
        (publisher->timer.heap_index == 0 || due_ns < publisher->timer.deadline_ns))
        (void)flx_loop_timer_set(loop, &publisher->timer, due_ns);
}

void flx_publisher_timer_fired(void *arg, uint64_t now_ns)
{
    (void)now_ns;
    service_publisher(arg);
}

/* ---- as a member ---- */

static flx_publisher *publisher_of(flx_member *member)
{
    return (flx_publisher *)member; /* its first field */
}

static void publisher_service(flx_member *member)
{
    service_publisher(publisher_of(member));
}

static void publisher_end(flx_member *member, const flx_error *why)
{
    flx_publisher *publisher = publisher_of(member);
    flx_channel_close(&publisher->channel);
    flx_seat_leave(&publisher->seat);
    flx_loop_timer_cancel(member->client->loop, &publisher->timer);
    (void)pthread_mutex_lock(&publisher->mutex);
    publisher->closed = true;
    publisher->room_wanted = false;
    drain_ending(publisher);
    end_sent(publisher, why);
    end_unsent(publisher, why);
    publisher->held_bytes = 0;
    (void)pthread_cond_broadcast(&publisher->changed);
    (void)pthread_mutex_unlock(&publisher->mutex);
}

static void publisher_destroy(flx_member *member)
{
    flx_publisher *publisher = publisher_of(member);
    flx_pending_done_all(&publisher->pending);
    (void)pthread_cond_destroy(&publisher->changed);
    (void)pthread_mutex_destroy(&publisher->mutex);
    flx_free(publisher);
}

const flx_member_ops flx_publisher_ops = {
    .service = publisher_service, .end = publisher_end, .destroy = publisher_destroy};
