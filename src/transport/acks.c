/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When acknowledgements leave.
 *
 * ngtcp2 0.12.1 delays one by an eighth of the round trip: 9 us on a loopback, so every message that
 * is answered by nothing made a packet of its own, and the other side a receive, a decryption and a
 * pass for it: half of what a small delivery cost. And packets with data that left before did not
 * carry it. Here it waits for company (README rule 24):
 *
 *     - it goes into the first packet with data, whenever that is;
 *     - 5 to 9 packets that want one make one at once, fewer than a first window has. The number is
 *       the connection's own, so that a hundred subscribers of one stream do not all acknowledge the
 *       same message;
 *     - otherwise it leaves ACK_HOLD_NS after the first of them, well inside the 25 ms that the peer
 *       was told and adds to its timeouts.
 *
 * The linker puts held() in front of the question ngtcp2 asks itself (`--wrap`). Where it did not, as
 * in libfelix.so, acknowledgements that are due within ACK_SLEEP_MIN_NS are sent in the same pass.
 */
#include "transport/quic_int.h"

#define ACK_HOLD_NS (UINT64_C(10) * 1000 * 1000)

static _Thread_local bool is_held; /* by the packets built since flx_acks_begin */

size_t flx_acks_packets(const ngtcp2_cid *id)
{
    FLX_ASSERT(id->datalen == CID_LEN);
    return ACK_PACKETS_MIN + id->data[CID_LEN - 1] % ACK_PACKETS_SPREAD; /* that byte is random */
}

struct ngtcp2_acktr;
int flx_require_active_ack(struct ngtcp2_acktr *acktr, ngtcp2_duration delay,
                           ngtcp2_tstamp now_ns) __asm__("__wrap_ngtcp2_acktr_require_active_ack");
extern int
require_active_ack_real(struct ngtcp2_acktr *acktr, ngtcp2_duration delay,
                        ngtcp2_tstamp now_ns) __asm__("__real_ngtcp2_acktr_require_active_ack")
    __attribute__((weak));
extern void ngtcp2_conn_cancel_expired_ack_delay_timer(ngtcp2_conn *conn, ngtcp2_tstamp now_ns)
    __attribute__((weak));

__attribute__((used)) int flx_require_active_ack(struct ngtcp2_acktr *acktr, ngtcp2_duration delay,
                                                 ngtcp2_tstamp now_ns)
{
    if (delay == 0 || !flx_ngtcp2_known())
        return require_active_ack_real(acktr, delay, now_ns);
    /* Also where an eighth of the round trip is more: it must be due when ack_due_ns is. */
    const int due = require_active_ack_real(acktr, ACK_HOLD_NS, now_ns);
    if (due == 0 && require_active_ack_real(acktr, 0, now_ns) != 0)
        is_held = true;
    return due;
}

static bool can_hold(void)
{
    return require_active_ack_real != NULL && ngtcp2_conn_cancel_expired_ack_delay_timer != NULL &&
           flx_ngtcp2_known();
}

/*
 * The delay is read from our transport parameters, which the peer has heard by now and nothing else
 * reads: with 0 there, whatever is to be acknowledged goes into the next packet. The accessor is
 * const, the object is not.
 */
static void set_due(flx_quic_conn *conn, bool due)
{
    union {
        const ngtcp2_transport_params *shown;
        ngtcp2_transport_params *own;
    } params;
    if (conn->state != CONN_OPEN || !flx_ngtcp2_known())
        return;
    params.shown = ngtcp2_conn_get_local_transport_params(conn->qc);
    params.own->max_ack_delay = due ? 0 : NGTCP2_DEFAULT_MAX_ACK_DELAY;
}

void flx_acks_begin(flx_quic_conn *conn, bool due)
{
    is_held = false;
    if (due)
        set_due(conn, true);
}

void flx_acks_end(flx_quic_conn *conn, uint64_t now_ns)
{
    set_due(conn, false);
    if (!is_held || !can_hold()) {
        conn->ack_due_ns = UINT64_MAX;
        return;
    }
    /* Its own timer would wake us in a few microseconds. */
    ngtcp2_conn_cancel_expired_ack_delay_timer(conn->qc, UINT64_MAX);
    if (conn->ack_due_ns == UINT64_MAX)
        conn->ack_due_ns = now_ns + ACK_HOLD_NS;
}

bool flx_acks_are_near(const flx_quic_conn *conn, uint64_t now_ns)
{
    return !can_hold() && ngtcp2_conn_get_expiry(conn->qc) < now_ns + ACK_SLEEP_MIN_NS;
}

uint64_t flx_conn_expiry_ns(const flx_quic_conn *conn)
{
    const uint64_t expiry_ns = ngtcp2_conn_get_expiry(conn->qc);
    return expiry_ns < conn->ack_due_ns ? expiry_ns : conn->ack_due_ns;
}
