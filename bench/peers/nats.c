/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers/nats.c - NATS client protocol: lines that end in CR LF, payloads behind them by length.
 *
 * An acknowledged publish is one to a stream of JetStream in memory: the answer comes as a message
 * to the subject that the publish named. Core NATS has none.
 */
#include "protocol.h"

#include <unistd.h>

#define TAIL_BYTES 2 /* CR LF behind a payload */
#define ANSWERS    "_INBOX.answers"

/* The decimal number that ends a line of `len` bytes, its CR LF included. */
static size_t last_number(const uint8_t *line, size_t len)
{
    size_t number = 0;
    size_t unit = 1;
    for (size_t i = len - TAIL_BYTES; i-- > 0 && line[i] >= '0' && line[i] <= '9';) {
        number += (size_t)(line[i] - '0') * unit;
        unit *= 10;
    }
    return number;
}

/* Everything but messages: a ping wants a pong, an error ends the run. */
static void other_line(peer_link *link, size_t len)
{
    const uint8_t *line = peer_link_at(link);
    if (line[0] == '-') {
        load_die("nats: %.*s", (int)len, (const char *)line);
    }
    if (len >= 4 && memcmp(line, "PING", 4) == 0) {
        peer_link_write_text(link, "PONG\r\n");
        peer_link_flush(link);
    }
    peer_link_consume(link, len);
}

static peer_seen message(peer_link *link, flx_slice *ret_payload)
{
    const size_t len = peer_link_line(link);
    if (len == 0) {
        return PEER_SEEN_NONE;
    }
    const uint8_t *line = peer_link_at(link);
    if (line[0] != 'M') {
        other_line(link, len);
        return PEER_SEEN_OTHER;
    }
    const size_t size = last_number(line, len);
    if (peer_link_readable(link) < len + size + TAIL_BYTES) {
        return PEER_SEEN_NONE;
    }
    *ret_payload = (flx_slice){line + len, size};
    peer_link_consume(link, len + size + TAIL_BYTES);
    return PEER_SEEN_MESSAGE;
}

static peer_seen answer(peer_link *link, bool *ret_ok)
{
    flx_slice text;
    const peer_seen seen = message(link, &text);
    if (seen == PEER_SEEN_MESSAGE) {
        *ret_ok = memmem(text.ptr, text.len, "\"error\"", 7) == NULL &&
                  memmem(text.ptr, text.len, "\"seq\"", 5) != NULL;
    }
    return seen;
}

/* All that was sent before is done when the pong is back. */
static void round_trip(peer_link *link)
{
    peer_link_write_text(link, "PING\r\n");
    peer_link_flush(link);
    for (bool done = false; !done;) {
        const size_t len = peer_link_need_line(link);
        done = memcmp(peer_link_at(link), "PONG", 4) == 0;
        other_line(link, len);
    }
}

static void hello(peer_link *link)
{
    peer_link_open(link);
    peer_link_consume(link, peer_link_need_line(link)); /* INFO, in clear */
    peer_link_handshake(link);
    peer_link_write_text(link,
                         "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":true,"
                         "\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n");
    round_trip(link);
}

static void subscribe(peer_link *link, const char *topic)
{
    char line[PEER_HEAD_MAX];
    (void)snprintf(line, sizeof line, "SUB %s 1\r\n", topic);
    peer_link_write_text(link, line);
    round_trip(link);
}

/* A stream in memory that keeps as much as a shard of Felix does, the last 64 MiB, or with --keep-bytes one
 * on disk that keeps so much. */
static void prepare(peer_link *link, const char *topic)
{
    char config[512];
    char head[PEER_HEAD_MAX];
    bool ok = false;
    const uint64_t keep = load_number("--keep-bytes", 0);
    subscribe(link, ANSWERS);
    (void)snprintf(config, sizeof config,
                   "{\"name\":\"%s\",\"subjects\":[\"%s\"],\"retention\":\"limits\","
                   "\"storage\":\"%s\",\"num_replicas\":1,\"max_bytes\":%llu,"
                   "\"max_msgs\":-1,\"discard\":\"old\"}",
                   topic, topic, keep > 0 ? "file" : "memory",
                   (unsigned long long)(keep > 0 ? keep : UINT64_C(67108864)));
    (void)snprintf(head, sizeof head, "PUB $JS.API.STREAM.CREATE.%s " ANSWERS " %zu\r\n", topic,
                   strlen(config));
    peer_link_write_text(link, head);
    peer_link_write_text(link, config);
    peer_link_write_text(link, "\r\n");
    peer_link_flush(link);
    while (answer(link, &ok) != PEER_SEEN_MESSAGE) {
        (void)peer_link_fill(link, true);
    }
}

/* A push consumer without acknowledgements, which ends with its connection. */
static void replay(peer_link *link, const char *topic)
{
    char config[512];
    char head[PEER_HEAD_MAX];
    char inbox[64];
    static uint64_t consumers;
    consumers++;
    (void)snprintf(inbox, sizeof inbox, "_INBOX.replay.%d.%llu", (int)getpid(),
                   (unsigned long long)consumers);
    subscribe(link, inbox);
    (void)snprintf(
        config, sizeof config,
        "{\"stream_name\":\"%s\",\"config\":{\"deliver_subject\":\"%s\","
        "\"deliver_policy\":\"all\",\"ack_policy\":\"none\",\"replay_policy\":\"instant\"}}",
        topic, inbox);
    (void)snprintf(head, sizeof head, "PUB $JS.API.CONSUMER.CREATE.%s %zu\r\n", topic,
                   strlen(config));
    peer_link_write_text(link, head);
    peer_link_write_text(link, config);
    peer_link_write_text(link, "\r\n");
    peer_link_flush(link);
}

static peer_seen replayed(peer_link *link, const char *topic, flx_slice *ret_payload)
{
    (void)topic;
    return message(link, ret_payload);
}

static size_t head(uint8_t *to, peer_request request, const char *topic, size_t size)
{
    LOAD_CHECK(request == PEER_PUBLISH || request == PEER_PUBLISH_ACKED); /* no cache measured */
    const char *answers = request == PEER_PUBLISH_ACKED ? " " ANSWERS : "";
    return (size_t)snprintf((char *)to, PEER_HEAD_MAX, "PUB %s%s %zu\r\n", topic, answers, size);
}

const peer_protocol peer_nats = {.name = "nats",
                                 .hello = hello,
                                 .subscribe = subscribe,
                                 .prepare = prepare,
                                 .head = head,
                                 .tail = "\r\n",
                                 .message = message,
                                 .replay = replay,
                                 .replayed = replayed,
                                 .answer = answer};
