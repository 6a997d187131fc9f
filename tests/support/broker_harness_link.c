/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/broker_harness_link.c - the transport and the mailboxes of the harness, and time. */
#include "broker_harness_int.h"

static void stir(hx_conn *conn)
{
    conn->stirred = true;
    conn->h->moved = true;
}

static flx_status link_write(void *stream, flx_range range)
{
    hx_stream *s = stream;
    const size_t len = flx_range_len(&range);
    if (s->fin_out || s->reset_out || s->dead) {
        flx_chunk_unref(range.chunk);
        return FLX_ERR_CLOSED;
    }
    s->total += len;
    stir(s->conn);
    if (s->conn->h->options.count_only) {
        s->queued_only += len;
    } else {
        if (s->out_len + len > s->out_cap) {
            s->out_cap = (s->out_len + len) * 2;
            s->out = realloc(s->out, s->out_cap);
            HX_MUST(s->out != NULL);
        }
        memcpy(s->out + s->out_len, range.chunk->data + range.start, len);
        s->out_len += len;
    }
    flx_chunk_unref(range.chunk);
    return FLX_OK;
}

static void link_finish(void *stream)
{
    hx_stream *s = stream;
    HX_MUST(!s->fin_out);
    s->fin_out = true;
    stir(s->conn);
}

static void link_reset(void *stream, uint64_t code)
{
    (void)code;
    hx_stream *s = stream;
    s->reset_out = true;
    stir(s->conn);
}

static void link_stop(void *stream, uint64_t code)
{
    (void)code;
    hx_stream *s = stream;
    s->stopped = true;
    s->conn->stirred = true;
}

static void link_consume(void *stream, size_t len)
{
    hx_stream *s = stream;
    HX_MUST(s->unconsumed >= len);
    s->unconsumed -= len;
    s->conn->h->moved = true;
}

static void link_want_pull(void *stream, bool want)
{
    hx_stream *s = stream;
    if (want && !s->want_pull) {
        stir(s->conn);
    }
    s->want_pull = want;
}

size_t hx_queued(const hx_stream *s)
{
    return s->conn->h->options.count_only ? s->queued_only : s->out_len - s->released;
}

static size_t link_queued(const void *stream)
{
    return hx_queued(stream);
}

hx_stream *hx_stream_new(hx_conn *conn)
{
    hx_stream *s = hx_alloc(sizeof *s);
    s->conn = conn;
    hx_stream **link = &conn->streams;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = s;
    return s;
}

static flx_status link_open_uni(void *conn_handle, flx_lane *lane, void **ret_stream)
{
    hx_conn *conn = conn_handle;
    if (conn->close_code != 0) {
        return FLX_ERR_CLOSED;
    }
    if (conn->credit == 0) {
        return FLX_ERR_AGAIN;
    }
    conn->credit--;
    hx_stream *s = hx_stream_new(conn);
    s->ours = true;
    s->lane = lane;
    *ret_stream = s;
    return FLX_OK;
}

static void link_conn_close(void *conn_handle, uint64_t code, const char *reason)
{
    hx_conn *conn = conn_handle;
    HX_MUST(reason != NULL);
    if (conn->close_code == 0) {
        conn->close_code = code + 1;
    }
    conn->h->moved = true;
}

const flx_link_ops hx_link_ops = {.write_take = link_write,
                                  .finish = link_finish,
                                  .reset = link_reset,
                                  .stop = link_stop,
                                  .consume = link_consume,
                                  .want_pull = link_want_pull,
                                  .queued = link_queued,
                                  .open_uni = link_open_uni,
                                  .conn_close = link_conn_close};

void hx_stream_close(hx_stream *s)
{
    if (s->lane != NULL) {
        flx_lane *lane = s->lane;
        s->lane = NULL;
        flx_worker_stream_closed(s->conn->h->workers[s->conn->worker], lane);
    }
    s->dead = true;
}

bool hx_post(void *arg, uint32_t to, const void *mail, size_t len)
{
    hx *h = arg;
    hx_mailbox *box = &h->boxes[to];
    HX_MUST(len <= FLX_WORKER_MAIL_BYTES);
    if (box->tail - box->head == box->cap) {
        return false;
    }
    memcpy(box->mails[box->tail++ % box->cap], mail, len);
    h->mails++;
    h->moved = true;
    return true;
}

/* ---- time and motion ---- */

void hx_advance_ms(hx *h, uint64_t ms)
{
    h->now_ns += ms * 1000000;
    h->wall_us += ms * 1000;
    for (uint32_t i = 0; i < h->count; i++) {
        flx_worker_clock(h->workers[i], h->now_ns, h->wall_us);
    }
}

uint64_t hx_wall_us(const hx *h)
{
    return h->wall_us;
}

uint64_t hx_mails(const hx *h)
{
    return h->mails;
}

static void flush_stream(hx *h, hx_stream *s)
{
    if (s->stalled || s->lane == NULL) {
        return;
    }
    if (hx_queued(s) > 0) {
        h->moved = true;
        s->released = s->out_len;
        s->queued_only = 0;
    }
    for (int rounds = 0; s->want_pull && !s->reset_out && hx_queued(s) < 65536 && rounds < 64;
         rounds++) {
        h->moved = true;
        flx_worker_stream_pull(h->workers[s->conn->worker], s->lane);
        s->released = s->out_len;
        s->queued_only = 0;
    }
    s->released = s->out_len;
    s->queued_only = 0;
    const bool out_done = s->fin_out || s->reset_out || (!s->bidi && !s->ours);
    const bool in_done = s->fin_in || s->stopped || s->ours;
    if (out_done && in_done && s->lane != NULL) {
        hx_stream_close(s);
    }
}

void hx_step(hx *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        while (!h->options.manual_io && hx_io(h, i, 0)) {
            h->moved = true;
        }
        hx_mailbox *box = &h->boxes[i];
        for (uint32_t left = box->tail - box->head; left > 0; left--) {
            unsigned char mail[FLX_WORKER_MAIL_BYTES];
            memcpy(mail, box->mails[box->head++ % box->cap], sizeof mail);
            h->moved = true;
            flx_worker_mail(h->workers[i], mail);
        }
        flx_worker_tick(h->workers[i]);
        h->moved = h->moved || (!h->options.manual_io && hx_io_waiting(h, i) > 0);
        for (hx_conn *conn = h->conns; conn != NULL; conn = conn->next) {
            if (conn->worker != i || conn->dead) {
                continue;
            }
            const bool stirred = conn->stirred;
            conn->stirred = false; /* before: flushing one may stir another */
            for (hx_stream *s = stirred ? conn->streams : NULL; s != NULL; s = s->next) {
                flush_stream(h, s);
                conn->stirred |= s->want_pull;
            }
            if (conn->close_code != 0) {
                hx_disconnect(conn);
            }
        }
    }
}

bool hx_run(hx *h)
{
    for (int i = 0; i < 2000; i++) {
        h->moved = false;
        hx_step(h);
        if (!h->moved) {
            return true;
        }
    }
    return false;
}
