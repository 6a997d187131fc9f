/* SPDX-License-Identifier: Apache-2.0 */
/* wire/flags.c - which bits go together, and what they are called. */
#include "wire/flags.h"

#include "common/assert.h"

#include <stddef.h>

#define CHECK_FEATURE(name, bit)    static_assert(FLX_FEATURE_##name == (bit), "one value a name");
#define CHECK_FEATURE_HI(name, bit) static_assert(FLX_FEATURE_HI_##name == (bit), "as above");
FLX_FEATURE_MAP(CHECK_FEATURE)
FLX_FEATURE_HI_MAP(CHECK_FEATURE_HI)

enum {
    PUBLISH = FLX_FLAG_BINARY_PUBLISH_BATCH,
    ACKED = FLX_FLAG_BINARY_PUBLISH_ACKED,
    KEYED = FLX_FLAG_BINARY_PUBLISH_KEYED,
    IDEMPOTENT = FLX_FLAG_BINARY_PUBLISH_IDEMPOTENT,
    EVENT_LEGACY = FLX_FLAG_BINARY_EVENT_BATCH,
    EVENT_SHARED = FLX_FLAG_BINARY_EVENT_BATCH_SHARED,
    OFFSETS = FLX_FLAG_EVENT_BATCH_OFFSETS,
    SKIPPED = FLX_FLAG_EVENT_BATCH_SKIPPED,
    EVENT_PARTS =
        OFFSETS | SKIPPED | FLX_FLAG_EVENT_BATCH_PUBLISHER | FLX_FLAG_EVENT_BATCH_TIMESTAMPS,
    ACK = FLX_FLAG_BINARY_PUBLISH_ACK,
    CODE = FLX_FLAG_BINARY_PUBLISH_ACK_CODE,
    DETAIL = FLX_FLAG_BINARY_PUBLISH_ACK_DETAIL,
    ACK_PARTS =
        FLX_FLAG_BINARY_PUBLISH_ACK_OWNER | CODE | DETAIL | FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET
};

static bool publish_is_valid(unsigned flags)
{
    if ((flags & ~(unsigned)(PUBLISH | ACKED | KEYED | IDEMPOTENT)) != 0) {
        return false;
    }
    return (flags & IDEMPOTENT) == 0 || (flags & ACKED) != 0;
}

static bool event_is_valid(unsigned flags)
{
    const unsigned form = flags & (EVENT_LEGACY | EVENT_SHARED);
    if (form == (EVENT_LEGACY | EVENT_SHARED) || (flags & ~(form | EVENT_PARTS)) != 0) {
        return false;
    }
    return (flags & SKIPPED) == 0 || (flags & OFFSETS) != 0;
}

/* Failures carry a code, successes an offset: never both. */
static bool ack_is_valid(unsigned flags)
{
    if ((flags & ~(unsigned)(ACK | ACK_PARTS)) != 0) {
        return false;
    }
    if ((flags & DETAIL) != 0 && (flags & CODE) == 0) {
        return false;
    }
    return (flags & CODE) == 0 || (flags & FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET) == 0;
}

bool flx_flags_valid(uint16_t flags, flx_dir sender)
{
    FLX_ASSERT(sender == FLX_DIR_CLIENT || sender == FLX_DIR_BROKER);
    if (flags == 0) {
        return true;
    }
    if (sender == FLX_DIR_CLIENT) {
        return (flags & PUBLISH) != 0 && publish_is_valid(flags);
    }
    if ((flags & (EVENT_LEGACY | EVENT_SHARED)) != 0) {
        return event_is_valid(flags);
    }
    return (flags & ACK) != 0 && ack_is_valid(flags);
}

uint16_t flx_flags_of(flx_dir sender)
{
    unsigned flags = 0;
#define ADD(name, bit, dir) flags |= ((dir) & (sender)) != 0 ? (bit) : 0u;
    FLX_FLAG_MAP(ADD)
#undef ADD
    return (uint16_t)flags;
}

const char *flx_flag_name(uint16_t bit)
{
    switch (bit) {
#define NAME(name, bit, dir)                                                                       \
    case (bit):                                                                                    \
        return #name;
        FLX_FLAG_MAP(NAME)
#undef NAME
    default:
        return NULL;
    }
}

const char *flx_feature_name(uint32_t bit)
{
    switch (bit) {
#define NAME(name, bit)                                                                            \
    case (bit):                                                                                    \
        return #name;
        FLX_FEATURE_MAP(NAME)
    default:
        return NULL;
    }
}

const char *flx_feature_hi_name(uint32_t bit)
{
    switch (bit) {
        FLX_FEATURE_HI_MAP(NAME)
#undef NAME
    default:
        return NULL;
    }
}
