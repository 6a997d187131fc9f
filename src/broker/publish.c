/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/publish.c - from a publish of any form to a shard, and back to its answer.
 *
 *     frame or message ─► route (remembered) ─► admission ─► owner here: append at once
 *                                                      └───► elsewhere: a mail with the region
 *
 * The region of a publish that must outlive its frame is copied to the transit chunk, or
 * referenced when it is large and lies in a counted chunk already.
 */
#include "wire/publish.h"

#include "broker/admission_int.h"
#include "broker/answers_int.h"
#include "broker/durable_int.h"
#include "broker/handles_int.h"
#include "broker/lane_int.h"
#include "broker/mail_int.h"
#include "broker/publish_int.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/shard.h"
#include "broker/streams_int.h"
#include "broker/view_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/inline.h"
#include "common/list.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/records.h"

#include <string.h>

#define HELD_COUNT_MAX 1024 /* publishes that wait at one `block` shard */
#define HELD_BYTES_MAX (16u << 20)

static const char text_not_found[] = "stream not found";
static const char text_forbidden[] = "permission denied";
static const char text_draining[] = "the broker is shutting down";
static const char text_overloaded[] = "too much is in flight, try again later";
static const char text_no_memory[] = "out of memory";
static const char text_disk_full[] = "the disk has no room for more, try again later";
static const char text_waits_for_room[] =
    "the disk has no room: it is written when there is, but not acknowledged";
static const char text_log_failed[] =
    "the log of the shard takes nothing; the broker's log says why";
static const char text_malformed[] = "malformed publish batch";

static flx_outcome outcome_ok(uint64_t offset)
{
    return (flx_outcome){.kind = FLX_ANSWER_OK, .value = offset};
}

static flx_outcome outcome_error(flx_code code, const char *message)
{
    return (flx_outcome){.kind = FLX_ANSWER_ERROR, .code = (uint16_t)code, .message = message};
}

static flx_outcome outcome_overloaded(const char *message)
{
    flx_outcome outcome = outcome_error(FLX_CODE_OVERLOADED, message);
    outcome.reason = "publish_queue_full";
    outcome.retry_after_ms = 100;
    return outcome;
}

static flx_outcome outcome_refused(flx_refusal_kind kind, uint64_t value, const char *message)
{
    return (flx_outcome){
        .kind = FLX_ANSWER_REFUSED, .refusal = (uint8_t)kind, .value = value, .message = message};
}

/* ---- on the owner ---- */

/* Why a durable shard takes nothing now. */
static flx_outcome outcome_of_log(flx_status status)
{
    flx_outcome outcome;
    switch (status) {
    case FLX_ERR_AGAIN:
        outcome = outcome_overloaded(text_disk_full);
        outcome.reason = "disk_full";
        outcome.retry_after_ms = 1000;
        return outcome;
    case FLX_ERR_NOMEM:
        return outcome_overloaded(text_no_memory);
    case FLX_ERR_NOT_FOUND:
        return outcome_error(FLX_CODE_NOT_FOUND, text_not_found);
    default:
        outcome = outcome_error(FLX_CODE_STORAGE, text_log_failed);
        outcome.reason = status == FLX_ERR_IO ? "log_failed" : "log_damaged";
        return outcome;
    }
}

FLX_HOT flx_outcome appended(flx_worker *worker, flx_owned *owned, const flx_batch *batch,
                             uint64_t offset)
{
    flx_stat_add(&worker->stats.published_batches, 1);
    flx_stat_add(&worker->stats.published_records, batch->count);
    flx_stat_add(&worker->stats.published_bytes, batch->region.len);
    flx_owned_touch(worker, owned);
    return outcome_ok(offset);
}

FLX_HOT flx_outcome append(flx_worker *worker, flx_owned *owned, const flx_batch *batch)
{
    uint64_t offset;
    if (owned->durable != NULL) {
        const flx_status status = flx_durable_prepare(owned->durable);
        if (status != FLX_OK) {
            return outcome_of_log(status);
        }
    }
    if (flx_shard_append(&owned->shard, batch, worker->wall_us, &offset) != FLX_OK) {
        return outcome_overloaded(text_no_memory);
    }
    return appended(worker, owned, batch, offset);
}

/* The same for a log that was prepared: it remembers who sent the batch. */
static flx_outcome append_from(flx_worker *worker, flx_owned *owned, const flx_batch *batch,
                               uint64_t producer, uint64_t sequence)
{
    uint64_t offset;
    if (flx_shard_append_from(&owned->shard, batch, producer, sequence, worker->wall_us, &offset) !=
        FLX_OK) {
        return outcome_overloaded(text_no_memory);
    }
    return appended(worker, owned, batch, offset);
}

FLX_COLD flx_outcome append_idempotent(flx_worker *worker, flx_owned *owned, const flx_batch *batch,
                                       uint64_t producer, uint64_t sequence)
{
    flx_shard *shard = &owned->shard;
    if (owned->durable != NULL) {
        const flx_status status = flx_durable_prepare_idempotent(owned->durable);
        if (status != FLX_OK) {
            return outcome_of_log(status);
        }
    }
    if (shard->producers == NULL && (shard->producers = flx_producers_new()) == NULL) {
        return outcome_overloaded(text_no_memory);
    }
    const uint64_t digest = flx_region_digest(batch->region);
    uint64_t value = 0;
    switch (flx_producers_check(shard->producers, producer, sequence, digest, &value)) {
    case FLX_PRODUCER_DUPLICATE:
        return outcome_ok(value);
    case FLX_PRODUCER_REUSED:
        return outcome_refused(FLX_REFUSAL_SEQUENCE_REUSED, value,
                               "the sequence was used for another batch");
    case FLX_PRODUCER_GAP:
        return outcome_refused(FLX_REFUSAL_SEQUENCE_GAP, value, "batches before it are missing");
    case FLX_PRODUCER_EXPIRED:
        return outcome_refused(FLX_REFUSAL_SEQUENCE_EXPIRED, 0,
                               "the sequence is older than what is remembered");
    case FLX_PRODUCER_UNKNOWN:
        return outcome_refused(FLX_REFUSAL_UNKNOWN_PRODUCER, 0, "the producer is not known here");
    case FLX_PRODUCER_APPEND:
        break;
    }
    if (flx_producers_prepare(shard->producers, producer) != FLX_OK) {
        return outcome_overloaded(text_no_memory);
    }
    const flx_outcome outcome = owned->durable == NULL
                                    ? append(worker, owned, batch)
                                    : append_from(worker, owned, batch, producer, sequence);
    if (outcome.kind == FLX_ANSWER_OK) {
        flx_producers_record(shard->producers, producer, sequence, digest, outcome.value);
    }
    return outcome;
}

FLX_HOT flx_outcome apply(flx_worker *worker, flx_owned *owned, const flx_batch *batch,
                          flx_publish_form form, uint64_t a, uint64_t b)
{
    if (form == FLX_PUBLISH_IDEMPOTENT) {
        return append_idempotent(worker, owned, batch, a, b);
    }
    if (form == FLX_PUBLISH_IF && owned->shard.next_offset != a) {
        return outcome_refused(FLX_REFUSAL_OFFSET_MISMATCH, owned->shard.next_offset,
                               "the stream has moved on");
    }
    return append(worker, owned, batch);
}

/* Whether the log is not ready for a publish of this form. */
FLX_HOT bool log_holds(const flx_owned *owned, uint8_t form)
{
    return owned->durable != NULL && flx_durable_holds(owned->durable, form);
}

/* Whether the slowest reader of a `block` stream leaves no room for one more frame. */
FLX_COLD bool slowest_holds(const flx_owned *owned)
{
    uint64_t allowance = flx_view_allowance(&owned->view);
    for (uint64_t left = owned->watchers; left != 0; left &= left - 1) {
        const uint64_t theirs = owned->progress[__builtin_ctzll(left)];
        allowance = theirs < allowance ? theirs : allowance;
    }
    return owned->shard.feed.end + 1 > allowance;
}

FLX_HOT bool readers_hold(const flx_owned *owned)
{
    return owned->view.policy == FLX_SLOW_BLOCK && slowest_holds(owned);
}

FLX_HOT bool must_hold(const flx_owned *owned, uint8_t form)
{
    return log_holds(owned, form) || readers_hold(owned);
}

/* Takes the mail's references on success. */
static bool hold(flx_worker *worker, flx_owned *owned, const flx_mail *mail)
{
    const uint32_t len = flx_range_len(&mail->publish.region);
    if (owned->held_count >= HELD_COUNT_MAX || owned->held_bytes + len > HELD_BYTES_MAX) {
        return false;
    }
    flx_held *held = flx_alloc(sizeof *held);
    if (held == NULL) {
        return false;
    }
    held->mail = *mail;
    held->next = NULL;
    held->since_ns = worker->now_ns;
    *(owned->held_last != NULL ? &owned->held_last->next : &owned->held_first) = held;
    owned->held_last = held;
    owned->held_count++;
    owned->held_bytes += len;
    if (!flx_list_is_linked(&owned->held_node)) {
        flx_list_push_back(&worker->held_shards, &owned->held_node);
    }
    return true;
}

/* Un-acked publishes that are done with, here or elsewhere. */
static void credit_take(flx_worker *worker, uint64_t bytes)
{
    FLX_ASSERT(worker->publish_bytes >= bytes);
    worker->publish_bytes -= bytes;
    flx_stat_set(&worker->stats.publish_bytes, worker->publish_bytes);
}

void flx_publish_credit(flx_worker *worker, const flx_mail *mail)
{
    credit_take(worker, mail->value);
}

static flx_asker asker_of(const flx_mail *mail)
{
    return (flx_asker){.lane = mail->lane,
                       .number = mail->number,
                       .bytes = flx_range_len(&mail->publish.region),
                       .count = mail->publish.count,
                       .from = mail->from,
                       .is_acked = mail->flag != 0};
}

/* Tells whoever published, here or elsewhere. */
void flx_publish_reply(flx_worker *worker, const flx_asker *asker, const flx_outcome *outcome)
{
    const flx_mail answer = {.kind = FLX_MAIL_PUBLISHED,
                             .from = (uint8_t)worker->index,
                             .flag = asker->is_acked,
                             .number = asker->number,
                             .lane = asker->lane,
                             .published = *outcome};
    if (!asker->is_acked && outcome->kind != FLX_ANSWER_OK) {
        const flx_drop drop =
            outcome->code == FLX_CODE_OVERLOADED ? FLX_DROP_OVERLOADED : FLX_DROP_REFUSED;
        flx_stat_add(&worker->stats.dropped[drop], asker->count);
    }
    if (asker->from == worker->index) {
        if (!asker->is_acked) {
            credit_take(worker, asker->bytes);
        }
        flx_publish_answered(worker, &answer);
    } else if (asker->is_acked) {
        flx_outbox_post(worker, asker->from, &answer);
    } else {
        worker->credit[asker->from] += asker->bytes;
    }
}

static void reply(flx_worker *worker, const flx_mail *mail, const flx_outcome *outcome)
{
    const flx_asker asker = asker_of(mail);
    flx_publish_reply(worker, &asker, outcome);
}

void flx_publish_failed(flx_worker *worker, const flx_asker *asker, flx_status status)
{
    flx_outcome outcome = outcome_of_log(status);
    if (status == FLX_ERR_AGAIN) { /* it was taken already, and may be written later */
        outcome = outcome_error(FLX_CODE_UNACKNOWLEDGED, text_waits_for_room);
        outcome.reason = "disk_full";
    }
    flx_publish_reply(worker, asker, &outcome);
}

/* Whether the answer is kept until the log has the batch. */
static bool must_wait(const flx_owned *owned, const flx_asker *asker, const flx_outcome *outcome)
{
    return owned->durable != NULL && outcome->kind == FLX_ANSWER_OK &&
           flx_durable_wait(owned->durable, asker, outcome->value);
}

static void apply_mail(flx_worker *worker, flx_owned *owned, const flx_mail *mail)
{
    const flx_batch batch = {
        .region = flx_range_slice(&mail->publish.region),
        .holder = mail->publish.region.chunk,
        .publisher = mail->publish.publisher,
        .count = mail->publish.count,
    };
    const flx_outcome outcome = apply(worker, owned, &batch, (flx_publish_form)mail->form,
                                      mail->publish.a, mail->publish.b);
    const flx_asker asker = asker_of(mail);
    if (!must_wait(owned, &asker, &outcome)) {
        flx_publish_reply(worker, &asker, &outcome);
    }
}

void flx_publish_mail(flx_worker *worker, flx_mail *mail)
{
    flx_owned *owned;
    const flx_status status = flx_owned_get(worker, mail->id, mail->shard, &owned);
    if (status != FLX_OK) {
        const flx_outcome outcome = status == FLX_ERR_NOT_FOUND
                                        ? outcome_error(FLX_CODE_NOT_FOUND, text_not_found)
                                        : outcome_overloaded(text_no_memory);
        reply(worker, mail, &outcome);
    } else if (owned->held_count == 0 && !must_hold(owned, mail->form)) {
        apply_mail(worker, owned, mail);
    } else if (hold(worker, owned, mail)) {
        return; /* the references are the held one's now */
    } else {
        const flx_outcome outcome = outcome_overloaded(text_overloaded);
        reply(worker, mail, &outcome);
    }
    flx_worker_mail_discard(mail);
}

void flx_publish_gone(flx_worker *worker, flx_mail *mail)
{
    const flx_outcome outcome = outcome_error(FLX_CODE_NOT_FOUND, text_not_found);
    reply(worker, mail, &outcome);
    flx_worker_mail_discard(mail);
}

void flx_publish_lost(flx_worker *worker, flx_mail *mail)
{
    if (mail->flag != 0) {
        const flx_outcome outcome = outcome_overloaded(text_no_memory);
        reply(worker, mail, &outcome);
    } else {
        credit_take(worker, flx_range_len(&mail->publish.region));
        flx_stat_add(&worker->stats.dropped[FLX_DROP_NOMEM], mail->publish.count);
    }
    flx_worker_mail_discard(mail);
}

static void held_pop(flx_worker *worker, flx_owned *owned)
{
    flx_held *held = owned->held_first;
    owned->held_first = held->next;
    if (held->next == NULL) {
        owned->held_last = NULL;
    }
    owned->held_count--;
    owned->held_bytes -= flx_range_len(&held->mail.publish.region);
    apply_mail(worker, owned, &held->mail);
    flx_worker_mail_discard(&held->mail);
    flx_free(held);
    /* Sealed one by one, so that the readers' room is counted in frames. */
    flx_shard_seal(&owned->shard);
    flx_owned_announce(worker, owned);
}

/* The slow readers had their time: they are overrun, and publishers go on. */
static void evict_slow(flx_worker *worker, flx_owned *owned)
{
    const uint64_t sequence = owned->shard.feed.end + 1;
    flx_view_evict(worker, &owned->view, sequence);
    for (uint64_t left = owned->watchers; left != 0; left &= left - 1) {
        const uint32_t to = (uint32_t)__builtin_ctzll(left);
        if (owned->progress[to] < sequence) {
            const flx_mail mail = {.kind = FLX_MAIL_EVICT,
                                   .from = (uint8_t)worker->index,
                                   .id = owned->view.id,
                                   .shard = owned->view.shard,
                                   .value = sequence};
            owned->progress[to] = UINT64_MAX; /* until it reports again */
            flx_outbox_post(worker, to, &mail);
        }
    }
}

/* Each publish waits its own `block_ms` at most: readers that move a little now and then must not
 * add their delays up to more than a publisher waits for its ack. */
static bool held_is_due(const flx_worker *worker, const flx_owned *owned)
{
    return worker->now_ns - owned->held_first->since_ns >=
           (uint64_t)worker->limits.block_ms * 1000000;
}

void flx_publish_retry_held(flx_worker *worker)
{
    for (flx_list *node = worker->held_shards.next; node != &worker->held_shards;) {
        flx_owned *owned = FLX_LIST_OWNER(node, flx_owned, held_node);
        node = node->next;
        while (owned->held_count > 0) {
            if (log_holds(owned, owned->held_first->mail.form)) {
                break;
            }
            if (readers_hold(owned) && held_is_due(worker, owned)) {
                evict_slow(worker, owned);
            }
            if (readers_hold(owned)) {
                break;
            }
            held_pop(worker, owned);
        }
        if (owned->held_count == 0) {
            flx_list_remove(&owned->held_node);
        }
    }
}

/* ---- where the publisher is ---- */

/* Fills in the place of an acked publish; un-acked failures are only counted. */
static void settle(flx_lane *lane, const flx_publish_request *request, flx_answer *answer,
                   const flx_outcome *outcome, flx_drop drop)
{
    if (answer != NULL) {
        answer->outcome = *outcome;
    } else if (outcome->kind != FLX_ANSWER_OK) {
        flx_stat_add(&lane->peer->worker->stats.dropped[drop], request->count);
    }
}

void flx_publish_answered(flx_worker *worker, const flx_mail *mail)
{
    flx_lane *lane = flx_handles_get(&worker->handles, mail->lane);
    if (lane == NULL) {
        return; /* its charges went with it */
    }
    flx_worker_mark_lane(worker, lane);
    if (mail->flag == 0) {
        FLX_ASSERT(lane->held > 0);
        lane->held--;
        return;
    }
    flx_answers *answers = &lane->answers;
    FLX_ASSERT(mail->number - answers->head < answers->tail - answers->head);
    flx_answer *answer = &answers->ring[mail->number & (answers->cap - 1)];
    FLX_ASSERT(answer->outcome.kind == FLX_ANSWER_WAITING);
    answer->outcome = mail->published;
    if (answer->outcome.kind == FLX_ANSWER_REFUSED &&
        answer->outcome.refusal == FLX_REFUSAL_SEQUENCE_REUSED &&
        (lane->features & FLX_FEATURE_SEQUENCE_REUSED) == 0) {
        answer->outcome.kind = FLX_ANSWER_OK;
    }
    flx_admit_release(lane, answer->bytes);
    answer->bytes = 0;
    worker->answers_out--;
}

static bool route_is(const flx_route *route, const flx_worker *worker,
                     const flx_publish_request *request)
{
    const flx_stream_info *info = route->info;
    return info != NULL && route->epoch == worker->catalog_epoch &&
           request->tenant.len == route->tenant_len &&
           request->namespace_.len == route->namespace_len &&
           request->stream.len == route->name_len &&
           memcmp(request->stream.ptr, info->name, route->name_len) == 0 &&
           memcmp(request->namespace_.ptr, info->namespace_, route->namespace_len) == 0 &&
           memcmp(request->tenant.ptr, info->tenant, route->tenant_len) == 0;
}

/* The stream of the request, looked up once as long as a lane stays with it. */
static flx_code resolve(flx_lane *lane, const flx_publish_request *request)
{
    flx_worker *worker = lane->peer->worker;
    flx_route *route = &lane->route;
    if (route_is(route, worker, request)) {
        return FLX_CODE_NONE;
    }
    flx_grants *grants = lane->identity->grants;
    const flx_slice tenant = flx_grants_tenant(grants);
    const flx_object object = {.kind = FLX_OBJECT_STREAM,
                               .tenant = request->tenant,
                               .namespace_ = request->namespace_,
                               .name = request->stream};
    if (tenant.len != request->tenant.len ||
        memcmp(tenant.ptr, request->tenant.ptr, tenant.len) != 0 ||
        !flx_grants_allow(grants, FLX_ACTION_STREAM_PUBLISH, &object)) {
        return FLX_CODE_FORBIDDEN;
    }
    const flx_stream_info *info =
        flx_catalog_stream(worker->catalog, request->tenant, request->namespace_, request->stream);
    if (info == NULL) {
        return FLX_CODE_NOT_FOUND;
    }
    *route = (flx_route){.info = info,
                         .epoch = worker->catalog_epoch,
                         .tenant_len = (uint32_t)request->tenant.len,
                         .namespace_len = (uint32_t)request->namespace_.len,
                         .name_len = (uint32_t)request->stream.len};
    return FLX_CODE_NONE;
}

/* The region as a range that outlives the frame. */
static bool region_keep(flx_worker *worker, const flx_publish_request *request,
                        flx_range *ret_range)
{
    if (flx_shard_may_share(request->holder, request->region.len)) {
        const uint32_t start = (uint32_t)(request->region.ptr - request->holder->data);
        *ret_range = (flx_range){flx_chunk_ref(request->holder), start,
                                 start + (uint32_t)request->region.len};
        return true;
    }
    return flx_scratch_copy(&worker->transit, request->region, ret_range);
}

static bool make_mail(flx_lane *lane, const flx_publish_request *request, uint32_t shard,
                      flx_mail *ret_mail)
{
    flx_worker *worker = lane->peer->worker;
    *ret_mail = (flx_mail){.kind = FLX_MAIL_PUBLISH,
                           .from = (uint8_t)worker->index,
                           .form = request->form,
                           .flag = request->is_acked,
                           .id = lane->route.info->id,
                           .shard = shard,
                           .number = lane->answers.tail - 1,
                           .lane = lane->handle};
    ret_mail->publish.a = request->a;
    ret_mail->publish.b = request->b;
    ret_mail->publish.count = request->count;
    if (!region_keep(worker, request, &ret_mail->publish.region)) {
        return false;
    }
    if (worker->record_publishers) {
        ret_mail->publish.publisher = flx_chunk_ref(lane->identity->publisher);
    }
    return true;
}

/* What an unfinished publish costs its publisher, until the answer or the credit comes back. */
static void charge(flx_lane *lane, flx_answer *answer, uint32_t len)
{
    flx_worker *worker = lane->peer->worker;
    if (answer != NULL) {
        answer->bytes = len;
        worker->answers_out++;
        flx_admit_charge(lane, len);
    } else {
        worker->publish_bytes += len;
    }
}

/* To a shard of another worker, or to wait at one of ours. */
static void send_away(flx_lane *lane, const flx_publish_request *request, flx_answer *answer,
                      uint32_t shard, uint32_t owner)
{
    flx_worker *worker = lane->peer->worker;
    const uint32_t len = (uint32_t)request->region.len;
    flx_mail mail;
    if (!make_mail(lane, request, shard, &mail)) {
        const flx_outcome outcome = outcome_overloaded(text_no_memory);
        settle(lane, request, answer, &outcome, FLX_DROP_NOMEM);
        return;
    }
    charge(lane, answer, len);
    lane->held += answer == NULL && owner == worker->index ? 1 : 0;
    if (owner == worker->index) {
        flx_publish_mail(worker, &mail);
    } else {
        flx_outbox_post(worker, owner, &mail);
    }
}

/* Whether the answer to what was appended waits for the log. */
FLX_COLD bool wait_for_log(flx_lane *lane, const flx_publish_request *request, flx_answer *answer,
                           const flx_owned *owned, const flx_outcome *outcome)
{
    const flx_asker asker = {.lane = lane->handle,
                             .number = lane->answers.tail - 1,
                             .bytes = (uint32_t)request->region.len,
                             .count = request->count,
                             .from = (uint8_t)lane->peer->worker->index,
                             .is_acked = answer != NULL};
    if (!must_wait(owned, &asker, outcome)) {
        return false;
    }
    charge(lane, answer, asker.bytes);
    lane->held += answer == NULL ? 1 : 0;
    return true;
}

static void publish_local(flx_lane *lane, const flx_publish_request *request, flx_answer *answer,
                          uint32_t shard)
{
    flx_worker *worker = lane->peer->worker;
    flx_owned *owned;
    const flx_status status = flx_owned_get(worker, lane->route.info->id, shard, &owned);
    if (status != FLX_OK) {
        const flx_outcome outcome = outcome_overloaded(text_no_memory);
        settle(lane, request, answer, &outcome, FLX_DROP_NOMEM);
        return;
    }
    if (owned->held_count > 0 || must_hold(owned, request->form)) {
        send_away(lane, request, answer, shard, worker->index);
        return;
    }
    const flx_batch batch = {
        .region = request->region,
        .holder = request->holder,
        .publisher = worker->record_publishers ? lane->identity->publisher : NULL,
        .count = request->count,
    };
    flx_outcome outcome =
        apply(worker, owned, &batch, (flx_publish_form)request->form, request->a, request->b);
    if (outcome.kind == FLX_ANSWER_REFUSED && outcome.refusal == FLX_REFUSAL_SEQUENCE_REUSED &&
        (lane->features & FLX_FEATURE_SEQUENCE_REUSED) == 0) {
        outcome.kind = FLX_ANSWER_OK;
    }
    if (owned->durable == NULL || !wait_for_log(lane, request, answer, owned, &outcome)) {
        settle(lane, request, answer, &outcome, FLX_DROP_NOMEM);
    }
}

/* An outcome that no shard was asked for; FLX_ANSWER_WAITING when one must be. */
static flx_outcome precheck(flx_lane *lane, const flx_publish_request *request)
{
    if (lane->peer->worker->is_draining) {
        return outcome_error(FLX_CODE_DRAINING, text_draining);
    }
    const flx_code code = resolve(lane, request);
    if (code != FLX_CODE_NONE) {
        return outcome_error(code, code == FLX_CODE_FORBIDDEN ? text_forbidden : text_not_found);
    }
    if (request->count == 0) {
        return request->form == FLX_PUBLISH_IF
                   ? outcome_error(FLX_CODE_INVALID_REQUEST, "an empty batch has no offset")
                   : outcome_ok(0);
    }
    flx_outcome outcome = {.kind = FLX_ANSWER_WAITING};
    const char *reason;
    uint32_t retry_after_ms;
    const flx_code refused = flx_admit(lane, request, &reason, &retry_after_ms);
    if (refused != FLX_CODE_NONE) {
        outcome = outcome_error(refused, text_overloaded);
        outcome.reason = reason;
        outcome.retry_after_ms = retry_after_ms;
    }
    return outcome;
}

static void publish(flx_lane *lane, const flx_publish_request *request)
{
    flx_worker *worker = lane->peer->worker;
    flx_answer *answer = NULL;
    if (request->is_acked) {
        answer = flx_answers_push(lane);
        if (answer == NULL) {
            flx_lane_break(lane); /* cannot even say so */
            return;
        }
        answer->request_id = request->request_id;
        answer->form = request->answer_form;
        answer->has_offset =
            (lane->flags & FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET) != 0 && request->count > 0;
        flx_worker_mark_lane(worker, lane);
    }
    const flx_outcome outcome = precheck(lane, request);
    if (outcome.kind != FLX_ANSWER_WAITING) {
        const bool is_over = outcome.code == FLX_CODE_OVERLOADED;
        settle(lane, request, answer, &outcome, is_over ? FLX_DROP_OVERLOADED : FLX_DROP_REFUSED);
        if (outcome.code == FLX_CODE_FORBIDDEN) {
            lane->is_last = true; /* the answer, then the end */
            flx_worker_mark_lane(worker, lane);
        }
        return;
    }
    const flx_stream_info *info = lane->route.info;
    const uint32_t shard =
        request->has_key ? flx_route_shard(info->routing, request->key, info->shards) : 0;
    const uint32_t owner = flx_worker_owner(info->id, shard, worker->count);
    if (owner == worker->index) {
        publish_local(lane, request, answer, shard);
    } else {
        send_away(lane, request, answer, shard, owner);
    }
}

/* A batch that is none: answered on its id when that can be read. */
static void malformed(flx_lane *lane, const flx_frame *frame)
{
    uint64_t request_id;
    if (lane->kind == FLX_LANE_PUBLISH) {
        flx_lane_break(lane);
        return;
    }
    if (!flx_publish_request_id(frame->flags, frame->payload, &request_id)) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, text_malformed);
        return;
    }
    flx_answer *answer = flx_answers_push(lane);
    if (answer == NULL) {
        flx_lane_break(lane);
        return;
    }
    answer->request_id = request_id;
    answer->form = FLX_ANSWER_BINARY;
    answer->outcome = outcome_error(FLX_CODE_INVALID_REQUEST, text_malformed);
    flx_worker_mark_lane(lane->peer->worker, lane);
}

void flx_publish_frame(flx_lane *lane, const flx_frame *frame)
{
    flx_publish decoded;
    if (flx_publish_decode(frame->flags, frame->payload, &decoded, NULL) != FLX_OK) {
        malformed(lane, frame);
        return;
    }
    const bool is_idempotent = flx_publish_is_idempotent(&decoded);
    const flx_publish_request request = {
        .tenant = decoded.tenant_id,
        .namespace_ = decoded.namespace_,
        .stream = decoded.stream,
        .key = decoded.key,
        .region = decoded.region,
        .holder = frame->chunk,
        .count = decoded.count,
        .has_key = flx_publish_is_keyed(&decoded),
        .is_acked = flx_publish_is_acked(&decoded) && lane->kind != FLX_LANE_PUBLISH,
        .form = is_idempotent ? FLX_PUBLISH_IDEMPOTENT : FLX_PUBLISH_PLAIN,
        .answer_form = is_idempotent ? FLX_ANSWER_JSON : FLX_ANSWER_BINARY,
        .request_id = decoded.request_id,
        .a = decoded.producer_id,
        .b = decoded.sequence,
    };
    publish(lane, &request);
}

/* The payloads of a JSON publish as a record region in the arena. */
static bool region_build(flx_worker *worker, const flx_slice *payloads, size_t count,
                         flx_slice *ret_region)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += flx_record_bytes(payloads[i].len);
    }
    uint8_t *region = flx_arena_alloc(&worker->arena, len == 0 ? 1 : len);
    if (region == NULL) {
        return false;
    }
    uint8_t *end = region;
    for (size_t i = 0; i < count; i++) {
        end = flx_records_put(end, payloads[i]);
    }
    FLX_ASSERT(end == region + len);
    *ret_region = (flx_slice){region, len};
    return true;
}

/* What publish and publish_batch ask for; false: refused, the error was written. */
static bool json_ack(flx_lane *lane, bool has_ack, flx_ack_mode ack, bool has_request_id,
                     flx_publish_request *request)
{
    request->is_acked = has_ack && ack != FLX_ACK_NONE && lane->kind != FLX_LANE_PUBLISH;
    if (request->is_acked && !has_request_id) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "missing request_id");
        return false;
    }
    return true;
}

#define TAKE_COMMON(message)                                                                       \
    do {                                                                                           \
        request.tenant = (message).tenant_id;                                                      \
        request.namespace_ = (message).namespace_;                                                 \
        request.stream = (message).stream;                                                         \
        request.has_key = (message).has_key;                                                       \
        request.key = (message).key;                                                               \
        request.request_id = (message).request_id;                                                 \
    } while (0)

void flx_publish_message(flx_lane *lane, const flx_msg *msg)
{
    flx_publish_request request = {.is_acked = true, .answer_form = FLX_ANSWER_JSON};
    const flx_slice *payloads = NULL;
    size_t count = 0;
    if (msg->type == FLX_MSG_PUBLISH) {
        TAKE_COMMON(msg->publish);
        payloads = &msg->publish.payload;
        count = 1;
        if (!json_ack(lane, msg->publish.has_ack, msg->publish.ack, msg->publish.has_request_id,
                      &request)) {
            return;
        }
    } else if (msg->type == FLX_MSG_PUBLISH_BATCH) {
        TAKE_COMMON(msg->publish_batch);
        payloads = msg->publish_batch.payloads;
        count = msg->publish_batch.payloads_count;
        if (!json_ack(lane, msg->publish_batch.has_ack, msg->publish_batch.ack,
                      msg->publish_batch.has_request_id, &request)) {
            return;
        }
    } else if (msg->type == FLX_MSG_PUBLISH_IDEMPOTENT) {
        TAKE_COMMON(msg->publish_idempotent);
        payloads = msg->publish_idempotent.payloads;
        count = msg->publish_idempotent.payloads_count;
        request.form = FLX_PUBLISH_IDEMPOTENT;
        request.a = msg->publish_idempotent.producer_id;
        request.b = msg->publish_idempotent.sequence;
    } else {
        TAKE_COMMON(msg->publish_if);
        payloads = msg->publish_if.payloads;
        count = msg->publish_if.payloads_count;
        request.form = FLX_PUBLISH_IF;
        request.a = msg->publish_if.expected_offset;
    }
    request.count = (uint32_t)count;
    if (!region_build(lane->peer->worker, payloads, count, &request.region)) {
        flx_lane_break(lane);
        return;
    }
    publish(lane, &request);
}
