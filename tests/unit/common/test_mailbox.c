/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox: order, bound, and no lost wake-up under many senders. */
#include "common/alloc.h"
#include "common/mailbox.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define SENDERS     4
#define PER_SENDER  20000
#define BURST_PAUSE 97 /* messages between two pauses of a sender, so that the receiver sleeps */

typedef struct mail {
    uint32_t sender;
    uint32_t number;
} mail;

typedef struct received {
    uint32_t next[SENDERS]; /* the number expected from each */
    size_t count;
} received;

static void receive(void *arg, const void *message)
{
    received *seen = arg;
    mail got;
    memcpy(&got, message, sizeof got);
    assert_true(got.sender < SENDERS);
    assert_int_equal(got.number, seen->next[got.sender]); /* in order, a sender */
    seen->next[got.sender]++;
    seen->count++;
}

static flx_mailbox *mailbox_of(size_t capacity, flx_loop *loop)
{
    flx_mailbox *mailbox = NULL;
    flx_error error;
    assert_int_equal(flx_mailbox_new(capacity, loop, &mailbox, &error), FLX_OK);
    return mailbox;
}

static void push_number(flx_mailbox *mailbox, uint32_t number, bool expect)
{
    const mail message = {0, number};
    assert_int_equal(flx_mailbox_push(mailbox, &message, sizeof message), expect);
}

static void test_full_is_refused_and_order_is_kept(void **state)
{
    (void)state;
    flx_mailbox *mailbox = mailbox_of(3, NULL); /* rounded up to 4 */
    received seen = {0};
    assert_int_equal(flx_mailbox_drain(mailbox, 10, receive, &seen), 0);
    uint32_t number = 0;
    for (int lap = 0; lap < 5; lap++) {
        for (int i = 0; i < 4; i++) {
            push_number(mailbox, number++, true);
        }
        push_number(mailbox, 999, false);
        assert_int_equal(flx_mailbox_drain(mailbox, 3, receive, &seen), 3);
        push_number(mailbox, number++, true); /* there is room again */
        assert_int_equal(flx_mailbox_drain(mailbox, 10, receive, &seen), 2);
    }
    assert_int_equal(seen.count, number);
    assert_null(flx_mailbox_free(mailbox));
}

static void compare_bytes(void *arg, const void *message)
{
    assert_memory_equal(message, arg, FLX_MAIL_BYTES);
}

static void test_whole_message_arrives(void **state)
{
    (void)state;
    flx_mailbox *mailbox = mailbox_of(2, NULL);
    uint8_t bytes[FLX_MAIL_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    assert_true(flx_mailbox_push(mailbox, bytes, sizeof bytes));
    assert_int_equal(flx_mailbox_drain(mailbox, 1, compare_bytes, bytes), 1);
    (void)flx_mailbox_free(mailbox);
}

static size_t ticks;

static void count_tick(void *arg, uint64_t now_ns)
{
    (void)arg;
    (void)now_ns;
    ticks++;
}

/* A burst wakes the loop once, and a drain that stops at its limit does not let the loop sleep. */
static void test_wakes_once_a_burst(void **state)
{
    (void)state;
    flx_error error;
    flx_loop *loop = NULL;
    assert_int_equal(flx_loop_new(NULL, &loop, &error), FLX_OK);
    flx_mailbox *mailbox = mailbox_of(64, loop);
    flx_tick_hook hook = {.tick = count_tick};
    flx_loop_hook_add(loop, &hook);
    received seen = {0};
    ticks = 0;
    for (uint32_t i = 0; i < 10; i++) {
        push_number(mailbox, i, true);
    }
    assert_int_equal(flx_loop_step(loop, FLX_LOOP_NEVER, &error), FLX_OK);
    assert_int_equal(flx_mailbox_drain(mailbox, 8, receive, &seen), 8);
    assert_int_equal(flx_loop_step(loop, FLX_LOOP_NEVER, &error), FLX_OK); /* for the other two */
    assert_int_equal(flx_mailbox_drain(mailbox, 8, receive, &seen), 2);
    push_number(mailbox, 10, true);
    assert_int_equal(flx_loop_step(loop, FLX_LOOP_NEVER, &error), FLX_OK);
    assert_int_equal(ticks, 3);
    assert_int_equal(flx_mailbox_drain(mailbox, 8, receive, &seen), 1);
    (void)flx_mailbox_free(mailbox);
    (void)flx_loop_free(loop);
}

typedef struct sender {
    pthread_t thread;
    flx_mailbox *mailbox;
    uint32_t index;
} sender;

static void *send_all(void *arg)
{
    const sender *self = arg;
    for (uint32_t i = 0; i < PER_SENDER; i++) {
        const mail message = {self->index, i};
        while (!flx_mailbox_push(self->mailbox, &message, sizeof message)) {
            (void)sched_yield();
        }
        if (i % BURST_PAUSE == self->index) {
            (void)sched_yield();
        }
    }
    return NULL;
}

/*
 * Every message arrives, in order a sender, while the receiver sleeps without a timeout whenever it
 * finds nothing: one lost wake-up would hang here (and the test's time limit would tell).
 */
static void test_many_senders(void **state)
{
    (void)state;
    flx_error error;
    flx_loop *loop = NULL;
    assert_int_equal(flx_loop_new(NULL, &loop, &error), FLX_OK);
    flx_mailbox *mailbox = mailbox_of(256, loop);
    sender senders[SENDERS];
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (sender){.mailbox = mailbox, .index = i};
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
    received seen = {0};
    while (seen.count < (size_t)SENDERS * PER_SENDER) {
        assert_int_equal(flx_loop_step(loop, FLX_LOOP_NEVER, &error), FLX_OK);
        (void)flx_mailbox_drain(mailbox, 100, receive, &seen);
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
        assert_int_equal(seen.next[i], PER_SENDER);
    }
    assert_int_equal(flx_mailbox_drain(mailbox, 100, receive, &seen), 0);
    (void)flx_mailbox_free(mailbox);
    (void)flx_loop_free(loop);
}

static void test_new_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        flx_error error;
        flx_mailbox *mailbox = NULL;
        flx_alloc_fail_nth(nth);
        const flx_status status = flx_mailbox_new(8, NULL, &mailbox, &error);
        const bool has_failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        if (!has_failed) {
            assert_int_equal(status, FLX_OK);
            (void)flx_mailbox_free(mailbox);
            return;
        }
        assert_int_equal(status, FLX_ERR_NOMEM);
        assert_null(mailbox);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_is_refused_and_order_is_kept),
        cmocka_unit_test(test_whole_message_arrives),
        cmocka_unit_test(test_wakes_once_a_burst),
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_new_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
