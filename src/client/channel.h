/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/channel.h - one bidirectional QUIC stream that authenticates itself and then carries
 * requests. Loop thread.
 *
 *     open -> AUTHENTICATING --auth_ok--> READY --+--> lost(error)     once, unless closed first
 *                   |                             |
 *                   +--------- refused -----------+
 *
 * Nothing is sent before auth_ok: what a broker may be sent is what it offered there.
 */
#ifndef FLX_CLIENT_CHANNEL_H
#define FLX_CLIENT_CHANNEL_H

#include "transport/quic.h"
#include "wire/frame.h"
#include "wire/message.h"

typedef struct flx_uplink flx_uplink;
typedef struct flx_channel flx_channel;

/* What a stream's context points to; first member of flx_channel and flx_incoming. */
typedef enum flx_stream_kind { FLX_STREAM_CHANNEL, FLX_STREAM_INCOMING } flx_stream_kind;

/* What the broker offered in auth_ok. */
typedef struct flx_offer {
    uint16_t flags;
    uint32_t features;
    uint32_t features_hi;
    uint32_t publish_window;   /* 0: not said */
    uint32_t operation_window; /* 0: no operation frames here */
    uint16_t ports[16];
    size_t port_count;
} flx_offer;

typedef struct flx_channel_ops {
    void (*ready)(flx_channel *channel);
    /* A binary frame; `msg` NULL. Or a JSON message; `frame` NULL. Both borrowed. */
    void (*received)(flx_channel *channel, const flx_frame *frame, flx_msg *msg);
    /* `refused`: the broker refused the token, so nothing that waited has been executed. */
    void (*lost)(flx_channel *channel, const flx_error *error, bool refused);
    void (*pull)(flx_channel *channel); /* NULL: not wanted */
} flx_channel_ops;

struct flx_channel {
    flx_stream_kind kind;
    bool ready;
    const flx_channel_ops *ops;
    void *owner;
    flx_uplink *uplink;
    flx_quic_stream *stream; /* NULL: closed */
    flx_frame_reader reader;
    flx_offer offer;
    flx_error error; /* the last `error` message, for what comes of it */
    bool has_error;
};

/* Opens it on an uplink that is up (or probing). `flags` are the frame flags offered.
 * FLX_ERR_AGAIN: no more streams now; FLX_ERR_UNAVAILABLE: no connection; token errors. */
flx_status flx_channel_open(flx_channel *channel, flx_uplink *uplink, const flx_channel_ops *ops,
                            void *owner, uint16_t flags, flx_error *reterr);
/* Takes the range's reference, whatever happens. */
flx_status flx_channel_write_take(flx_channel *channel, flx_range range);
flx_status flx_channel_send(flx_channel *channel, const flx_msg *msg, flx_error *reterr);
/* Sends FIN and reads on. */
void flx_channel_finish(flx_channel *channel);
/* Ends it without a word to its owner. Fine when closed. */
void flx_channel_close(flx_channel *channel);
static inline bool flx_channel_is_open(const flx_channel *channel)
{
    return channel->stream != NULL;
}

/* Closes it and says so: its owner hears `lost`. Fine when closed. */
void flx_channel_fail(flx_channel *channel, const flx_error *why);

/* From the endpoint's events. Gone: the transport has closed the stream. */
void flx_channel_data(flx_channel *channel, flx_slice data, bool fin);
void flx_channel_gone(flx_channel *channel, const flx_error *why);

#endif /* FLX_CLIENT_CHANNEL_H */
