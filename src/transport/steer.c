/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which worker a packet belongs to: the first byte of its destination connection id, modulo the
 * number of workers. The kernel applies the rule with a classic BPF program on the SO_REUSEPORT
 * group (no privilege needed), we apply it again to packets that GRO merged.
 *
 *     long header   |1.......| version (4) | dcid len | dcid ...
 *     short header  |0.......| dcid ...
 *
 * Every worker issues ids whose first byte is its own number by that rule (flx_endpoint_new_cid), so
 * a connection stays with its worker whatever address the peer sends from.
 */
#include "common/error.h"
#include "transport/quic_int.h"

#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>

#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

enum { SHORT_DCID = 1, LONG_DCID = 6 };

flx_status flx_steer_attach(int fd, uint32_t count, flx_error *reterr)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80, 0, 2),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, LONG_DCID),
        BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, SHORT_DCID),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    FLX_ASSERT(count > 0);
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
        return flx_fail_errno(reterr, errno, "steer packets to %u workers", count);
    return FLX_OK;
}

bool flx_steer_index(const uint8_t *packet, size_t len, uint32_t count, uint32_t *ret_index)
{
    if (len == 0)
        return false;
    const size_t at = (packet[0] & 0x80) != 0 ? LONG_DCID : SHORT_DCID;
    if (len <= at)
        return false;
    *ret_index = packet[at] % count;
    return true;
}

uint8_t flx_steer_byte(uint8_t random, uint32_t count, uint32_t index)
{
    FLX_ASSERT(count > 0 && count <= FLX_QUIC_WORKERS_MAX && index < count);
    const uint32_t rounds = (FLX_QUIC_WORKERS_MAX + 1) / count; /* bytes with that remainder */
    return (uint8_t)(random % rounds * count + index);
}

void flx_endpoint_new_cid(const flx_quic_endpoint *endpoint, ngtcp2_cid *ret_cid)
{
    ret_cid->datalen = CID_LEN;
    (void)gnutls_rnd(GNUTLS_RND_NONCE, ret_cid->data, CID_LEN);
    ret_cid->data[0] = flx_steer_byte(ret_cid->data[0], endpoint->count, endpoint->index);
}
