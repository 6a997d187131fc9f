/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/code.h - what a refusal says: error codes and retry classes. docs/spec/wire.md 6.
 *
 * Codes are open: a number or name we do not know is kept and passed on, and its retry class
 * decides. An unknown class reads as fatal. Pure; any thread; names are static memory.
 */
#ifndef FLX_WIRE_CODE_H
#define FLX_WIRE_CODE_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

/* Row: NAME, number (never 0), name, default retry class, status a client reports. */
#define FLX_CODE_MAP(X)                                                                            \
    X(UNAUTHENTICATED, 1, "unauthenticated", FATAL, ERR_UNAUTHENTICATED)                           \
    X(FORBIDDEN, 2, "forbidden", FATAL, ERR_DENIED)                                                \
    X(NOT_FOUND, 3, "not_found", AFTER, ERR_NOT_FOUND)                                             \
    X(INVALID_REQUEST, 4, "invalid_request", FATAL, ERR_INVALID)                                   \
    X(SHARD_UNAVAILABLE, 5, "shard_unavailable", NOW, ERR_UNAVAILABLE)                             \
    X(NOT_LEADER, 6, "not_leader", REDIRECT, ERR_UNAVAILABLE)                                      \
    X(QUORUM_TIMEOUT, 7, "quorum_timeout", OUTCOME_UNKNOWN, ERR_UNKNOWN_OUTCOME)                   \
    X(LEADERSHIP_LOST, 8, "leadership_lost", OUTCOME_UNKNOWN, ERR_UNKNOWN_OUTCOME)                 \
    X(UNACKNOWLEDGED, 9, "unacknowledged", OUTCOME_UNKNOWN, ERR_UNKNOWN_OUTCOME)                   \
    X(OVERLOADED, 10, "overloaded", AFTER, ERR_AGAIN)                                              \
    X(LIMIT_EXCEEDED, 11, "limit_exceeded", FATAL, ERR_AGAIN)                                      \
    X(DRAINING, 12, "draining", NOW, ERR_UNAVAILABLE)                                              \
    X(INTERNAL, 13, "internal", OUTCOME_UNKNOWN, ERR_INTERNAL)                                     \
    X(STORAGE, 14, "storage", OUTCOME_UNKNOWN, ERR_IO)                                             \
    X(STALE_CLAIM, 15, "stale_claim", NOW, ERR_CONFLICT)

typedef enum flx_code {
    FLX_CODE_NONE = 0, /* never sent */
#define FLX_CODE_ENUM(name, number, text, retry, status) FLX_CODE_##name = (number),
    FLX_CODE_MAP(FLX_CODE_ENUM)
#undef FLX_CODE_ENUM
} flx_code;

/* "not_found"; NULL for a number this version does not know. */
const char *flx_code_name(uint16_t code);

/* The same as a slice for a message's `code` field; {NULL, 0} when unknown. */
flx_slice flx_code_slice(uint16_t code);

/* The number of a name, FLX_CODE_NONE when this version does not know it. */
uint16_t flx_code_find(flx_slice name);

/* The class sent with a code unless the place of failure knows better; fatal when unknown. */
flx_retry flx_code_retry(uint16_t code);

/* What a client reports for a code. An unknown code is told by its retry class. */
flx_status flx_code_status(uint16_t code, flx_retry retry);

/* "retry", "retry_after", "redirect", "outcome_unknown", "fatal"; "fatal" for anything else. */
const char *flx_retry_name(flx_retry retry);
flx_slice flx_retry_slice(flx_retry retry);

/* The class of a name or of a byte of a binary ack; anything unknown is fatal. */
flx_retry flx_retry_find(flx_slice name);
flx_retry flx_retry_from_byte(uint8_t byte);

#endif /* FLX_WIRE_CODE_H */
