/* SPDX-License-Identifier: Apache-2.0 */
/* client/ask_lines.c - see the header. */
#include "client/ask_lines.h"

#include "client/client_int.h"
#include "client/places.h"

void flx_ask_unlink(flx_asks *asks, flx_ask *ask)
{
    flx_ask_queue *queue = ask->queue;
    if (ask->prev != NULL)
        ask->prev->next = ask->next;
    else
        queue->first = ask->next;
    if (ask->next != NULL)
        ask->next->prev = ask->prev;
    else
        queue->last = ask->prev;
    ask->prev = ask->next = NULL;
    ask->queue = NULL;
    queue->count--;
    asks->waiting--;
}

static void push_back(flx_asks *asks, flx_ask_queue *queue, flx_ask *ask)
{
    ask->queue = queue;
    ask->prev = queue->last;
    ask->next = NULL;
    if (queue->last != NULL)
        queue->last->next = ask;
    else
        queue->first = ask;
    queue->last = ask;
    queue->count++;
    asks->waiting++;
}

static void push_front(flx_asks *asks, flx_ask_queue *queue, flx_ask *ask)
{
    ask->queue = queue;
    ask->prev = NULL;
    ask->next = queue->first;
    if (queue->first != NULL)
        queue->first->prev = ask;
    else
        queue->last = ask;
    queue->first = ask;
    queue->count++;
    asks->waiting++;
}

/* Answers an ask that is in no list and no slot any more, and gives it back. */
void flx_ask_finish(flx_ask *ask, flx_msg *msg, const flx_error *error)
{
    flx_client *client = ask->client;
    flx_loop_timer_cancel(client->loop, &ask->timer);
    if (ask->place != NULL && --ask->place->pending == 0 && !TAILQ_EMPTY(&client->asks.moves))
        flx_loop_wake(client->loop); /* those behind it may go where they want */
    ask->place = NULL;
    ask->answered(ask, msg, error);
    flx_ask_discard(ask);
}

/* Where it waits until it can be sent. */
static flx_ask_queue *line_of(flx_asks *asks, const flx_ask *ask)
{
    const flx_uplink *at = ask->place != NULL ? ask->place->at : NULL;
    return at != NULL ? &asks->ports[at->index].line : &asks->common;
}

/* The connection is gone: what waited for it goes over any other, in the same order. */
static void evacuate(flx_asks *asks, const flx_uplink *uplink)
{
    flx_ask_queue *line = &asks->ports[uplink->index].line;
    while (line->last != NULL) {
        flx_ask *ask = line->last;
        flx_ask_unlink(asks, ask);
        ask->place->at = NULL;
        push_front(asks, &asks->common, ask);
    }
}

/* Brings a place where it wants to be. False: not while others are on their way. */
static bool move_place(flx_asks *asks, flx_place *place, const flx_places *places)
{
    flx_uplink *wanted = flx_place_wanted(place);
    if (place->at != NULL && !flx_uplink_is_up(place->at)) {
        evacuate(asks, place->at);
        place->at = NULL;
    }
    if (wanted != place->at && !flx_place_may_move(place, places))
        return false;
    place->at = wanted;
    return true;
}

/* Gives the ask its line, or lets it wait until its place can move. */
void flx_ask_enqueue(flx_asks *asks, flx_ask *ask)
{
    flx_place *place = ask->places != NULL ? flx_places_find(ask->places, ask) : NULL;
    if (place != NULL && (place->is_moving || !move_place(asks, place, ask->places))) {
        if (!place->is_moving)
            TAILQ_INSERT_TAIL(&asks->moves, place, moves);
        place->is_moving = true;
        push_back(asks, &place->held, ask);
        return;
    }
    ask->place = place;
    if (place != NULL)
        place->pending++;
    push_back(asks, line_of(asks, ask), ask);
}

static void move_places(flx_asks *asks)
{
    flx_place *next;
    for (flx_place *place = TAILQ_FIRST(&asks->moves); place != NULL; place = next) {
        next = TAILQ_NEXT(place, moves);
        if (place->held.count > 0 && !move_place(asks, place, place->held.first->places))
            continue;
        TAILQ_REMOVE(&asks->moves, place, moves);
        place->is_moving = false;
        for (size_t count = place->held.count; count > 0; count--) {
            flx_ask *ask = place->held.first;
            flx_ask_unlink(asks, ask);
            flx_ask_enqueue(asks, ask);
        }
    }
}

void flx_ask_requeue(flx_asks *asks, flx_ask *ask)
{
    push_front(asks, line_of(asks, ask), ask);
}

void flx_asks_settle(flx_client *client)
{
    flx_asks *asks = &client->asks;
    for (uint32_t i = 0; i < asks->port_count; i++)
        if (asks->ports[i].line.count > 0 && !flx_uplink_is_up(&client->uplinks[i]))
            evacuate(asks, &client->uplinks[i]);
    move_places(asks);
}
