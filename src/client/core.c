/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way onto the loop thread, waiting for it, and the end of everything.
 *
 * The end has one order (README rule 2): no new members; all tasks run; every member ends, which
 * calls back what it still owes; only then connections go, and the loop is stopped for good under
 * the mutex, so that whoever posts later learns that nobody will come.
 */
#include "client/client_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/xorshift.h"

#include <signal.h>
#include <time.h>

/* ---- references ---- */

flx_client *flx_client_ref(flx_client *client)
{
    (void)atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
    return client;
}

void flx_client_unref(flx_client *client)
{
    if (atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < sizeof(client->texts) / sizeof(client->texts[0]); i++)
        flx_free(client->texts[i]);
    (void)pthread_mutex_destroy(&client->mutex);
    (void)pthread_cond_destroy(&client->changed);
    flx_free(client);
}

/* ---- tasks ---- */

bool flx_client_post(flx_client *client, flx_client_task *task)
{
    (void)pthread_mutex_lock(&client->mutex);
    const bool alive = !client->stopped;
    if (alive && !task->queued) {
        task->queued = true;
        task->next = NULL;
        *client->tasks_end = task;
        client->tasks_end = &task->next;
        flx_loop_wake(client->loop); /* under the lock: the loop is freed only once stopped */
    }
    (void)pthread_mutex_unlock(&client->mutex);
    return alive;
}

/* Runs what is queued now; what these tasks queue waits for the next tick, so that packets leave. */
static void run_tasks(flx_client *client)
{
    (void)pthread_mutex_lock(&client->mutex);
    flx_client_task *list = client->tasks;
    client->tasks = NULL;
    client->tasks_end = &client->tasks;
    while (list != NULL) {
        flx_client_task *task = list;
        list = task->next;
        task->queued = false; /* before it runs: it may queue itself again */
        (void)pthread_mutex_unlock(&client->mutex);
        task->run(task);
        (void)pthread_mutex_lock(&client->mutex);
    }
    (void)pthread_mutex_unlock(&client->mutex);
}

static _Thread_local const flx_client *running; /* whose loop this thread is */

bool flx_client_is_on_loop(const flx_client *client)
{
    return client->options.foreign_loop || running == client;
}

typedef struct call {
    flx_client_task task;
    flx_client *client;
    void (*run)(void *arg);
    void *arg;
    bool done;
} call;

static void call_run(flx_client_task *task)
{
    call *self = (call *)task; /* its first member */
    self->run(self->arg);
    (void)pthread_mutex_lock(&self->client->mutex);
    self->done = true;
    (void)pthread_cond_broadcast(&self->client->changed);
    (void)pthread_mutex_unlock(&self->client->mutex);
}

static bool is_stopped(flx_client *client)
{
    (void)pthread_mutex_lock(&client->mutex);
    const bool stopped = client->stopped;
    (void)pthread_mutex_unlock(&client->mutex);
    return stopped;
}

bool flx_client_call(flx_client *client, void (*run)(void *arg), void *arg)
{
    if (flx_client_is_on_loop(client)) {
        if (is_stopped(client))
            return false;
        run(arg);
        return true;
    }
    call self = {.task = {.run = call_run}, .client = client, .run = run, .arg = arg};
    if (!flx_client_post(client, &self.task))
        return false;
    (void)pthread_mutex_lock(&client->mutex);
    while (!self.done)
        (void)pthread_cond_wait(&client->changed, &client->mutex);
    (void)pthread_mutex_unlock(&client->mutex);
    return true;
}

/* ---- waiting ---- */

void flx_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
}

uint64_t flx_deadline_ns(uint32_t timeout_ms)
{
    return timeout_ms == FLX_WAIT_FOREVER ? FLX_LOOP_NEVER
                                          : flx_clock_monotonic_ns() + timeout_ms * FLX_NS_PER_MS;
}

flx_status flx_client_may_wait(flx_client *client, flx_error *reterr)
{
    if (client->options.foreign_loop ? client->stepping > 0 : flx_client_is_on_loop(client))
        return flx_fail(reterr, FLX_ERR_INVALID, "a waiting call from a callback");
    return FLX_OK;
}

flx_status flx_client_step(flx_client *client, uint64_t deadline_ns, flx_error *reterr)
{
    if (is_stopped(client))
        return flx_fail(reterr, FLX_ERR_CLOSED, "the client was freed");
    (void)flx_client_ref(client);
    client->stepping++;
    const flx_status status = flx_loop_step(client->loop, deadline_ns, reterr);
    client->stepping--;
    if (client->detached && client->loop != NULL) {
        flx_client_end(client);
        flx_client_unref(client); /* the handle's reference */
    }
    flx_client_unref(client);
    return status;
}

bool flx_client_wait(flx_client *client, pthread_mutex_t *mutex, pthread_cond_t *cond,
                     uint64_t deadline_ns)
{
    if (deadline_ns != FLX_LOOP_NEVER && flx_clock_monotonic_ns() >= deadline_ns)
        return false;
    if (client->options.foreign_loop) {
        (void)pthread_mutex_unlock(mutex);
        (void)flx_client_step(client, deadline_ns, NULL);
        (void)pthread_mutex_lock(mutex);
        return true;
    }
    if (deadline_ns == FLX_LOOP_NEVER) {
        (void)pthread_cond_wait(cond, mutex);
        return true;
    }
    const struct timespec at = {.tv_sec = (time_t)(deadline_ns / FLX_NS_PER_S),
                                .tv_nsec = (long)(deadline_ns % FLX_NS_PER_S)};
    (void)pthread_cond_timedwait(cond, mutex, &at); /* a timeout shows in the next check */
    return true;
}

/* ---- state ---- */

void flx_client_set_state(flx_client *client, flx_client_state state, const flx_error *error,
                          bool final)
{
    (void)pthread_mutex_lock(&client->mutex);
    const bool same = client->state == state && error == NULL;
    client->state = state;
    client->error_is_final = final;
    if (error != NULL)
        client->error = *error;
    (void)pthread_cond_broadcast(&client->changed);
    (void)pthread_mutex_unlock(&client->mutex);
    if (!same && client->options.state_fn != NULL)
        client->options.state_fn(client->options.state_arg, state, error);
}

uint64_t flx_client_random(flx_client *client)
{
    return flx_xorshift(&client->random);
}

/* ---- members ---- */

static void attach(flx_member *member)
{
    flx_client *client = member->client;
    member->prev = NULL;
    member->next = client->members;
    if (client->members != NULL)
        client->members->prev = member;
    client->members = member;
    member->attached = true;
}

static void detach(flx_member *member)
{
    if (!member->attached)
        return;
    if (member->prev != NULL)
        member->prev->next = member->next;
    else
        member->client->members = member->next;
    if (member->next != NULL)
        member->next->prev = member->prev;
    member->attached = false;
}

static flx_member *member_of_task(flx_client_task *task)
{
    return (flx_member *)((char *)task - offsetof(flx_member, task));
}

static void member_run(flx_client_task *task)
{
    flx_member *member = member_of_task(task);
    atomic_store_explicit(&member->poked, false, memory_order_seq_cst); /* before it looks */
    if (member->ended)
        return;
    if (!member->attached)
        attach(member);
    member->ops->service(member);
}

flx_status flx_member_init(flx_member *member, const flx_member_ops *ops, flx_client *client,
                           flx_error *reterr)
{
    (void)pthread_mutex_lock(&client->mutex);
    const bool closing = client->closing;
    (void)pthread_mutex_unlock(&client->mutex);
    if (closing)
        return flx_fail(reterr, FLX_ERR_CLOSED, "the client was freed");
    const uint32_t turn = atomic_fetch_add_explicit(&client->uplink_next, 1, memory_order_relaxed);
    member->ops = ops;
    member->client = flx_client_ref(client);
    member->uplink = &client->uplinks[turn % client->options.connections];
    member->task.run = member_run;
    return FLX_OK;
}

void flx_member_poke(flx_member *member)
{
    /* One atomic for a busy publisher; the lock only for the first poke of a tick. */
    if (!atomic_exchange_explicit(&member->poked, true, memory_order_seq_cst))
        (void)flx_client_post(member->client, &member->task);
}

static void end_member(flx_member *member, const flx_error *why)
{
    if (member->ended)
        return;
    member->ended = true;
    member->ops->end(member, why);
    detach(member);
}

static void bury(void *arg)
{
    flx_member *member = arg;
    flx_error why;
    (void)flx_fail(&why, FLX_ERR_CANCELED, "freed before it was done");
    member->freed = true; /* before its end: that is not told to who asked for it */
    end_member(member, &why);
    member->next = member->client->graveyard;
    member->client->graveyard = member;
    flx_loop_wake(member->client->loop);
}

static void destroy(flx_member *member)
{
    flx_client *client = member->client;
    member->ops->destroy(member);
    flx_client_unref(client);
}

void flx_member_free(flx_member *member)
{
    if (!flx_client_call(member->client, bury, member))
        destroy(member);
}

/* A member whose task is queued once more stays until that has run. */
static void empty_graveyard(flx_client *client)
{
    flx_member *list = client->graveyard;
    client->graveyard = NULL;
    while (list != NULL) {
        flx_member *member = list;
        list = member->next;
        (void)pthread_mutex_lock(&client->mutex);
        const bool queued = member->task.queued;
        (void)pthread_mutex_unlock(&client->mutex);
        if (queued) {
            member->next = client->graveyard;
            client->graveyard = member;
        } else {
            destroy(member);
        }
    }
}

/* ---- the loop ---- */

void flx_client_tick(void *arg, uint64_t now_ns)
{
    flx_client *client = arg;
    (void)now_ns;
    run_tasks(client);
    for (uint32_t i = 0; i < client->uplink_count; i++)
        if (client->uplinks[i].state == FLX_UPLINK_RESOLVING)
            flx_uplink_poll(&client->uplinks[i]);
    flx_placer_service(&client->placer);
    flx_asks_service(client);
    empty_graveyard(client);
}

/* True when there is nothing left to run, and from then on nothing can be posted. */
static bool stop_if_idle(flx_client *client)
{
    (void)pthread_mutex_lock(&client->mutex);
    client->stopped = client->tasks == NULL && client->members == NULL && client->graveyard == NULL;
    const bool stopped = client->stopped;
    (void)pthread_mutex_unlock(&client->mutex);
    return stopped;
}

void flx_client_end(flx_client *client)
{
    flx_error why;
    (void)flx_fail(&why, FLX_ERR_CANCELED, "the client was freed");
    (void)flx_client_ref(client);
    flx_asks_cancel(client, NULL, &why);
    do {
        run_tasks(client);
        while (client->members != NULL)
            end_member(client->members, &why);
        empty_graveyard(client);
    } while (!stop_if_idle(client));

    flx_placer_done(&client->placer);
    for (uint32_t i = 0; i < client->uplink_count; i++)
        flx_uplink_close(&client->uplinks[i]);
    flx_asks_done(&client->asks);
    client->endpoint = flx_quic_endpoint_free(client->endpoint);
    client->credentials = flx_credentials_free(client->credentials);
    flx_loop_hook_remove(client->loop, &client->hook);
    client->loop = flx_loop_free(client->loop);
    flx_arena_done(&client->arena);
    client->scratch = flx_chunk_unref(client->scratch);
    flx_client_set_state(client, FLX_CLIENT_CLOSED, NULL, false);
    flx_client_unref(client);
}

void *flx_client_thread(void *arg)
{
    flx_client *client = arg;
    running = client;
    (void)flx_loop_run(client->loop, NULL);
    flx_client_end(client);
    if (client->detached)
        flx_client_unref(client); /* the handle's reference: its owner has let go in a callback */
    return NULL;
}
