/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/seat.c - choosing a connection; the walk is in the header.
 *
 * All questions of a tick leave in one frame, on a stream of the first connection that lives as
 * long as there are questions. A publisher also asks how many shards its stream has: with several,
 * its messages go to several workers, and it stays where it is. A cache asks that too, and then for
 * each of several shards by itself (places.h).
 */
#include "client/seat.h"

#include "client/client_int.h"
#include "client/pool.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/slice.h"
#include "wire/flags.h"

#include <assert.h>
#include <string.h>

#define PATIENCE_NS     (2 * FLX_NS_PER_S) /* for the answers; being slow is better than waiting */
#define QUESTIONS_FRAME 64U                /* seats asked for in one frame */
#define QUESTION_BYTES  2048U              /* two operations with three names each, and a key */
#define KEY_BYTES_MAX   256U               /* of a longer key the shard is not asked for */
#define FRAME_BYTES     16384U
static_assert(QUESTION_BYTES >=
                  2 * (FLX_OPERATION_HEAD_BYTES + 1 + 3 * (2 + FLX_NAME_PART_MAX) + 4) +
                      KEY_BYTES_MAX,
              "a seat's questions fit");
#define CHANNEL_BITS                                                                               \
    (FLX_FLAGS_KNOWN & ~(FLX_FLAG_EVENT_BATCH_TIMESTAMPS | FLX_FLAG_EVENT_BATCH_PUBLISHER))

/* ---- seats ---- */

void flx_seat_init(flx_seat *seat, flx_member *member, const flx_scoped_name *name,
                   flx_placement_kind kind, uint32_t shard)
{
    *seat = (flx_seat){.member = member, .name = name, .kind = kind, .shard = shard};
}

static void unlist(flx_placer *placer, flx_seat *seat)
{
    if (seat->prev != NULL)
        seat->prev->next = seat->next;
    else
        placer->first = seat->next;
    if (seat->next != NULL)
        seat->next->prev = seat->prev;
    else
        placer->last = seat->prev;
    seat->prev = seat->next = NULL;
}

static void list(flx_placer *placer, flx_seat *seat)
{
    seat->prev = placer->last;
    seat->next = NULL;
    if (placer->last != NULL)
        placer->last->next = seat;
    else
        placer->first = seat;
    placer->last = seat;
}

void flx_seat_leave(flx_seat *seat)
{
    if (seat->state == FLX_SEAT_ASKING)
        unlist(&seat->member->client->placer, seat); /* its answer will find nobody */
    if (seat->uplink != NULL && --seat->uplink->seats == 0)
        flx_uplink_rest(seat->uplink);
    seat->uplink = NULL;
    seat->is_placed = false;
    seat->state = FLX_SEAT_NONE;
}

static void sit_down(flx_seat *seat, flx_uplink *uplink, flx_seat_state state)
{
    FLX_ASSERT(seat->uplink == NULL);
    seat->uplink = uplink;
    seat->losses = uplink->losses;
    seat->state = state;
    uplink->seats++;
}

/* The broker tells, the options want it, and it did not fail a moment ago. */
static bool is_worth_asking(const flx_client *client)
{
    const flx_uplink *first = &client->uplinks[0];
    return !client->options.no_placement && !client->placer.is_defeated &&
           flx_uplink_is_up(first) && first->offer.operation_window >= 2 &&
           flx_loop_now_ns(client->loop) >= client->placer.not_before_ns;
}

bool flx_seat_may_do_better(const flx_seat *seat)
{
    return seat->state == FLX_SEAT_TAKEN && !seat->is_placed && !seat->anywhere &&
           is_worth_asking(seat->member->client);
}

flx_uplink *flx_seat_take(flx_seat *seat)
{
    flx_client *client = seat->member->client;
    flx_uplink *home = seat->member->uplink;
    if (seat->state == FLX_SEAT_TAKEN &&
        (!flx_uplink_is_up(seat->uplink) || seat->losses != seat->uplink->losses))
        flx_seat_leave(seat); /* a connection that was made anew may end elsewhere */
    if (seat->state == FLX_SEAT_WAITING && !flx_uplink_is_coming(seat->uplink)) {
        const bool is_up = flx_uplink_is_up(seat->uplink);
        const bool is_placed = is_up && seat->is_placed;
        flx_uplink *uplink = is_up ? seat->uplink : home;
        flx_seat_leave(seat);
        sit_down(seat, uplink, FLX_SEAT_TAKEN);
        seat->is_placed = is_placed;
    }
    if (seat->state == FLX_SEAT_NONE && seat->name != NULL && is_worth_asking(client)) {
        seat->state = FLX_SEAT_ASKING;
        seat->id = 0;
        list(&client->placer, seat);
    } else if (seat->state == FLX_SEAT_NONE && flx_uplink_is_up(home)) {
        sit_down(seat, home, FLX_SEAT_TAKEN);
    }
    return seat->state == FLX_SEAT_TAKEN && flx_uplink_is_up(seat->uplink) ? seat->uplink : NULL;
}

/* ---- the answer ---- */

static flx_berth berth_of(const flx_uplink *uplink, flx_quic_worker worker)
{
    flx_berth berth = {.state = FLX_BERTH_ABROAD, .seats = uplink->seats};
    if (uplink->state == FLX_UPLINK_IDLE)
        berth.state = FLX_BERTH_FREE;
    else if (flx_uplink_is_up(uplink) &&
             flx_quic_conn_worker(uplink->conn, worker.count) == worker.index)
        berth.state = FLX_BERTH_THERE;
    else if (flx_uplink_is_coming(uplink) && uplink->worker.count == worker.count &&
             uplink->worker.index == worker.index)
        berth.state = FLX_BERTH_COMING;
    return berth;
}

static flx_uplink *uplink_to(flx_client *client, flx_quic_worker worker)
{
    flx_berth berths[FLX_CONNECTIONS_MAX];
    for (uint32_t i = 0; i < client->uplink_count; i++)
        berths[i] = berth_of(&client->uplinks[i], worker);
    const size_t at = flx_pool_choose(berths, client->uplink_count, client->options.connections);
    if (at == FLX_BERTH_NONE)
        return NULL;
    flx_uplink *uplink = &client->uplinks[at];
    if (berths[at].state == FLX_BERTH_FREE) {
        uplink->worker = worker;
        flx_uplink_start(uplink);
    }
    return uplink;
}

static void settle(flx_placer *placer, flx_seat *seat, bool placed)
{
    flx_uplink *uplink = NULL;
    unlist(placer, seat);
    seat->state = FLX_SEAT_NONE;
    if (placed && !seat->anywhere && seat->answer.count > 0) {
        uplink = uplink_to(placer->client, seat->answer);
        seat->anywhere = uplink == NULL; /* there is no room for one: asking again will not help */
    }
    sit_down(seat, uplink != NULL ? uplink : seat->member->uplink, FLX_SEAT_WAITING);
    seat->is_placed = uplink != NULL;
    flx_member_poke(seat->member);
}

static void settle_all(flx_placer *placer)
{
    while (placer->first != NULL)
        settle(placer, placer->first, false);
}

static flx_seat *seat_of(const flx_placer *placer, uint32_t id)
{
    for (flx_seat *seat = placer->first; seat != NULL && seat->id != 0; seat = seat->next)
        if (seat->id == id)
            return seat;
    return NULL;
}

static void answered(flx_placer *placer, const flx_operation_answer *answer)
{
    flx_seat *seat = seat_of(placer, answer->id);
    placer->sent -= placer->sent > 0;
    if (seat == NULL)
        return; /* it has left meanwhile */
    const bool is_open = answer->status == 0 && answer->opcode == FLX_OPCODE_OPEN;
    if (is_open)
        seat->shards = answer->shards;
    if (answer->status != 0 || (is_open && answer->shards != 1))
        seat->anywhere = true;
    else if (answer->opcode == FLX_OPCODE_PLACEMENT && answer->workers <= FLX_QUIC_WORKERS_MAX)
        seat->answer = (flx_quic_worker){.count = answer->workers, .index = answer->worker};
    if (--seat->owed == 0)
        settle(placer, seat, true);
}

static void channel_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg)
{
    flx_placer *placer = channel->owner;
    flx_error error;
    uint32_t count = 0;
    if (msg != NULL)
        return; /* an `error` is kept by the channel; its end comes with `lost` */
    flx_status status = frame->flags == FLX_FLAG_OPERATIONS
                            ? flx_operations_check(frame->payload, UINT32_MAX, &count, &error)
                            : flx_fail(&error, FLX_ERR_PROTOCOL, "no frame of answers");
    flx_slice rest = frame->payload;
    flx_operation_head head;
    while (status == FLX_OK && flx_operations_next(&rest, &head)) {
        flx_operation_answer answer;
        status = flx_operation_answer_decode(&head, &answer, &error);
        if (status == FLX_OK)
            answered(placer, &answer);
    }
    if (status != FLX_OK)
        flx_channel_fail(channel, &error);
}

/* ---- the question ---- */

static bool asks_for_shards(const flx_seat *seat)
{
    return seat->kind == FLX_PLACEMENT_PUBLISH ||
           (seat->kind == FLX_PLACEMENT_CACHE && !seat->knows_shards);
}

/* OPEN is only for its answer, the number of shards; its handle is used by nobody. */
static uint8_t *put_questions(flx_seat *seat, uint8_t *to)
{
    flx_operation operation = {.opcode = FLX_OPCODE_PLACEMENT,
                               .id = seat->id,
                               .kind = (uint8_t)seat->kind,
                               .shard = seat->shard,
                               .tenant = flx_slice_of(seat->name->tenant),
                               .namespace_ = flx_slice_of(seat->name->namespace_),
                               .name = flx_slice_of(seat->name->name)};
    if (seat->key.len > 0 && seat->key.len <= KEY_BYTES_MAX) {
        operation.flags = FLX_OPERATION_KEYED;
        operation.key = seat->key;
    }
    to = flx_operation_encode(&operation, to);
    seat->owed = 1;
    if (asks_for_shards(seat)) {
        operation.opcode = FLX_OPCODE_OPEN;
        operation.kind =
            seat->kind == FLX_PLACEMENT_CACHE ? FLX_OPERATION_CACHE : FLX_OPERATION_STREAM;
        operation.shard = 0;
        to = flx_operation_encode(&operation, to);
        seat->owed++;
    }
    return to;
}

static flx_seat *first_unsent(const flx_placer *placer)
{
    flx_seat *seat = placer->first;
    while (seat != NULL && seat->id != 0)
        seat = seat->next;
    return seat;
}

/* One frame with as many questions as fit the window. False: none does. */
static bool send_frame(flx_placer *placer)
{
    const uint32_t window = placer->channel.offer.operation_window;
    flx_seat *seat = first_unsent(placer);
    if (seat == NULL || placer->sent + 2 > window)
        return false;
    flx_chunk *chunk = flx_chunk_new(FRAME_BYTES);
    if (chunk == NULL)
        return false; /* the timer ends the waiting */
    uint8_t *start = chunk->data + FLX_FRAME_HEADER_BYTES;
    uint8_t *to = start;
    for (uint32_t count = 0;
         seat != NULL && count < QUESTIONS_FRAME && placer->sent + 2 <= window &&
         (size_t)(to - chunk->data) + QUESTION_BYTES <= FRAME_BYTES;
         count++, seat = seat->next) {
        placer->next_id += placer->next_id == UINT32_MAX ? 2 : 1; /* 0 is nobody's */
        seat->id = placer->next_id;
        seat->anywhere = false;
        seat->answer = (flx_quic_worker){0};
        to = put_questions(seat, to);
        placer->sent += seat->owed;
    }
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, (uint32_t)(to - start), chunk->data);
    chunk->len = (uint32_t)(to - chunk->data);
    return flx_channel_write_take(&placer->channel, (flx_range){chunk, 0, chunk->len}) == FLX_OK;
}

static void send_all(flx_placer *placer)
{
    while (placer->channel.ready && send_frame(placer))
        ;
}

static void channel_ready(flx_channel *channel)
{
    flx_placer *placer = channel->owner;
    if (channel->offer.operation_window >= 2)
        send_all(placer);
    else
        flx_placer_give_up(placer); /* it offered them to the probe, and takes none here */
}

static void channel_lost(flx_channel *channel, const flx_error *error, bool refused)
{
    (void)error;
    (void)refused;
    flx_placer *placer = channel->owner;
    placer->sent = 0;
    settle_all(placer);
}

static const flx_channel_ops channel_ops = {
    .ready = channel_ready, .received = channel_received, .lost = channel_lost};

static void timer_fired(void *arg, uint64_t now_ns)
{
    (void)now_ns;
    flx_placer_give_up(arg);
}

/* ---- life ---- */

void flx_placer_init(flx_placer *placer, flx_client *client)
{
    *placer = (flx_placer){.client = client};
    placer->timer = (flx_timer){.fire = timer_fired, .arg = placer};
}

void flx_placer_service(flx_placer *placer)
{
    flx_client *client = placer->client;
    if (placer->first == NULL) {
        flx_loop_timer_cancel(client->loop, &placer->timer);
        flx_channel_close(&placer->channel);
        placer->sent = 0;
        return;
    }
    if (flx_channel_is_open(&placer->channel)) {
        send_all(placer);
        return;
    }
    if (flx_channel_open(&placer->channel, &client->uplinks[0], &channel_ops, placer, CHANNEL_BITS,
                         NULL) != FLX_OK ||
        flx_loop_timer_set(client->loop, &placer->timer,
                           flx_loop_now_ns(client->loop) + PATIENCE_NS) != FLX_OK)
        flx_placer_give_up(placer);
}

void flx_placer_begin(flx_placer *placer)
{
    placer->not_before_ns = 0;
    placer->is_defeated = false;
}

void flx_placer_defeat(flx_placer *placer)
{
    placer->is_defeated = true;
    flx_placer_give_up(placer);
}

void flx_placer_give_up(flx_placer *placer)
{
    flx_client *client = placer->client;
    placer->not_before_ns =
        flx_loop_now_ns(client->loop) + client->options.backoff_max_ms * FLX_NS_PER_MS;
    flx_channel_close(&placer->channel);
    placer->sent = 0;
    settle_all(placer);
}

void flx_placer_done(flx_placer *placer)
{
    flx_channel_close(&placer->channel);
    flx_loop_timer_cancel(placer->client->loop, &placer->timer);
}
