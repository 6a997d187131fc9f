/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.c - see ledger.h. A message is forgotten once it has its answer and was read or passed. */
#include "ledger.h"

#include "common/alloc.h"
#include "common/assert.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEAD_BYTES 16u /* u64 lane, u64 sequence */

void ledger_break(ledger *book, const char *format, ...)
{
    if (book->is_broken) {
        return;
    }
    book->is_broken = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(book->why, sizeof book->why, format, args);
    va_end(args);
}

void ledger_init(ledger *book, uint64_t seed, uint32_t shards)
{
    FLX_ASSERT(shards <= LEDGER_SHARDS_MAX);
    memset(book, 0, sizeof *book);
    book->seed = seed;
    book->shard_count = shards;
}

void ledger_done(ledger *book)
{
    for (uint32_t i = 0; i < book->lane_count; i++) {
        flx_free(book->lanes[i].messages);
    }
    for (uint32_t i = 0; i < book->shard_count; i++) {
        flx_free(book->shards[i].marks);
    }
    memset(book, 0, sizeof *book);
}

ledger_lane *ledger_lane_add(ledger *book, uint32_t shard, uint32_t payload_min,
                             uint32_t payload_max)
{
    FLX_ASSERT(book->lane_count < LEDGER_LANES_MAX && shard < book->shard_count);
    FLX_ASSERT(payload_min >= LEDGER_PAYLOAD_MIN && payload_max >= payload_min);
    ledger_lane *lane = &book->lanes[book->lane_count];
    *lane = (ledger_lane){.id = book->lane_count++,
                          .shard = shard,
                          .payload_min = payload_min,
                          .payload_max = payload_max};
    return lane;
}

/* --- what a message looks like --- */

size_t ledger_payload(const ledger *book, const ledger_lane *lane, uint64_t sequence,
                      uint8_t *ret_payload)
{
    uint64_t state = book->seed ^ ((uint64_t)lane->id << 48) ^ sequence;
    const size_t len =
        lane->payload_min + ledger_random(&state) % (lane->payload_max - lane->payload_min + 1);
    const uint64_t head[2] = {lane->id, sequence};
    memcpy(ret_payload, head, HEAD_BYTES);
    for (size_t at = HEAD_BYTES; at < len; at += sizeof state) {
        const uint64_t bits = ledger_random(&state);
        memcpy(ret_payload + at, &bits, len - at < sizeof bits ? len - at : sizeof bits);
    }
    return len;
}

/* Whose message this is; NULL, with the ledger broken, when nobody sent it. */
static ledger_lane *lane_of(ledger *book, uint32_t shard, uint64_t offset, flx_slice payload,
                            uint64_t *ret_sequence)
{
    uint64_t head[2];
    uint8_t expected[1 << 16];
    if (payload.len < HEAD_BYTES) {
        ledger_break(book, "shard %u offset %" PRIu64 ": %zu bytes that nobody sent", shard, offset,
                     payload.len);
        return NULL;
    }
    memcpy(head, payload.ptr, HEAD_BYTES);
    if (head[0] >= book->lane_count || book->lanes[head[0]].shard != shard) {
        ledger_break(book, "shard %u offset %" PRIu64 ": a message of lane %" PRIu64, shard, offset,
                     head[0]);
        return NULL;
    }
    ledger_lane *lane = &book->lanes[head[0]];
    FLX_ASSERT(lane->payload_max + sizeof(uint64_t) <= sizeof expected);
    const size_t len = ledger_payload(book, lane, head[1], expected);
    if (len != payload.len || memcmp(expected, payload.ptr, len) != 0) {
        ledger_break(book,
                     "shard %u offset %" PRIu64 ": lane %u message %" PRIu64 " has other bytes",
                     shard, offset, lane->id, head[1]);
        return NULL;
    }
    *ret_sequence = head[1];
    return lane;
}

static uint32_t mark_of(const ledger_lane *lane, uint64_t sequence)
{
    uint64_t state = ((uint64_t)lane->id << 48) ^ sequence;
    return (uint32_t)ledger_random(&state);
}

/* --- sending and answers --- */

static void *grown(void *items, size_t *cap, size_t needed, size_t size)
{
    if (needed > *cap) {
        *cap = needed * 2 > 256 ? needed * 2 : 256;
        items = flx_realloc(items, *cap * size);
        FLX_ASSERT(items != NULL);
    }
    return items;
}

static ledger_message *message_at(const ledger_lane *lane, uint64_t sequence)
{
    FLX_ASSERT(sequence >= lane->first && sequence < lane->first + lane->count);
    return &lane->messages[sequence - lane->first];
}

uint64_t ledger_send(ledger *book, ledger_lane *lane, uint32_t count)
{
    const uint64_t sequence = lane->first + lane->count;
    lane->messages = grown(lane->messages, &lane->cap, lane->count + count, sizeof *lane->messages);
    for (uint32_t i = 0; i < count; i++) {
        lane->messages[lane->count++] = (ledger_message){
            .offset = LEDGER_NO_OFFSET, .session = book->session, .left = count - 1 - i};
    }
    book->counts.sent += count;
    return sequence;
}

static bool is_settled(const ledger_message *message)
{
    return message->answer == LEDGER_REFUSED ||
           (message->answer != LEDGER_OUT && (message->is_read || message->is_passed));
}

static void forget_settled(ledger_lane *lane)
{
    size_t settled = 0;
    while (settled < lane->count && lane->first + settled < lane->next_read &&
           is_settled(&lane->messages[settled])) {
        settled++;
    }
    if (settled >= 256 || settled == lane->count) {
        lane->count -= settled;
        lane->first += settled;
        if (lane->count > 0) {
            memmove(lane->messages, lane->messages + settled, lane->count * sizeof *lane->messages);
        }
    }
}

static void take_answer(ledger *book, ledger_lane *lane, uint64_t sequence, ledger_answer answer,
                        uint64_t offset)
{
    ledger_message *message = message_at(lane, sequence);
    FLX_ASSERT(message->answer == LEDGER_OUT);
    message->answer = (uint8_t)answer;
    switch (answer) {
    case LEDGER_ACKED:
        book->counts.acked++;
        if (message->is_passed) {
            ledger_break(book,
                         "lost: lane %u message %" PRIu64
                         " was acknowledged, and is not where its lane was read",
                         lane->id, sequence);
        } else if (message->is_read && offset != LEDGER_NO_OFFSET && offset != message->offset) {
            ledger_break(book,
                         "lane %u message %" PRIu64 " was acknowledged at %" PRIu64
                         " and read at %" PRIu64,
                         lane->id, sequence, offset, message->offset);
        } else if (!message->is_read) {
            message->offset = offset;
        }
        break;
    case LEDGER_REFUSED:
        book->counts.refused++;
        if (message->is_read) {
            ledger_break(book, "lane %u message %" PRIu64 " was refused, and is there", lane->id,
                         sequence);
        }
        break;
    default:
        book->counts.unanswered++;
        book->counts.unanswered_read += message->is_read ? 1 : 0;
        if (message->is_hole) {
            ledger_break(book,
                         "hole: lane %u message %" PRIu64
                         " is missing in front of a later one of its session",
                         lane->id, sequence);
        }
    }
}

void ledger_answered(ledger *book, ledger_lane *lane, uint64_t sequence, ledger_answer answer,
                     uint64_t offset)
{
    const uint32_t count = message_at(lane, sequence)->left + 1;
    for (uint32_t i = 0; i < count; i++) {
        take_answer(book, lane, sequence + i, answer,
                    offset == LEDGER_NO_OFFSET ? offset : offset + i);
    }
    forget_settled(lane);
}

void ledger_end_session(ledger *book)
{
    for (uint32_t i = 0; i < book->lane_count; i++) {
        ledger_lane *lane = &book->lanes[i];
        for (size_t k = 0; k < lane->count && !lane->is_exact; k++) {
            if (lane->messages[k].answer == LEDGER_OUT) {
                take_answer(book, lane, lane->first + k, LEDGER_UNANSWERED, LEDGER_NO_OFFSET);
            }
        }
        forget_settled(lane);
    }
    book->session++;
}

/* --- reading --- */

/* A later message of the lane was read: what does that say of this one? */
static void pass(ledger *book, const ledger_lane *lane, uint64_t sequence, uint32_t session)
{
    ledger_message *message = message_at(lane, sequence);
    if (message->answer == LEDGER_REFUSED) {
        return;
    }
    message->is_passed = true;
    message->is_hole = message->session == session;
    if (message->answer == LEDGER_ACKED) {
        ledger_break(book,
                     "lost: lane %u message %" PRIu64 " was acknowledged at %" PRIu64
                     ", and a later one came instead",
                     lane->id, sequence, message->offset);
    } else if (lane->is_exact || (message->answer == LEDGER_UNANSWERED && message->is_hole)) {
        ledger_break(book,
                     "hole: lane %u message %" PRIu64
                     " is missing in front of a later one of its session",
                     lane->id, sequence);
    }
}

/* Messages of one batch lie side by side, all of them. */
static void follow_batch(ledger *book, ledger_shard *shard, ledger_lane *lane, uint64_t sequence)
{
    if (shard->batch_lane != NULL &&
        (shard->batch_lane != lane || shard->batch_sequence != sequence)) {
        ledger_break(book,
                     "torn: lane %u message %" PRIu64
                     " of a batch is missing, lane %u message %" PRIu64 " came",
                     shard->batch_lane->id, shard->batch_sequence, lane->id, sequence);
    }
    const uint32_t left = message_at(lane, sequence)->left;
    const bool is_inside = shard->batch_lane != NULL;
    if (!is_inside && sequence > lane->first && sequence > lane->next_read &&
        message_at(lane, sequence - 1)->left == left + 1) {
        ledger_break(book, "torn: lane %u message %" PRIu64 " came without the first of its batch",
                     lane->id, sequence);
    }
    shard->batch_lane = left > 0 ? lane : NULL;
    shard->batch_sequence = sequence + 1;
}

static void take_mark(ledger_shard *shard, uint64_t offset, uint32_t mark)
{
    shard->marks = grown(shard->marks, &shard->marks_cap, offset + 1, sizeof *shard->marks);
    shard->marks[offset] = mark;
}

void ledger_read(ledger *book, uint32_t shard_index, uint64_t offset, flx_slice payload)
{
    uint64_t sequence = 0;
    ledger_shard *shard = &book->shards[shard_index];
    if (offset != shard->next) {
        ledger_break(book, "shard %u: offset %" PRIu64 " where %" PRIu64 " was expected",
                     shard_index, offset, shard->next);
        return;
    }
    ledger_lane *lane = lane_of(book, shard_index, offset, payload, &sequence);
    if (lane == NULL) {
        return;
    }
    if (sequence < lane->next_read) {
        ledger_break(book, "twice: lane %u message %" PRIu64 " came again at %" PRIu64, lane->id,
                     sequence, offset);
        return;
    }
    if (sequence >= lane->first + lane->count) {
        ledger_break(book, "lane %u message %" PRIu64 " came and was never sent", lane->id,
                     sequence);
        return;
    }
    follow_batch(book, shard, lane, sequence);
    ledger_message *message = message_at(lane, sequence);
    for (uint64_t passed = lane->next_read; passed < sequence; passed++) {
        pass(book, lane, passed, message->session);
    }
    if (message->answer == LEDGER_REFUSED) {
        ledger_break(book, "lane %u message %" PRIu64 " was refused, and is there", lane->id,
                     sequence);
    }
    if (message->answer == LEDGER_ACKED && message->offset != LEDGER_NO_OFFSET &&
        message->offset != offset) {
        ledger_break(book,
                     "lane %u message %" PRIu64 " was acknowledged at %" PRIu64
                     " and read at %" PRIu64,
                     lane->id, sequence, message->offset, offset);
    }
    book->counts.unanswered_read += message->answer == LEDGER_UNANSWERED ? 1 : 0;
    book->counts.read++;
    message->is_read = true;
    message->offset = offset;
    lane->next_read = sequence + 1;
    take_mark(shard, offset, mark_of(lane, sequence));
    shard->next = offset + 1;
    forget_settled(lane);
}

void ledger_read_again(ledger *book, uint32_t shard_index, uint64_t offset, flx_slice payload)
{
    uint64_t sequence = 0;
    const ledger_shard *shard = &book->shards[shard_index];
    const ledger_lane *lane = lane_of(book, shard_index, offset, payload, &sequence);
    if (lane == NULL) {
        return;
    }
    if (offset >= shard->next || shard->marks[offset] != mark_of(lane, sequence)) {
        ledger_break(book,
                     "changed: shard %u offset %" PRIu64 " is lane %u message %" PRIu64
                     " now, and was another one",
                     shard_index, offset, lane->id, sequence);
    }
}

void ledger_begins_at(ledger *book, uint32_t shard_index, uint64_t start)
{
    ledger_shard *shard = &book->shards[shard_index];
    if (!shard->is_retained || start > shard->next) {
        ledger_break(book, "shard %u: begins at %" PRIu64 ", and was read up to %" PRIu64,
                     shard_index, start, shard->next);
    }
    shard->start = start;
}

bool ledger_is_even(const ledger *book)
{
    for (uint32_t i = 0; i < book->lane_count; i++) {
        const ledger_lane *lane = &book->lanes[i];
        for (size_t k = 0; k < lane->count; k++) {
            const ledger_message *message = &lane->messages[k];
            if (message->answer == LEDGER_OUT ||
                (message->answer == LEDGER_ACKED && !message->is_read)) {
                return false;
            }
        }
    }
    return true;
}
