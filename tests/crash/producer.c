/* SPDX-License-Identifier: Apache-2.0 */
/* producer.c - see producer.h. A few batches are under way at once; after a kill all of them go again. */
#include "producer.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/slice.h"
#include "raw_client.h"
#include "wire/flags.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define OUT_MAX   4
#define POLL_MS   5 /* an answer is waited for so long before it looks whether it shall stop */
#define TOKEN_MAX 8192

typedef struct sent_batch {
    uint64_t sequence; /* the producer's */
    uint64_t message;  /* the ledger's: of the first */
    uint32_t count;
    bool was_sent; /* in an earlier session */
} sent_batch;

struct producer {
    const node *node;
    streams *all;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_wanted; /* under the lock, as are the next three */
    bool is_idle;
    bool is_over;
    _Atomic bool feeds;
    _Atomic bool stops; /* what the thread looks at while it works */
    _Atomic uint64_t repeats;
    uint64_t random;
    bool has_id; /* the rest is the thread's, and the main thread's while it is idle */
    uint64_t id;
    uint64_t next_sequence;
    sent_batch out[OUT_MAX];
    uint32_t out_count;
};

static stream_lane *lane_of(const producer *p)
{
    return &p->all->slots[STREAM_IDEMPOTENT].lanes[0];
}

static void broke(producer *p, const char *what, const char *more)
{
    (void)pthread_mutex_lock(&p->all->lock);
    ledger_break(&p->all->slots[STREAM_IDEMPOTENT].book, "idempotent producer: %s: %s", what, more);
    (void)pthread_mutex_unlock(&p->all->lock);
}

/* --- frames --- */

static void send_batch(producer *p, raw_stream *stream, sent_batch *batch)
{
    static const char *const name = "crash-idempotent";
    uint8_t bytes[STREAM_BATCH_MAX][512];
    flx_slice payloads[STREAM_BATCH_MAX];
    const stream_slot *slot = &p->all->slots[STREAM_IDEMPOTENT];
    FLX_ASSERT(slot->kind->payload_max + sizeof(uint64_t) <= sizeof bytes[0]);
    for (uint32_t i = 0; i < batch->count; i++) {
        payloads[i] = (flx_slice){
            bytes[i], ledger_payload(&slot->book, lane_of(p)->lane, batch->message + i, bytes[i])};
    }
    flx_msg msg = {.type = FLX_MSG_PUBLISH_IDEMPOTENT};
    msg.publish_idempotent.tenant_id = flx_slice_of("t1");
    msg.publish_idempotent.namespace_ = flx_slice_of("default");
    msg.publish_idempotent.stream = flx_slice_of(name);
    msg.publish_idempotent.payloads = payloads;
    msg.publish_idempotent.payloads_count = batch->count;
    msg.publish_idempotent.request_id = batch->sequence;
    msg.publish_idempotent.producer_id = p->id;
    msg.publish_idempotent.sequence = batch->sequence;
    raw_send_msg(stream, &msg);
    if (batch->was_sent) {
        atomic_fetch_add(&p->repeats, 1);
    }
    batch->was_sent = true;
}

static bool make_batch(producer *p)
{
    stream_lane *lane = lane_of(p);
    stream_slot *slot = lane->slot;
    (void)pthread_mutex_lock(&p->all->lock);
    const bool wants = (!lane->is_acked && p->out_count == 0) ||
                       (atomic_load(&p->feeds) && slot->session_bytes < slot->kind->session_bytes);
    if (wants) {
        const uint32_t count = 1 + (uint32_t)(ledger_random(&p->random) % slot->kind->batch_max);
        p->out[p->out_count++] = (sent_batch){
            p->next_sequence++, ledger_send(&slot->book, lane->lane, count), count, false};
        slot->session_bytes += (uint64_t)count * slot->kind->payload_max / 2;
        lane->out = p->out_count;
    }
    (void)pthread_mutex_unlock(&p->all->lock);
    return wants;
}

/* The answer of the oldest batch: they come in order. */
static bool take_answer(producer *p, const raw_frame *frame)
{
    const flx_msg *msg = &frame->msg;
    stream_lane *lane = lane_of(p);
    if (msg->type == FLX_MSG_PUBLISH_REFUSED) {
        char what[64];
        (void)snprintf(what, sizeof what, "sequence %" PRIu64 " is refused (%d)",
                       msg->publish_refused.request_id, (int)msg->publish_refused.reason.kind);
        broke(p, what, "its predecessors were acknowledged");
        return false;
    }
    if (msg->type != FLX_MSG_PUBLISH_OK) {
        return false; /* an error: all go again on another connection */
    }
    if (p->out_count == 0 || msg->publish_ok.request_id != p->out[0].sequence) {
        broke(p, "an answer", "nobody asked for it");
        return false;
    }
    (void)pthread_mutex_lock(&p->all->lock);
    ledger_answered(&lane->slot->book, lane->lane, p->out[0].message, LEDGER_ACKED,
                    msg->publish_ok.has_offset ? msg->publish_ok.offset : LEDGER_NO_OFFSET);
    p->out_count--;
    memmove(p->out, p->out + 1, p->out_count * sizeof p->out[0]);
    lane->out = p->out_count;
    lane->is_acked = true;
    (void)pthread_mutex_unlock(&p->all->lock);
    return true;
}

/* The next frame; false: the connection is of no use any more, or it is to stop. */
static bool next_frame(producer *p, raw_stream *stream, raw_frame *ret_frame)
{
    raw_event event = RAW_TIMEOUT;
    while (event == RAW_TIMEOUT && !atomic_load(&p->stops)) {
        event = raw_next(stream, ret_frame);
    }
    return event == RAW_FRAME;
}

static bool authenticate(producer *p, raw_stream *stream, const char *token)
{
    raw_frame frame;
    flx_msg msg = {.type = FLX_MSG_AUTH};
    msg.auth.tenant_id = flx_slice_of("t1");
    msg.auth.token = flx_slice_of(token);
    msg.auth.has_client_flags = true;
    msg.auth.has_client_features = true;
    msg.auth.client_features = FLX_FEATURE_ERROR_CODES | FLX_FEATURE_UNSUPPORTED |
                               FLX_FEATURE_IDEMPOTENT_PRODUCER | FLX_FEATURE_SEQUENCE_REUSED;
    raw_send_msg(stream, &msg);
    if (!next_frame(p, stream, &frame) || frame.msg.type != FLX_MSG_AUTH_OK) {
        return false;
    }
    if (!p->has_id) {
        flx_msg init = {.type = FLX_MSG_PRODUCER_INIT};
        init.producer_init.request_id = 1;
        raw_send_msg(stream, &init);
        if (!next_frame(p, stream, &frame) || frame.msg.type != FLX_MSG_PRODUCER_INIT_OK) {
            return false;
        }
        p->id = frame.msg.producer_init_ok.producer_id;
        p->has_id = true;
    }
    return true;
}

static void publish_until_stopped(producer *p, raw_stream *stream)
{
    raw_frame frame;
    for (uint32_t i = 0; i < p->out_count; i++) {
        send_batch(p, stream, &p->out[i]);
    }
    while (!atomic_load(&p->stops)) {
        while (p->out_count < OUT_MAX && make_batch(p)) {
            send_batch(p, stream, &p->out[p->out_count - 1]);
        }
        const raw_event event = raw_next(stream, &frame);
        if (event != RAW_TIMEOUT && (event != RAW_FRAME || !take_answer(p, &frame))) {
            return;
        }
    }
}

static void use_node(producer *p)
{
    char token[TOKEN_MAX];
    raw_client *client = NULL;
    FILE *file = fopen(p->node->token_file, "re");
    const size_t len = file != NULL ? fread(token, 1, sizeof token - 1, file) : 0;
    if (file != NULL) {
        (void)fclose(file);
    }
    token[len] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    raw_target target = {.address = p->node->address,
                         .server_name = "localhost",
                         .ca_file = p->node->ca_file,
                         .wait_ms = 2000};
    if (raw_connect(&target, NULL, &client, NULL) == FLX_OK) {
        target.wait_ms = POLL_MS;
        raw_stream *stream = raw_open(client, true);
        if (stream != NULL && authenticate(p, stream, token)) {
            publish_until_stopped(p, stream);
        }
        (void)raw_disconnect(client);
    }
}

/* --- its thread --- */

static void *run(void *arg)
{
    producer *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    while (!p->is_over) {
        if (!p->is_wanted) {
            p->is_idle = true;
            (void)pthread_cond_broadcast(&p->changed);
            (void)pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        p->is_idle = false;
        (void)pthread_mutex_unlock(&p->lock);
        use_node(p);
        (void)pthread_mutex_lock(&p->lock);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

producer *producer_new(const node *n, streams *all, uint64_t seed)
{
    producer *p = flx_calloc(1, sizeof *p);
    FLX_ASSERT(p != NULL);
    p->node = n;
    p->all = all;
    p->random = seed;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->changed, NULL);
    const int failed = pthread_create(&p->thread, NULL, run, p);
    FLX_ASSERT(failed == 0);
    return p;
}

producer *producer_free(producer *p)
{
    if (p == NULL) {
        return NULL;
    }
    producer_pause(p);
    (void)pthread_mutex_lock(&p->lock);
    p->is_over = true;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    (void)pthread_join(p->thread, NULL);
    (void)pthread_cond_destroy(&p->changed);
    (void)pthread_mutex_destroy(&p->lock);
    flx_free(p);
    return NULL;
}

void producer_begin(producer *p)
{
    p->has_id = false;
    p->next_sequence = 0;
    p->out_count = 0;
}

void producer_run(producer *p, bool feed)
{
    (void)pthread_mutex_lock(&p->lock);
    atomic_store(&p->feeds, feed);
    atomic_store(&p->stops, false);
    p->is_wanted = true;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
}

void producer_pause(producer *p)
{
    (void)pthread_mutex_lock(&p->lock);
    atomic_store(&p->stops, true);
    p->is_wanted = false;
    while (!p->is_idle) {
        (void)pthread_cond_wait(&p->changed, &p->lock);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

uint64_t producer_repeats(const producer *p)
{
    return atomic_load(&p->repeats);
}
