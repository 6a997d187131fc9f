/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers/redis.c - RESP 2: a type, a number and CR LF before everything, CR LF behind it.
 *
 * An acknowledged publish is XADD to a stream that keeps about as many entries as 64 MiB of them.
 * PUBLISH is answered too (how many had it), but keeps nothing.
 */
#include "protocol.h"

#define TAIL_BYTES   2
#define KEPT_ENTRIES "262144" /* 64 MiB of 256 bytes */

/* The number behind the type of the line at `at`. */
static long number_at(const uint8_t *at)
{
    return strtol((const char *)at + 1, NULL, 10); /* ends at the CR that is known to follow */
}

/*
 * The bulk string at `from` (bytes behind the head of the link): its length with head and tail, 0
 * while it is not whole. A nil is a string of its own kind: *ret_value.ptr is NULL.
 */
static size_t bulk(const peer_link *link, size_t from, flx_slice *ret_value)
{
    const uint8_t *at = peer_link_at(link) + from;
    const size_t have = peer_link_readable(link) - from;
    const uint8_t *feed = memchr(at, '\n', have);
    if (feed == NULL) {
        return 0;
    }
    const size_t line = (size_t)(feed - at) + 1;
    const long len = number_at(at);
    if (len < 0) {
        *ret_value = (flx_slice){NULL, 0};
        return line;
    }
    if (have < line + (size_t)len + TAIL_BYTES) {
        return 0;
    }
    *ret_value = (flx_slice){at + line, (size_t)len};
    return line + (size_t)len + TAIL_BYTES;
}

/* *3, "message", channel, payload. */
static peer_seen message(peer_link *link, flx_slice *ret_payload)
{
    size_t at = peer_link_line(link);
    if (at == 0) {
        return PEER_SEEN_NONE;
    }
    if (peer_link_at(link)[0] != '*') {
        load_die("redis: %.*s", (int)at, (const char *)peer_link_at(link));
    }
    for (int part = 0; part < 3; part++) {
        const size_t len = bulk(link, at, ret_payload);
        if (len == 0) {
            return PEER_SEEN_NONE;
        }
        at += len;
    }
    peer_link_consume(link, at);
    return PEER_SEEN_MESSAGE;
}

static peer_seen answer(peer_link *link, bool *ret_ok)
{
    const size_t line = peer_link_line(link);
    if (line == 0) {
        return PEER_SEEN_NONE;
    }
    flx_slice value = {NULL, 0};
    size_t len = line;
    switch (peer_link_at(link)[0]) {
    case '$':
        len = bulk(link, 0, &value);
        if (len == 0) {
            return PEER_SEEN_NONE;
        }
        *ret_ok = value.ptr != NULL;
        break;
    case '+':
    case ':':
        *ret_ok = true;
        break;
    default:
        load_die("redis: %.*s", (int)line, (const char *)peer_link_at(link));
    }
    peer_link_consume(link, len);
    return PEER_SEEN_MESSAGE;
}

static void hello(peer_link *link)
{
    peer_link_open(link);
    peer_link_handshake(link);
}

static void subscribe(peer_link *link, const char *topic)
{
    char request[PEER_HEAD_MAX];
    (void)snprintf(request, sizeof request, "*2\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n",
                   strlen(topic), topic);
    peer_link_write_text(link, request);
    peer_link_flush(link);
    for (int line = 0; line < 6; line++) { /* *3, "subscribe", the channel, :1 */
        peer_link_consume(link, peer_link_need_line(link));
    }
}

/* The next page of a stream, behind what is here. */
static void ask_page(peer_link *link, const char *topic)
{
    char request[2 * PEER_HEAD_MAX];
    (void)snprintf(
        request, sizeof request,
        "*6\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$4\r\n1000\r\n$7\r\nSTREAMS\r\n$%zu\r\n%s\r\n"
        "$%zu\r\n%s\r\n",
        strlen(topic), topic, strlen(link->page_last), link->page_last);
    peer_link_write_text(link, request);
    peer_link_flush(link);
}

static void replay(peer_link *link, const char *topic)
{
    (void)snprintf(link->page_last, sizeof link->page_last, "0");
    ask_page(link, topic);
}

/* *1, *2, the stream, *N: what stands before the entries of a page. */
static peer_seen page_head(peer_link *link)
{
    size_t at = 0;
    for (int part = 0; part < 4; part++) {
        const uint8_t *line = peer_link_at(link) + at;
        const uint8_t *feed = memchr(line, '\n', peer_link_readable(link) - at);
        flx_slice name;
        size_t len = 0;
        if (feed != NULL) {
            len = part == 2 ? bulk(link, at, &name) : (size_t)(feed - line) + 1;
        }
        if (len == 0) {
            return PEER_SEEN_NONE;
        }
        if (part == 3) {
            link->page_left = (uint64_t)number_at(line);
        }
        at += len;
    }
    peer_link_consume(link, at);
    return PEER_SEEN_OTHER;
}

/* *2, the id, *2, the field's name, its value. */
static peer_seen page_entry(peer_link *link, flx_slice *ret_payload)
{
    size_t at = 0;
    flx_slice id = {NULL, 0};
    for (int part = 0; part < 5; part++) {
        const bool is_array = part == 0 || part == 2;
        const uint8_t *line = peer_link_at(link) + at;
        const uint8_t *feed = memchr(line, '\n', peer_link_readable(link) - at);
        size_t len = 0;
        if (feed != NULL) {
            len = is_array ? (size_t)(feed - line) + 1
                           : bulk(link, at, part == 1 ? &id : ret_payload);
        }
        if (len == 0) {
            return PEER_SEEN_NONE;
        }
        at += len;
    }
    LOAD_CHECK(id.ptr != NULL && id.len < sizeof link->page_last);
    memcpy(link->page_last, id.ptr, id.len);
    link->page_last[id.len] = '\0';
    peer_link_consume(link, at);
    link->page_left--;
    return PEER_SEEN_MESSAGE;
}

/* Asks for the next page when the last message of one is here. */
static peer_seen replayed(peer_link *link, const char *topic, flx_slice *ret_payload)
{
    if (peer_link_readable(link) == 0) {
        return PEER_SEEN_NONE;
    }
    if (link->page_left == 0) {
        return peer_link_at(link)[0] == '*' && number_at(peer_link_at(link)) < 0
                   ? PEER_SEEN_NONE /* no more is there */
                   : page_head(link);
    }
    const peer_seen seen = page_entry(link, ret_payload);
    if (seen == PEER_SEEN_MESSAGE && link->page_left == 0) {
        ask_page(link, topic);
    }
    return seen;
}

static void prepare(peer_link *link, const char *topic)
{
    (void)link; /* the first XADD makes the stream */
    (void)topic;
}

static size_t head(uint8_t *to, peer_request request, const char *topic, size_t size)
{
    const size_t len = strlen(topic);
    char *text = (char *)to;
    int written = 0;
    switch (request) {
    case PEER_PUBLISH:
        written = snprintf(text, PEER_HEAD_MAX, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n%s\r\n$%zu\r\n",
                           len, topic, size);
        break;
    case PEER_PUBLISH_ACKED:
        written = snprintf(
            text, PEER_HEAD_MAX,
            "*8\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n$6\r\n" KEPT_ENTRIES
            "\r\n$1\r\n*\r\n$1\r\nd\r\n$%zu\r\n",
            len, topic, size);
        break;
    case PEER_PUT:
        written = snprintf(text, PEER_HEAD_MAX, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n", len,
                           topic, size);
        break;
    case PEER_GET:
        written = snprintf(text, PEER_HEAD_MAX, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", len, topic);
        break;
    }
    LOAD_CHECK(written > 0 && written < PEER_HEAD_MAX);
    return (size_t)written;
}

const peer_protocol peer_redis = {.name = "redis",
                                  .hello = hello,
                                  .subscribe = subscribe,
                                  .prepare = prepare,
                                  .head = head,
                                  .tail = "\r\n",
                                  .message = message,
                                  .replay = replay,
                                  .replayed = replayed,
                                  .answer = answer};
