/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h - a mock broker and a client of it, and the few checks all tests of the client repeat. */
#ifndef FLX_CLIENT_TEST_RIG_H
#define FLX_CLIENT_TEST_RIG_H

#include "mock_broker.h"
#include "unit.h"

#include <felix/felix.h>

#include <string.h>
#include <unistd.h>

#define RIG_WAIT_MS 20000 /* only guards against a hang */

typedef struct rig {
    mock_broker *broker;
    flx_client *client;
} rig;

static inline flx_client_options rig_options(const rig *r)
{
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    options.addresses = mock_broker_address(r->broker);
    options.tenant = "t1";
    options.token = "demo-token";
    options.ca_file = mock_broker_ca_file(r->broker);
    options.backoff_min_ms = 1;
    options.backoff_max_ms = 20;
    return options;
}

/* Fails the test with the words of the error. */
#define RIG_OK(call)                                                                               \
    do {                                                                                           \
        flx_error rig_error_ = {0};                                                                \
        flx_error *const err = &rig_error_;                                                        \
        const flx_status rig_status_ = (call);                                                     \
        if (rig_status_ != FLX_OK)                                                                 \
            fail_msg("%s: %s: %s", #call, flx_status_name(rig_status_), rig_error_.message);       \
    } while (0)

static inline void rig_start_with(rig *r, const mock_rules *rules)
{
    r->broker = mock_broker_start();
    if (rules != NULL)
        mock_broker_set(r->broker, rules);
    const flx_client_options options = rig_options(r);
    RIG_OK(flx_client_connect(&options, RIG_WAIT_MS, &r->client, err));
}

static inline void rig_stop(rig *r)
{
    r->client = flx_client_free(r->client);
    assert_int_equal(mock_broker_counts(r->broker).protocol_errors, 0);
    mock_broker_stop(r->broker);
}

static inline void rig_check_text(flx_slice slice, const char *text)
{
    assert_int_equal(slice.len, strlen(text));
    assert_memory_equal(slice.ptr, text, slice.len);
}

/* Takes the next message, which must be this record. */
static inline void rig_expect(flx_subscriber *subscriber, uint64_t offset, const char *text)
{
    flx_message message;
    RIG_OK(flx_subscriber_receive(subscriber, RIG_WAIT_MS, &message, err));
    assert_int_equal(message.kind, FLX_MESSAGE_RECORD);
    assert_true(message.has_offset);
    assert_int_equal(message.offset, offset);
    rig_check_text(message.payload, text);
    flx_message_release(&message);
}

/* Takes the next message, which must be this notice. */
static inline void rig_expect_gap(flx_subscriber *subscriber, flx_gap_reason reason, uint64_t from,
                                  uint64_t end)
{
    flx_message message;
    RIG_OK(flx_subscriber_receive(subscriber, RIG_WAIT_MS, &message, err));
    assert_int_equal(message.kind, FLX_MESSAGE_GAP);
    assert_int_equal(message.gap_reason, reason);
    assert_int_equal(message.offset, from);
    assert_int_equal(message.gap_end, end);
    flx_message_release(&message);
}

#endif /* FLX_CLIENT_TEST_RIG_H */
