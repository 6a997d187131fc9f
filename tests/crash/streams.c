/* SPDX-License-Identifier: Apache-2.0 */
/* streams.c - see streams.h. Keys are chosen so that every shard has its lanes. */
#include "streams.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "router/router.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define AGAIN_WAIT_MS   60000
#define PUBLISH_WAIT_MS 10000

/* Rolls (segments are 1 MiB), retention, every rule of acknowledgement that survives a kill, several shards,
 * small and large batches, readers that resume and readers that are new. */
const stream_kind stream_kinds[STREAM_SLOTS] = {
    {.name = "crash-small",
     .body = "\"durable\":true",
     .shards = 1,
     .lanes = 2,
     .batch_max = 4,
     .payload_min = 16,
     .payload_max = 200,
     .out_max = 16,
     .session_bytes = 100000},
    {.name = "crash-keyed",
     .body = "\"durable\":true,\"shards\":3",
     .shards = 3,
     .lanes = 2,
     .batch_max = STREAM_BATCH_MAX,
     .payload_min = 16,
     .payload_max = 400,
     .out_max = 4,
     .session_bytes = 250000,
     .is_steady = true},
    {.name = "crash-written",
     .body = "\"durable\":true,\"shards\":2,\"ack\":\"written\",\"fsync\":\"periodic\","
             "\"fsync_interval_ms\":20",
     .shards = 2,
     .lanes = 1,
     .batch_max = 16,
     .payload_min = 16,
     .payload_max = 1000,
     .out_max = 8,
     .session_bytes = 250000},
    {.name = "crash-retained",
     .body = "\"durable\":true,\"retention\":{\"max_age_seconds\":null,\"max_size_bytes\":4194304}",
     .shards = 1,
     .lanes = 1,
     .batch_max = 4,
     .payload_min = 4000,
     .payload_max = STREAM_PAYLOAD_MAX,
     .out_max = 8,
     .session_bytes = 1500000,
     .is_retained = true,
     .is_steady = true},
    {.name = "crash-idempotent",
     .body = "\"durable\":true",
     .shards = 1,
     .lanes = 1,
     .batch_max = 8,
     .payload_min = 16,
     .payload_max = 300,
     .session_bytes = 100000},
};

void streams_init(streams *all, uint64_t seed)
{
    memset(all, 0, sizeof *all);
    (void)pthread_mutex_init(&all->lock, NULL);
    all->random = seed;
    for (int i = 0; i < STREAM_SLOTS; i++) {
        all->slots[i].kind = &stream_kinds[i];
        all->slots[i].all = all;
    }
}

static void add_counts(ledger_counts *sum, const ledger_counts *part)
{
    sum->sent += part->sent;
    sum->acked += part->acked;
    sum->refused += part->refused;
    sum->unanswered += part->unanswered;
    sum->unanswered_read += part->unanswered_read;
    sum->read += part->read;
}

void streams_done(streams *all)
{
    streams_close(all, true);
    for (int i = 0; i < STREAM_SLOTS; i++) {
        ledger_done(&all->slots[i].book);
    }
    (void)pthread_mutex_destroy(&all->lock);
}

static void add_lane(stream_slot *slot, uint32_t shard)
{
    const stream_kind *kind = slot->kind;
    stream_lane *lane = &slot->lanes[slot->lane_count];
    memset(lane, 0, sizeof *lane);
    lane->slot = slot;
    lane->lane = ledger_lane_add(&slot->book, shard, kind->payload_min, kind->payload_max);
    for (uint32_t i = 0; kind->shards > 1; i++) {
        (void)snprintf(lane->key, sizeof lane->key, "lane-%u-%u", slot->lane_count, i);
        const flx_slice key = {(const uint8_t *)lane->key, strlen(lane->key)};
        if (flx_route_shard(FLX_ROUTING_MODULO, key, kind->shards) == shard) {
            break;
        }
    }
    slot->lane_count++;
}

void streams_begin(streams *all)
{
    for (int i = 0; i < STREAM_SLOTS; i++) {
        stream_slot *slot = &all->slots[i];
        add_counts(&all->before, &slot->book.counts);
        ledger_done(&slot->book);
        ledger_init(&slot->book, ledger_random(&all->random), slot->kind->shards);
        slot->lane_count = 0;
        for (uint32_t k = 0; k < slot->kind->shards * slot->kind->lanes; k++) {
            add_lane(slot, k % slot->kind->shards);
        }
        for (uint32_t k = 0; k < slot->kind->shards; k++) {
            slot->book.shards[k].is_retained = slot->kind->is_retained;
        }
        slot->lanes[0].lane->is_exact = i == STREAM_IDEMPOTENT;
    }
}

/* --- reading --- */

static void on_message(void *arg, const flx_message *message)
{
    stream_slot *slot = arg;
    (void)pthread_mutex_lock(&slot->all->lock);
    if (message->kind == FLX_MESSAGE_RECORD && message->has_offset) {
        ledger_read(&slot->book, message->shard, message->offset, message->payload);
    } else {
        ledger_break(&slot->book,
                     "shard %u: a gap from %" PRIu64 " to %" PRIu64
                     " (reason %d), read up to %" PRIu64,
                     message->shard, message->offset, message->gap_end, (int)message->gap_reason,
                     slot->book.shards[message->shard].next);
    }
    (void)pthread_mutex_unlock(&slot->all->lock);
}

static void on_end(void *arg, const flx_error *error)
{
    stream_slot *slot = arg;
    if (error->status != FLX_ERR_CLOSED && error->status != FLX_ERR_CANCELED) {
        (void)pthread_mutex_lock(&slot->all->lock);
        ledger_break(&slot->book, "a subscription ended: %s", error->message);
        (void)pthread_mutex_unlock(&slot->all->lock);
    }
}

static flx_status open_readers(stream_slot *slot, flx_client *client, flx_error *reterr)
{
    flx_status status = FLX_OK;
    for (uint32_t i = 0; i < slot->kind->shards && status == FLX_OK; i++) {
        if (slot->readers[i] != NULL) {
            continue;
        }
        flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
        options.shard = i;
        options.from = FLX_FROM_OFFSET;
        options.offset = slot->book.shards[i].next;
        options.message_fn = on_message;
        options.end_fn = on_end;
        options.arg = slot;
        status = flx_subscriber_new(client, slot->kind->name, &options, &slot->readers[i], reterr);
    }
    return status;
}

flx_status streams_open(streams *all, flx_client *client, flx_client *steady, flx_error *reterr)
{
    flx_status status = FLX_OK;
    for (int i = 0; i < STREAM_SLOTS && status == FLX_OK; i++) {
        stream_slot *slot = &all->slots[i];
        slot->session_bytes = 0;
        status = open_readers(slot, slot->kind->is_steady ? steady : client, reterr);
        if (status == FLX_OK && i != STREAM_IDEMPOTENT) {
            status = flx_publisher_new(client, slot->kind->name, NULL, &slot->publisher, reterr);
        }
    }
    return status;
}

void streams_close(streams *all, bool forever)
{
    for (int i = 0; i < STREAM_SLOTS; i++) {
        stream_slot *slot = &all->slots[i];
        slot->publisher = flx_publisher_free(slot->publisher);
        for (uint32_t k = 0; k < slot->kind->shards; k++) {
            if (forever || !slot->kind->is_steady) {
                slot->readers[k] = flx_subscriber_free(slot->readers[k]);
            }
        }
        (void)pthread_mutex_lock(&all->lock);
        ledger_end_session(&slot->book);
        for (uint32_t k = 0; k < slot->lane_count; k++) {
            slot->lanes[k].is_acked = false;
        }
        (void)pthread_mutex_unlock(&all->lock);
    }
}

/* --- publishing --- */

typedef struct ticket {
    stream_lane *lane;
    uint64_t sequence;
} ticket;

/* What a result says of the messages; the broker says itself where it does not know. */
static ledger_answer answer_of(const flx_publish_result *result)
{
    if (result->status == FLX_OK) {
        return LEDGER_ACKED;
    }
    const bool is_unknown = result->status == FLX_ERR_UNKNOWN_OUTCOME ||
                            result->error->retry == FLX_RETRY_OUTCOME_UNKNOWN;
    return is_unknown ? LEDGER_UNANSWERED : LEDGER_REFUSED;
}

static void on_published(void *arg, const flx_publish_result *result)
{
    ticket *t = arg;
    stream_lane *lane = t->lane;
    stream_slot *slot = lane->slot;
    (void)pthread_mutex_lock(&slot->all->lock);
    ledger_answered(&slot->book, lane->lane, t->sequence, answer_of(result),
                    result->status == FLX_OK && result->has_offset ? result->offset
                                                                   : LEDGER_NO_OFFSET);
    lane->out--;
    lane->is_acked = lane->is_acked || result->status == FLX_OK;
    (void)pthread_mutex_unlock(&slot->all->lock);
    flx_free(t);
}

/* One batch of random length. Main thread; without the lock. */
static void publish_one(stream_lane *lane)
{
    static uint8_t bytes[STREAM_BATCH_MAX][STREAM_PAYLOAD_MAX + 8];
    flx_slice payloads[STREAM_BATCH_MAX];
    stream_slot *slot = lane->slot;
    streams *all = slot->all;
    const uint32_t count = 1 + (uint32_t)(ledger_random(&all->random) % slot->kind->batch_max);
    ticket *t = flx_alloc(sizeof *t);
    FLX_ASSERT(t != NULL);
    (void)pthread_mutex_lock(&all->lock);
    *t = (ticket){lane, ledger_send(&slot->book, lane->lane, count)};
    const uint64_t sequence = t->sequence;
    for (uint32_t i = 0; i < count; i++) {
        const size_t len = ledger_payload(&slot->book, lane->lane, sequence + i, bytes[i]);
        payloads[i] = (flx_slice){bytes[i], len};
        slot->session_bytes += len;
    }
    lane->out++;
    (void)pthread_mutex_unlock(&all->lock);
    const flx_slice key = {(const uint8_t *)lane->key, strlen(lane->key)};
    if (flx_publisher_publish_batch(slot->publisher, key.len > 0 ? &key : NULL, payloads, count,
                                    on_published, t, NULL) != FLX_OK) {
        (void)pthread_mutex_lock(&all->lock);
        ledger_answered(&slot->book, lane->lane, sequence, LEDGER_REFUSED, LEDGER_NO_OFFSET);
        lane->out--;
        (void)pthread_mutex_unlock(&all->lock);
        flx_free(t);
    }
}

/* Calls `publish_one` for each lane that `wants` something. */
static void each_lane(streams *all, bool (*wants)(const stream_lane *lane))
{
    for (int i = 0; i < STREAM_SLOTS; i++) {
        stream_slot *slot = &all->slots[i];
        for (uint32_t k = 0; k < slot->lane_count && slot->publisher != NULL; k++) {
            (void)pthread_mutex_lock(&all->lock);
            const bool does = wants(&slot->lanes[k]);
            (void)pthread_mutex_unlock(&all->lock);
            if (does) {
                publish_one(&slot->lanes[k]);
            }
        }
    }
}

static bool wants_first(const stream_lane *lane)
{
    return !lane->is_acked && lane->out == 0;
}

static bool has_room(const stream_lane *lane)
{
    return lane->out < lane->slot->kind->out_max &&
           lane->slot->session_bytes < lane->slot->kind->session_bytes;
}

void streams_open_lanes(streams *all)
{
    each_lane(all, wants_first);
}

void streams_feed(streams *all)
{
    each_lane(all, has_room);
}

flx_status streams_forge(streams *all, flx_error *reterr)
{
    uint8_t bytes[STREAM_PAYLOAD_MAX + 8];
    const stream_slot *slot = &all->slots[0];
    (void)pthread_mutex_lock(&all->lock);
    const size_t len = ledger_payload(&slot->book, slot->lanes[0].lane, 0, bytes);
    (void)pthread_mutex_unlock(&all->lock);
    return flx_publisher_publish_wait(slot->publisher, NULL, (flx_slice){bytes, len},
                                      PUBLISH_WAIT_MS, NULL, reterr);
}

void streams_publish_unread(streams *all)
{
    stream_slot *slot = &all->slots[0];
    slot->readers[0] = flx_subscriber_free(slot->readers[0]);
    publish_one(&slot->lanes[0]);
}

/* --- how it stands --- */

static bool are_all(streams *all, bool (*check)(const stream_slot *slot))
{
    bool yes = true;
    (void)pthread_mutex_lock(&all->lock);
    for (int i = 0; i < STREAM_SLOTS && yes; i++) {
        yes = check(&all->slots[i]);
    }
    (void)pthread_mutex_unlock(&all->lock);
    return yes;
}

static bool is_even(const stream_slot *slot)
{
    for (uint32_t i = 0; i < slot->lane_count; i++) {
        if (!slot->lanes[i].is_acked) {
            return false;
        }
    }
    return ledger_is_even(&slot->book);
}

static bool is_answered(const stream_slot *slot)
{
    for (uint32_t i = 0; i < slot->lane_count; i++) {
        if (slot->lanes[i].out > 0) {
            return false;
        }
    }
    return true;
}

static bool is_quiet(const stream_slot *slot)
{
    return ledger_is_even(&slot->book);
}

bool streams_are_even(streams *all)
{
    return are_all(all, is_even);
}

bool streams_are_quiet(streams *all)
{
    return are_all(all, is_quiet);
}

bool streams_are_answered(streams *all)
{
    return are_all(all, is_answered);
}

const char *streams_why(streams *all, char *buffer, size_t cap)
{
    const char *why = NULL;
    (void)pthread_mutex_lock(&all->lock);
    for (int i = 0; i < STREAM_SLOTS && why == NULL; i++) {
        if (all->slots[i].book.is_broken) {
            (void)snprintf(buffer, cap, "%s: %s", all->slots[i].kind->name, all->slots[i].book.why);
            why = buffer;
        }
    }
    (void)pthread_mutex_unlock(&all->lock);
    return why;
}

void streams_explain(streams *all)
{
    (void)pthread_mutex_lock(&all->lock);
    for (int i = 0; i < STREAM_SLOTS; i++) {
        const stream_slot *slot = &all->slots[i];
        for (uint32_t k = 0; k < slot->lane_count; k++) {
            const ledger_lane *lane = slot->lanes[k].lane;
            uint64_t missing = 0;
            for (size_t m = 0; m < lane->count; m++) {
                missing += lane->messages[m].answer == LEDGER_ACKED && !lane->messages[m].is_read;
            }
            (void)fprintf(stderr,
                          "crash: %s lane %u, shard %u: sent %" PRIu64 ", read below %" PRIu64
                          ", acknowledged and not read %" PRIu64 ", under way %u, %s\n",
                          slot->kind->name, lane->id, lane->shard, lane->first + lane->count,
                          lane->next_read, missing, slot->lanes[k].out,
                          slot->lanes[k].is_acked ? "acknowledged" : "no ack in this session");
        }
    }
    (void)pthread_mutex_unlock(&all->lock);
}

ledger_counts streams_counts(streams *all)
{
    (void)pthread_mutex_lock(&all->lock);
    ledger_counts sum = all->before;
    for (int i = 0; i < STREAM_SLOTS; i++) {
        add_counts(&sum, &all->slots[i].book.counts);
    }
    (void)pthread_mutex_unlock(&all->lock);
    return sum;
}

/* --- everything once more --- */

typedef struct rereading {
    stream_slot *slot;
    uint64_t next;
    bool has_begun;
} rereading;

static void on_message_again(void *arg, const flx_message *message)
{
    rereading *again = arg;
    ledger *book = &again->slot->book;
    (void)pthread_mutex_lock(&again->slot->all->lock);
    if (message->kind != FLX_MESSAGE_RECORD) {
        ledger_break(book, "shard %u, read again: a gap at %" PRIu64, message->shard,
                     message->offset);
    } else if (!again->has_begun) {
        if (message->offset != 0) {
            ledger_begins_at(book, message->shard, message->offset);
        }
        again->has_begun = true;
    } else if (message->offset != again->next) {
        ledger_break(book,
                     "shard %u, read again: offset %" PRIu64 " where %" PRIu64 " was expected",
                     message->shard, message->offset, again->next);
    }
    if (!book->is_broken) {
        ledger_read_again(book, message->shard, message->offset, message->payload);
    }
    again->next = message->offset + 1;
    (void)pthread_mutex_unlock(&again->slot->all->lock);
}

static flx_status read_shard_again(stream_slot *slot, uint32_t shard, flx_client *client,
                                   flx_error *reterr)
{
    rereading again = {.slot = slot};
    flx_subscriber *reader = NULL;
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    options.shard = shard;
    options.from = FLX_FROM_EARLIEST;
    options.message_fn = on_message_again;
    options.arg = &again;
    const uint64_t end = slot->book.shards[shard].next;
    flx_status status = flx_subscriber_new(client, slot->kind->name, &options, &reader, reterr);
    const uint64_t start_ns = flx_clock_monotonic_ns();
    bool is_done = status != FLX_OK || end == 0;
    while (!is_done) {
        const struct timespec pause = {0, 1000000};
        (void)nanosleep(&pause, NULL);
        (void)pthread_mutex_lock(&slot->all->lock);
        is_done = again.next >= end || slot->book.is_broken;
        (void)pthread_mutex_unlock(&slot->all->lock);
        if (!is_done && flx_clock_monotonic_ns() - start_ns > AGAIN_WAIT_MS * FLX_NS_PER_MS) {
            status = flx_fail(reterr, FLX_ERR_TIMEOUT,
                              "%s shard %u: read again up to %" PRIu64 " of %" PRIu64,
                              slot->kind->name, shard, again.next, end);
            is_done = true;
        }
    }
    (void)flx_subscriber_free(reader);
    return status;
}

flx_status streams_read_again(streams *all, flx_client *client, flx_error *reterr)
{
    flx_status status = FLX_OK;
    for (int i = 0; i < STREAM_SLOTS; i++) {
        for (uint32_t k = 0; k < all->slots[i].kind->shards && status == FLX_OK; k++) {
            status = read_shard_again(&all->slots[i], k, client, reterr);
        }
    }
    return status;
}
