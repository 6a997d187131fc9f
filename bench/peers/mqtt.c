/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers/mqtt.c - MQTT 3.1.1: a type, the length of the rest in groups of seven bits, the rest.
 *
 * Fire and forget is QoS 0, acknowledged is QoS 1. A cache it has not.
 */
#include "protocol.h"

#include <unistd.h>

enum { CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40, SUBSCRIBE = 0x82, KIND = 0xf0, QOS1 = 0x02 };

/* The packet at the head: where its rest begins and how long that is; false while it is not whole. */
static bool packet(const peer_link *link, const uint8_t **ret_rest, size_t *ret_len)
{
    const uint8_t *at = peer_link_at(link);
    const size_t have = peer_link_readable(link);
    size_t len = 0;
    for (size_t i = 1; i < have && i < 5; i++) {
        len |= (size_t)(at[i] & 0x7f) << (7 * (i - 1));
        if ((at[i] & 0x80) == 0) {
            *ret_rest = at + i + 1;
            *ret_len = len;
            return have >= i + 1 + len;
        }
    }
    return false;
}

/* The next packet if it is of `kind`, consumed; its rest is borrowed. */
static peer_seen next_of_kind(peer_link *link, uint8_t kind, const uint8_t **ret_rest,
                              size_t *ret_len)
{
    const uint8_t *at = peer_link_at(link);
    if (!packet(link, ret_rest, ret_len)) {
        return PEER_SEEN_NONE;
    }
    peer_link_consume(link, (size_t)(*ret_rest - at) + *ret_len);
    return (at[0] & KIND) == kind ? PEER_SEEN_MESSAGE : PEER_SEEN_OTHER;
}

static peer_seen message(peer_link *link, flx_slice *ret_payload)
{
    const uint8_t *rest = NULL;
    size_t len = 0;
    const peer_seen seen = next_of_kind(link, PUBLISH, &rest, &len);
    if (seen == PEER_SEEN_MESSAGE) {
        LOAD_CHECK(len >= 2);
        const size_t topic = 2 + ((size_t)rest[0] << 8 | rest[1]);
        LOAD_CHECK(len >= topic);
        *ret_payload = (flx_slice){rest + topic, len - topic};
    }
    return seen;
}

static peer_seen answer(peer_link *link, bool *ret_ok)
{
    const uint8_t *rest = NULL;
    size_t len = 0;
    *ret_ok = true; /* 3.1.1 knows no refusal but the end of the connection */
    return next_of_kind(link, PUBACK, &rest, &len);
}

static void await(peer_link *link, uint8_t kind)
{
    const uint8_t *rest = NULL;
    size_t len = 0;
    while (next_of_kind(link, kind, &rest, &len) != PEER_SEEN_MESSAGE) {
        (void)peer_link_fill(link, true);
    }
    LOAD_CHECK(kind != CONNACK || (len == 2 && rest[1] == 0));
}

static void hello(peer_link *link)
{
    static unsigned made;
    char id[24];
    const uint8_t len = (uint8_t)snprintf(id, sizeof id, "load%d-%u", (int)getpid(), made++);
    const uint8_t head[] = {0x10, (uint8_t)(12 + len),
                            0,    4,
                            'M',  'Q',
                            'T',  'T',
                            4,       /* level */
                            2,       /* clean session */
                            0,    0, /* no keep-alive */
                            0,    len};
    peer_link_open(link);
    peer_link_handshake(link);
    peer_link_write(link, head, sizeof head);
    peer_link_write(link, id, len);
    peer_link_flush(link);
    await(link, CONNACK);
}

static void subscribe(peer_link *link, const char *topic)
{
    const uint8_t len = (uint8_t)strlen(topic);
    const uint8_t head[] = {SUBSCRIBE, (uint8_t)(5 + len), 0, 1, 0, len};
    const uint8_t qos = 0;
    peer_link_write(link, head, sizeof head);
    peer_link_write(link, topic, len);
    peer_link_write(link, &qos, 1);
    peer_link_flush(link);
    await(link, 0x90); /* SUBACK */
}

static void prepare(peer_link *link, const char *topic)
{
    (void)link;
    (void)topic;
}

static size_t head(uint8_t *to, peer_request request, const char *topic, size_t size)
{
    static uint16_t packet_id;
    const size_t topic_len = strlen(topic);
    const bool acked = request == PEER_PUBLISH_ACKED;
    size_t rest = 2 + topic_len + (acked ? 2 : 0) + size;
    size_t len = 0;
    LOAD_CHECK(request == PEER_PUBLISH || acked);
    LOAD_CHECK(topic_len < PEER_HEAD_MAX - 16);
    to[len++] = acked ? PUBLISH | QOS1 : PUBLISH;
    do {
        to[len++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        rest >>= 7;
    } while (rest > 0);
    to[len++] = (uint8_t)(topic_len >> 8);
    to[len++] = (uint8_t)topic_len;
    memcpy(to + len, topic, topic_len);
    len += topic_len;
    if (acked) {
        packet_id = packet_id == UINT16_MAX ? 1 : (uint16_t)(packet_id + 1);
        to[len++] = (uint8_t)(packet_id >> 8);
        to[len++] = (uint8_t)packet_id;
    }
    return len;
}

const peer_protocol peer_mqtt = {.name = "mqtt",
                                 .hello = hello,
                                 .subscribe = subscribe,
                                 .prepare = prepare,
                                 .head = head,
                                 .tail = "",
                                 .message = message,
                                 .answer = answer};
