/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/frame.h - the envelope around every payload, and the reader that finds it in a stream.
 *
 *      0        4         6       8        12            12 + length
 *     +--------+---------+-------+--------+-------------+
 *     | "FLX1" | version | flags | length | payload ... |      all big-endian
 *     +--------+---------+-------+--------+-------------+
 *
 * The reader is pulled: the session gives it the bytes that arrived and asks for the next frame
 * until it wants more bytes. A binary frame that lies whole in those bytes is handed on where it
 * is. Everything else is gathered in a counted chunk that grows as bytes arrive, never by what a
 * header only announced; a later stage that wants to keep part of such a frame takes a reference
 * to the chunk instead of copying. JSON payloads (flags 0) are decoded in place, so they are always
 * given in the reader's own memory; binary ones are read-only.
 *
 * Threads: a reader belongs to one thread; a frame's chunk may be unreferenced on any.
 */
#ifndef FLX_WIRE_FRAME_H
#define FLX_WIRE_FRAME_H

#include "common/chunk.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_FRAME_MAGIC                     UINT32_C(0x464C5831) /* "FLX1" */
#define FLX_FRAME_VERSION                   1
#define FLX_FRAME_HEADER_BYTES              12
#define FLX_FRAME_BYTES_MAX                 UINT32_C(16777216) /* default limit of a payload */
#define FLX_FRAME_BYTES_MAX_UNAUTHENTICATED UINT32_C(65536)

typedef struct flx_frame_header {
    uint32_t len; /* payload bytes */
    uint16_t flags;
} flx_frame_header;

typedef enum flx_frame_check {
    FLX_FRAME_CHECK_OK,
    FLX_FRAME_CHECK_MORE, /* fewer than 12 bytes, and what is there may begin a header */
    FLX_FRAME_CHECK_BAD_MAGIC,
    FLX_FRAME_CHECK_BAD_VERSION,
    FLX_FRAME_CHECK_TOO_LARGE /* the length is above payload_max */
} flx_frame_check;

/* Reads a header. Bad magic shows with the first wrong byte. Flags are not judged here: see
 * flx_flags_unknown() and flx_flags_valid(). *ret_header is written on OK and on TOO_LARGE. */
flx_frame_check flx_frame_header_decode(flx_slice bytes, uint32_t payload_max,
                                        flx_frame_header *ret_header);

/* Writes the 12 bytes. */
void flx_frame_header_encode(uint16_t flags, uint32_t len,
                             uint8_t ret_bytes[FLX_FRAME_HEADER_BYTES]);

/* One frame as the reader hands it on. Valid until the next call on its reader and, when `chunk` is
 * NULL, only as long as the input it was found in. */
typedef struct flx_frame {
    uint16_t flags;
    flx_slice payload;
    uint8_t *json; /* the same bytes, writable, when flags == 0; NULL otherwise */
    flx_chunk
        *chunk; /* holds the payload at payload.ptr - chunk->data; NULL: it lies in the input */
} flx_frame;

typedef enum flx_frame_step {
    FLX_FRAME_READY,   /* *ret_frame is a frame */
    FLX_FRAME_MORE,    /* the input is used up */
    FLX_FRAME_REFUSED, /* unknown flag bits: answer it; flags and payload.len are set, the payload
                        * will be skipped by the calls that follow, reading goes on */
    FLX_FRAME_FAILED   /* reset the stream: FLX_ERR_PROTOCOL (magic, version), FLX_ERR_TOO_LARGE,
                        * FLX_ERR_NOMEM. Every later call fails as well. */
} flx_frame_step;

typedef struct flx_frame_reader {
    flx_chunk *chunk;      /* what the payload is gathered in; may be kept for the next one */
    uint32_t payload_max;  /* limit of a payload, from flx_frame_reader_limit */
    uint32_t payload_len;  /* of the frame being read */
    uint32_t payload_have; /* bytes of it that arrived, gathered or skipped */
    uint32_t proven_len;   /* payload gathered last, as far as it counts for the next one */
    uint16_t flags;        /* of the frame being read */
    uint16_t flags_known;  /* bits that are not refused */
    uint8_t header_have;   /* bytes in header; 12: in the payload */
    bool skipping;
    bool failed;
    uint8_t header[FLX_FRAME_HEADER_BYTES];
} flx_frame_reader;

/* `payload_max` is FLX_FRAME_BYTES_MAX_UNAUTHENTICATED until the stream authenticated itself. */
void flx_frame_reader_init(flx_frame_reader *reader, uint32_t payload_max);
void flx_frame_reader_done(flx_frame_reader *reader);

/* Changes the limit. Judged when a header is complete, so a frame already begun is not affected. */
void flx_frame_reader_limit(flx_frame_reader *reader, uint32_t payload_max);

/* Takes frames with flag 0x8000 from here on: both sides offered what it means on this stream. */
void flx_frame_reader_allow_extension(flx_frame_reader *reader);

/* Moves *input past what it took and says what it found. */
flx_frame_step flx_frame_reader_next(flx_frame_reader *reader, flx_slice *input,
                                     flx_frame *ret_frame, flx_error *reterr);

/* Whether the stream ends here cleanly: not inside a frame. For the FIN. */
bool flx_frame_reader_is_idle(const flx_frame_reader *reader);

#endif /* FLX_WIRE_FRAME_H */
