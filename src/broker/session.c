/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/session.c - what a frame means: authentication, negotiation, and the way to each request.
 *
 * A handler may close the lane; the frame is then gone, so closing is the last thing it does.
 */
#include "broker/admission_int.h"
#include "broker/handles_int.h"
#include "broker/history_int.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/op_batch_int.h"
#include "broker/operations_int.h"
#include "broker/publish_int.h"
#include "broker/query_int.h"
#include "broker/sealed.h"
#include "broker/session_int.h"
#include "broker/snapshot_int.h"
#include "broker/sub_int.h"
#include "broker/watch_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/list.h"
#include "common/slice.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <string.h>

/* What brokers of this version send or accept. Not sent: owner hints (a publish is never forwarded
 * to another node) and skipped offsets (memory shards have none). */
#define SERVER_FLAGS                                                                               \
    ((uint16_t)(FLX_FLAGS_KNOWN &                                                                  \
                ~(FLX_FLAG_BINARY_PUBLISH_ACK_OWNER | FLX_FLAG_EVENT_BATCH_SKIPPED)))

#define SERVER_FEATURES                                                                            \
    (FLX_FEATURE_CACHE_DELETE | FLX_FEATURE_STREAM_SHARDS | FLX_FEATURE_IDEMPOTENT_PRODUCER |      \
     FLX_FEATURE_CACHE_SHARDS | FLX_FEATURE_ERROR_CODES | FLX_FEATURE_UNSUPPORTED |                \
     FLX_FEATURE_SEQUENCE_REUSED | FLX_FEATURE_SHARD_OWNERS | FLX_FEATURE_ACK_ON_COMMIT |          \
     FLX_FEATURE_SUBSCRIPTION_LAGGED | FLX_FEATURE_CACHE_CONDITIONAL |                             \
     FLX_FEATURE_RECORD_TIMESTAMPS | FLX_FEATURE_PUBLISH_CONDITIONAL | FLX_FEATURE_STREAM_READ |   \
     FLX_FEATURE_SUBSCRIBE_QUEUE | FLX_FEATURE_CACHE_WATCH | FLX_FEATURE_CACHE_WATCH_RETAINED |    \
     FLX_FEATURE_COUNTERS)

/* ---- authentication ---- */

/* The identity of these grants on this connection. Takes the reference; NULL when memory is out. */
static flx_identity *identity_get(flx_peer *peer, flx_grants *grants)
{
    const flx_slice subject = flx_grants_subject(grants);
    for (flx_list *node = peer->identities.next; node != &peer->identities; node = node->next) {
        flx_identity *known = FLX_LIST_OWNER(node, flx_identity, node);
        if (known->grants == grants) {
            flx_grants_unref(grants);
            known->refs++;
            return known;
        }
    }
    flx_identity *identity = flx_calloc(1, sizeof *identity);
    flx_chunk *publisher = flx_chunk_new(subject.len == 0 ? 1 : subject.len);
    if (identity == NULL || publisher == NULL) {
        flx_free(identity);
        flx_chunk_unref(publisher);
        flx_grants_unref(grants);
        return NULL;
    }
    /* A publisher's name on the wire has a length byte. */
    publisher->len = (uint32_t)(subject.len > UINT8_MAX ? UINT8_MAX : subject.len);
    if (subject.len > 0) {
        memcpy(publisher->data, subject.ptr, publisher->len);
    }
    identity->grants = grants;
    identity->publisher = publisher;
    identity->refs = 1;
    flx_list_push_back(&peer->identities, &identity->node);
    return identity;
}

static void answer_auth(flx_lane *lane, bool is_negotiated)
{
    const flx_worker *worker = lane->peer->worker;
    flx_msg msg = {.type = FLX_MSG_OK};
    if (is_negotiated) {
        const bool has_window = worker->limits.publish_window != UINT32_MAX;
        msg.type = FLX_MSG_AUTH_OK;
        msg.auth_ok.server_flags = SERVER_FLAGS;
        if (!worker->record_publishers) {
            msg.auth_ok.server_flags &= (uint16_t)~FLX_FLAG_EVENT_BATCH_PUBLISHER;
        }
        msg.auth_ok.has_server_features = true;
        msg.auth_ok.server_features = SERVER_FEATURES;
        if (has_window) {
            msg.auth_ok.server_features |=
                FLX_FEATURE_PUBLISH_PIPELINE | FLX_FEATURE_STREAM_PUBLISH_WINDOW;
            msg.auth_ok.has_publish_window = (lane->features & FLX_FEATURE_PUBLISH_PIPELINE) != 0;
            msg.auth_ok.publish_window = worker->limits.publish_window;
        }
        if (lane->has_operations || lane->hears_progress || lane->hears_batches) {
            msg.auth_ok.server_features |= FLX_FEATURE_EXTENDED;
            msg.auth_ok.has_server_features_hi = true;
            msg.auth_ok.server_features_hi =
                (lane->has_operations ? FLX_FEATURE_HI_OPERATIONS : 0) |
                (lane->hears_progress ? FLX_FEATURE_HI_WATCH_PROGRESS : 0) |
                (lane->hears_batches ? FLX_FEATURE_HI_WATCH_BATCHES : 0);
        }
        if (lane->has_operations) {
            msg.auth_ok.has_operation_window = true;
            msg.auth_ok.operation_window = worker->limits.operation_window;
        }
        if (worker->listener_port_count > 1) {
            msg.auth_ok.listener_ports = worker->listener_ports;
            msg.auth_ok.listener_ports_count = worker->listener_port_count;
        }
    }
    flx_lane_send(lane, &msg);
}

static void authenticated(flx_lane *lane, flx_identity *identity, bool is_negotiated)
{
    flx_peer *peer = lane->peer;
    lane->identity = identity;
    flx_lane_authenticated(lane);
    flx_stat_add(&peer->worker->stats.auth_ok, 1);
    if (!peer->is_authenticated) {
        peer->is_authenticated = true;
        flx_source_change(peer->worker, peer->source, false, true);
    }
    if (lane->has_operations) {
        flx_frame_reader_allow_extension(&lane->reader);
    }
    if (lane->kind == FLX_LANE_CONTROL) {
        answer_auth(lane, is_negotiated);
    }
}

/* The extended word counts with its marker, and a one-way lane negotiates nothing. */
static uint32_t extended_offer(const flx_lane *lane, const struct flx_msg_auth *auth)
{
    const bool counts = lane->kind == FLX_LANE_CONTROL && auth->has_client_flags &&
                        (lane->features & FLX_FEATURE_EXTENDED) != 0 &&
                        auth->has_client_features_hi;
    return counts ? auth->client_features_hi : 0;
}

static void session_auth(flx_lane *lane, const struct flx_msg_auth *auth)
{
    flx_worker *worker = lane->peer->worker;
    if (lane->state == FLX_LANE_OPEN) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "already authenticated");
        flx_lane_close(lane);
        return;
    }
    /* The offer is read first: it says whether a refusal may carry a code. */
    lane->flags = auth->has_client_flags ? auth->client_flags : (uint16_t)FLX_FLAGS_ORIGINAL_V1;
    lane->features = auth->has_client_features ? auth->client_features : 0;
    const uint32_t extended = extended_offer(lane, auth);
    lane->has_operations = worker->limits.operation_window != UINT32_MAX &&
                           (extended & FLX_FEATURE_HI_OPERATIONS) != 0;
    lane->hears_progress = (extended & FLX_FEATURE_HI_WATCH_PROGRESS) != 0;
    lane->hears_batches = (extended & FLX_FEATURE_HI_WATCH_BATCHES) != 0;
    if (worker->is_draining) {
        if ((lane->features & FLX_FEATURE_ERROR_CODES) != 0) {
            flx_lane_error(lane, FLX_CODE_DRAINING, "the broker is shutting down");
            flx_lane_close(lane);
        }
        return; /* others hear nothing until the connection closes */
    }
    flx_grants *grants;
    flx_error error;
    const flx_status status = flx_verifier_check(worker->verifier, auth->token, auth->tenant_id,
                                                 worker->wall_us, &grants, &error);
    flx_identity *identity = NULL;
    if (status == FLX_OK) {
        identity = identity_get(lane->peer, grants);
    }
    if (identity == NULL) {
        const bool is_refused = status == FLX_ERR_UNAUTHENTICATED;
        flx_stat_add(&worker->stats.auth_failed, 1);
        flx_lane_error(lane, is_refused ? FLX_CODE_UNAUTHENTICATED : FLX_CODE_INTERNAL,
                       is_refused ? error.message : "the token could not be checked now");
        flx_lane_close(lane);
        return;
    }
    authenticated(lane, identity, auth->has_client_flags);
}

/* ---- names and permissions ---- */

bool flx_session_allows(const flx_lane *lane, const flx_object *object, flx_action action)
{
    flx_grants *grants = lane->identity->grants;
    return flx_slice_equal(object->tenant, flx_grants_tenant(grants)) &&
           flx_grants_allow(grants, action, object);
}

static bool check_access(flx_lane *lane, const flx_object *object, flx_action action)
{
    if (flx_session_allows(lane, object, action)) {
        return true;
    }
    flx_lane_error(lane, FLX_CODE_FORBIDDEN, "permission denied");
    flx_lane_close(lane);
    return false;
}

const flx_stream_info *flx_session_stream(flx_lane *lane, flx_slice tenant, flx_slice namespace_,
                                          flx_slice name, flx_action action)
{
    const flx_object object = {
        .kind = FLX_OBJECT_STREAM, .tenant = tenant, .namespace_ = namespace_, .name = name};
    if (!check_access(lane, &object, action)) {
        return NULL;
    }
    const flx_stream_info *info =
        flx_catalog_stream(lane->peer->worker->catalog, tenant, namespace_, name);
    if (info == NULL) {
        flx_lane_error(lane, FLX_CODE_NOT_FOUND, "stream not found");
    }
    return info;
}

const flx_cache_info *flx_session_cache(flx_lane *lane, flx_slice tenant, flx_slice namespace_,
                                        flx_slice name, flx_action action)
{
    const flx_object object = {
        .kind = FLX_OBJECT_CACHE, .tenant = tenant, .namespace_ = namespace_, .name = name};
    if (!check_access(lane, &object, action)) {
        return NULL;
    }
    const flx_cache_info *info =
        flx_catalog_cache(lane->peer->worker->catalog, tenant, namespace_, name);
    if (info == NULL) {
        flx_lane_error(lane, FLX_CODE_NOT_FOUND, "cache not found");
        flx_lane_close(lane);
    }
    return info;
}

/* ---- dispatch ---- */

static void unsupported(flx_lane *lane, flx_slice type, const flx_slice *extension,
                        const uint64_t *request_id)
{
    if (lane->kind == FLX_LANE_PUBLISH || (lane->features & FLX_FEATURE_UNSUPPORTED) == 0) {
        flx_stat_add(&lane->peer->worker->stats.protocol_errors, 1);
        flx_lane_close(lane);
        return;
    }
    flx_msg msg = {.type = FLX_MSG_UNSUPPORTED};
    msg.unsupported.request_type = type;
    msg.unsupported.has_extension = extension != NULL;
    if (extension != NULL) {
        msg.unsupported.extension = *extension;
    }
    msg.unsupported.has_request_id = request_id != NULL;
    msg.unsupported.request_id = request_id != NULL ? *request_id : 0;
    flx_lane_send(lane, &msg);
}

/* A request of the protocol that this broker does not serve; its id is a field of most of them. */
static uint64_t request_id_of(const flx_msg *msg, bool *ret_has)
{
    *ret_has = true;
    switch (msg->type) {
    case FLX_MSG_COMMIT:
        return msg->commit.request_id;
    case FLX_MSG_STATE_GET:
        return msg->state_get.request_id;
    case FLX_MSG_GROUP_POLL:
        return msg->group_poll.request_id;
    case FLX_MSG_GROUP_ACK:
        return msg->group_ack.request_id;
    case FLX_MSG_GROUP_NACK:
        return msg->group_nack.request_id;
    case FLX_MSG_GROUP_EXTEND:
        return msg->group_extend.request_id;
    case FLX_MSG_GROUP_DEAD_LETTER:
        return msg->group_dead_letter.request_id;
    case FLX_MSG_GROUP_DEAD_LETTERS:
        return msg->group_dead_letters.request_id;
    case FLX_MSG_GROUP_DISCARD:
        return msg->group_discard.request_id;
    case FLX_MSG_GROUP_REDRIVE:
        return msg->group_redrive.request_id;
    case FLX_MSG_GROUP_SEEK:
        return msg->group_seek.request_id;
    case FLX_MSG_GROUP_DESCRIBE:
        return msg->group_describe.request_id;
    case FLX_MSG_GROUP_DELETE:
        return msg->group_delete.request_id;
    case FLX_MSG_SHARD_INSPECT:
        return msg->shard_inspect.request_id;
    case FLX_MSG_SUBSCRIPTIONS_LIST:
        return msg->subscriptions_list.request_id;
    default:
        *ret_has = false;
        return 0;
    }
}

static void not_served(flx_lane *lane, const flx_msg *msg)
{
    const char *name = flx_msg_name(msg->type);
    bool has_id;
    const uint64_t request_id = request_id_of(msg, &has_id);
    unsupported(lane, flx_slice_of(name), NULL, has_id ? &request_id : NULL);
}

static void not_for_us(flx_lane *lane, flx_msg_type type)
{
    if (type != FLX_MSG_ERROR && lane->kind == FLX_LANE_CONTROL) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "unexpected message type");
    }
    flx_stat_add(&lane->peer->worker->stats.protocol_errors, 1);
    flx_lane_close(lane);
}

static void session_message(flx_lane *lane, const flx_msg *msg)
{
    switch (msg->type) {
    case FLX_MSG_AUTH:
        session_auth(lane, &msg->auth);
        break;
    case FLX_MSG_PUBLISH:
    case FLX_MSG_PUBLISH_BATCH:
    case FLX_MSG_PUBLISH_IDEMPOTENT:
    case FLX_MSG_PUBLISH_IF:
        flx_publish_message(lane, msg);
        break;
    case FLX_MSG_SUBSCRIBE:
        flx_subscribe_message(lane, &msg->subscribe);
        break;
    case FLX_MSG_CACHE_PUT:
    case FLX_MSG_CACHE_GET:
    case FLX_MSG_CACHE_DELETE:
    case FLX_MSG_CACHE_PUT_IF:
    case FLX_MSG_CACHE_DELETE_IF:
    case FLX_MSG_COUNTER_ADD:
    case FLX_MSG_COUNTER_GET:
        flx_cache_message(lane, msg);
        break;
    case FLX_MSG_CACHE_WATCH:
        flx_watch_message(lane, &msg->cache_watch);
        break;
    case FLX_MSG_STREAM_SHARDS:
    case FLX_MSG_CACHE_SHARDS:
    case FLX_MSG_SHARD_OWNERS:
    case FLX_MSG_PRODUCER_INIT:
    case FLX_MSG_OFFSET_FOR_TIME:
    case FLX_MSG_STREAM_READ:
        flx_query_message(lane, msg);
        break;
    case FLX_MSG_EXTENSION: {
        static const char name[] = "extension";
        unsupported(lane, (flx_slice){(const uint8_t *)name, sizeof name - 1}, &msg->extension.name,
                    msg->extension.has_request_id ? &msg->extension.request_id : NULL);
        break;
    }
    default:
        not_served(lane, msg);
        break;
    }
}

/* The one-way lane carries its auth and publishes. */
static bool is_one_way(flx_msg_type type)
{
    return type == FLX_MSG_AUTH || type == FLX_MSG_PUBLISH || type == FLX_MSG_PUBLISH_BATCH;
}

static void session_json(flx_lane *lane, const flx_frame *frame)
{
    flx_worker *worker = lane->peer->worker;
    flx_msg msg;
    flx_arena_reset(&worker->arena);
    worker->frame_chunk = frame->chunk;
    const flx_status status =
        flx_msg_decode(&worker->arena, frame->json, frame->payload.len, &msg, NULL);
    if (status != FLX_OK && status != FLX_ERR_UNSUPPORTED) {
        flx_lane_break(lane);
    } else if (lane->state == FLX_LANE_NEW &&
               (status == FLX_ERR_UNSUPPORTED || msg.type != FLX_MSG_AUTH)) {
        flx_lane_error(lane, FLX_CODE_UNAUTHENTICATED, "auth required");
        flx_lane_close(lane);
    } else if (status == FLX_ERR_UNSUPPORTED) {
        unsupported(lane, msg.unknown.type_name, NULL,
                    msg.unknown.has_request_id ? &msg.unknown.request_id : NULL);
    } else if (!flx_msg_may_send(msg.type, FLX_DIR_CLIENT)) {
        not_for_us(lane, msg.type);
    } else if (lane->kind == FLX_LANE_PUBLISH && !is_one_way(msg.type)) {
        not_for_us(lane, msg.type);
    } else {
        session_message(lane, &msg);
    }
}

void flx_session_frame(flx_lane *lane, const flx_frame *frame)
{
    if (frame->flags == 0) {
        session_json(lane, frame);
    } else if (lane->state == FLX_LANE_NEW) {
        flx_lane_error(lane, FLX_CODE_UNAUTHENTICATED, "auth required");
        flx_lane_close(lane);
    } else if ((frame->flags & FLX_FLAG_BINARY_PUBLISH_BATCH) != 0 &&
               (frame->flags & FLX_FLAG_OPERATIONS) == 0) {
        flx_publish_frame(lane, frame);
    } else if (lane->kind == FLX_LANE_PUBLISH) {
        flx_lane_break(lane);
    } else if (frame->flags == FLX_FLAG_OPERATIONS) {
        flx_operations_frame(lane, frame); /* the reader lets none through that was not offered */
    } else {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "frame flags that no client sends");
    }
}

void flx_session_job_done(flx_worker *worker, flx_job *job)
{
    FLX_ASSERT(worker->jobs_out > 0);
    worker->jobs_out--;
    flx_lane *lane = flx_handles_get(&worker->handles, job->lane);
    if (lane != NULL) {
        lane->has_job = false;
        flx_worker_mark_lane(worker, lane); /* reads on, or ends */
    }
    if (job->kind == FLX_JOB_SUBSCRIBE || job->kind == FLX_JOB_WATCH) {
        flx_subscribe_done(worker, job);
    } else if (job->kind == FLX_JOB_HISTORY) {
        flx_history_done(worker, job);
    } else if (job->kind == FLX_JOB_PAGE) {
        flx_snapshot_done(worker, job);
    } else if (job->kind == FLX_JOB_OPERATIONS) {
        flx_operations_done(worker, job);
    } else if (lane != NULL && job->kind == FLX_JOB_CACHE) {
        flx_cache_answer(lane, job);
    } else if (lane != NULL) {
        flx_query_done(lane, job);
    }
    flx_job_drop(worker, job);
}
