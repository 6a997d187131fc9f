/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/format_segment.c - what surrounds batches: segment header, index, trailer, log state, store
 * file, register entry. docs/spec/disk.md 2, 4, 5 and 6 draw them.
 *
 * All begin or end with eight bytes that say what they are, have a version, and a CRC over everything
 * else: a flipped bit anywhere in them is noticed, and a later format is refused by name.
 */
#include "common/assert.h"
#include "common/error.h"
#include "storage/crc.h"
#include "storage/format.h"
#include "wire/bytes.h"

#define VERSION UINT32_C(1)

#define SEGMENT_MAGIC  UINT64_C(0x464c585345470d0a) /* "FLXSEG\r\n": a text transfer breaks it */
#define TRAILER_MAGIC  UINT64_C(0x464c58454e440d0a) /* "FLXEND\r\n" */
#define STATE_MAGIC    UINT64_C(0x464c584c4f470d0a) /* "FLXLOG\r\n" */
#define STORE_MAGIC    UINT64_C(0x464c584449520d0a) /* "FLXDIR\r\n" */
#define REGISTER_MAGIC UINT64_C(0x464c585245470d0a) /* "FLXREG\r\n" */

#define FLAG_COMPACTED 1u

/* Header, state, store file and register entry begin alike: magic, version, CRC of what follows. */
enum { AT_MAGIC = 0, AT_VERSION = 8, AT_CRC = 12, AT_REST = 16 };

static flx_slice slice(const uint8_t *ptr, size_t len)
{
    return (flx_slice){ptr, len};
}

static void front_encode(uint64_t magic, size_t len, uint8_t *to)
{
    (void)flx_put_u64(to + AT_MAGIC, magic);
    (void)flx_put_u32(to + AT_VERSION, VERSION);
    (void)flx_put_u32(to + AT_CRC, flx_crc32c(slice(to + AT_REST, len - AT_REST)));
}

/* The magic and version are covered by being compared. `what` names the structure in the message. */
static flx_status front_check(flx_slice bytes, uint64_t magic, size_t len_min, const char *what,
                              flx_error *reterr)
{
    if (bytes.len < len_min || flx_get_u64(bytes.ptr + AT_MAGIC) != magic) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "no %s", what);
    }
    if (flx_crc32c(slice(bytes.ptr + AT_REST, bytes.len - AT_REST)) !=
        flx_get_u32(bytes.ptr + AT_CRC)) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "the checksum of the %s is wrong", what);
    }
    const uint32_t version = flx_get_u32(bytes.ptr + AT_VERSION);
    if (version != VERSION) {
        return flx_fail(reterr, FLX_ERR_UNSUPPORTED, "%s of version %u, this program knows %u",
                        what, version, VERSION);
    }
    return FLX_OK;
}

/* ---- segment header ------------------------------------------------------------------------- */

enum {
    HEADER_STORE_ID = 16,
    HEADER_LOG_ID = 32,
    HEADER_BASE = 48,
    HEADER_EPOCH = 56,
    HEADER_CREATED = 64,
    HEADER_FLAGS = 72,
    HEADER_RESERVED = 76
};
static_assert(HEADER_RESERVED + 20 == FLX_SEGMENT_HEADER_BYTES, "docs/spec/disk.md 2");

void flx_segment_header_encode(const flx_segment_header *header,
                               uint8_t to[FLX_SEGMENT_HEADER_BYTES])
{
    memcpy(to + HEADER_STORE_ID, header->store_id, FLX_DISK_ID_BYTES);
    memcpy(to + HEADER_LOG_ID, header->log_id, FLX_DISK_ID_BYTES);
    (void)flx_put_u64(to + HEADER_BASE, header->base_offset);
    (void)flx_put_u64(to + HEADER_EPOCH, header->epoch);
    (void)flx_put_u64(to + HEADER_CREATED, header->created_us);
    (void)flx_put_u32(to + HEADER_FLAGS, header->is_compacted ? FLAG_COMPACTED : 0);
    memset(to + HEADER_RESERVED, 0, FLX_SEGMENT_HEADER_BYTES - HEADER_RESERVED);
    front_encode(SEGMENT_MAGIC, FLX_SEGMENT_HEADER_BYTES, to);
}

flx_status flx_segment_header_decode(flx_slice bytes, flx_segment_header *ret_header,
                                     flx_error *reterr)
{
    bytes.len = bytes.len < FLX_SEGMENT_HEADER_BYTES ? bytes.len : FLX_SEGMENT_HEADER_BYTES;
    const flx_status status =
        front_check(bytes, SEGMENT_MAGIC, FLX_SEGMENT_HEADER_BYTES, "segment header", reterr);
    if (status != FLX_OK) {
        return status;
    }
    memcpy(ret_header->store_id, bytes.ptr + HEADER_STORE_ID, FLX_DISK_ID_BYTES);
    memcpy(ret_header->log_id, bytes.ptr + HEADER_LOG_ID, FLX_DISK_ID_BYTES);
    ret_header->base_offset = flx_get_u64(bytes.ptr + HEADER_BASE);
    ret_header->epoch = flx_get_u64(bytes.ptr + HEADER_EPOCH);
    ret_header->created_us = flx_get_u64(bytes.ptr + HEADER_CREATED);
    ret_header->is_compacted = (flx_get_u32(bytes.ptr + HEADER_FLAGS) & FLAG_COMPACTED) != 0;
    return FLX_OK;
}

/* ---- index and trailer ---------------------------------------------------------------------- */

void flx_segment_mark_encode(const flx_segment_mark *mark, uint8_t to[FLX_SEGMENT_MARK_BYTES])
{
    (void)flx_put_u64(to, mark->offset);
    (void)flx_put_u64(to + 8, mark->time_us);
    (void)flx_put_u64(to + 16, mark->position);
}

void flx_segment_mark_decode(const uint8_t from[FLX_SEGMENT_MARK_BYTES], flx_segment_mark *ret_mark)
{
    ret_mark->offset = flx_get_u64(from);
    ret_mark->time_us = flx_get_u64(from + 8);
    ret_mark->position = flx_get_u64(from + 16);
}

enum {
    TRAILER_CRC = 0,
    TRAILER_MARKS = 4,
    TRAILER_BASE = 8,
    TRAILER_END = 16,
    TRAILER_RECORDS = 24,
    TRAILER_BATCHES = 32,
    TRAILER_TIME_FIRST = 40,
    TRAILER_TIME_LAST = 48,
    TRAILER_EPOCH = 56,
    TRAILER_DATA_END = 64,
    TRAILER_RESERVED = 72,
    TRAILER_VERSION = 84,
    TRAILER_MAGIC_AT = 88
};
static_assert(TRAILER_MAGIC_AT + 8 == FLX_SEGMENT_TRAILER_BYTES, "docs/spec/disk.md 4");

static uint32_t footer_crc(flx_slice index, const uint8_t *trailer)
{
    return flx_crc32c_add(flx_crc32c(index), slice(trailer + TRAILER_MARKS,
                                                   FLX_SEGMENT_TRAILER_BYTES - TRAILER_MARKS));
}

void flx_segment_trailer_encode(const flx_segment_trailer *trailer, flx_slice index,
                                uint8_t to[FLX_SEGMENT_TRAILER_BYTES])
{
    FLX_ASSERT(index.len == (size_t)trailer->mark_count * FLX_SEGMENT_MARK_BYTES);
    (void)flx_put_u32(to + TRAILER_MARKS, trailer->mark_count);
    (void)flx_put_u64(to + TRAILER_BASE, trailer->base_offset);
    (void)flx_put_u64(to + TRAILER_END, trailer->end_offset);
    (void)flx_put_u64(to + TRAILER_RECORDS, trailer->records);
    (void)flx_put_u64(to + TRAILER_BATCHES, trailer->batches);
    (void)flx_put_u64(to + TRAILER_TIME_FIRST, trailer->time_first_us);
    (void)flx_put_u64(to + TRAILER_TIME_LAST, trailer->time_last_us);
    (void)flx_put_u64(to + TRAILER_EPOCH, trailer->epoch_last);
    (void)flx_put_u64(to + TRAILER_DATA_END, trailer->data_end);
    memset(to + TRAILER_RESERVED, 0, TRAILER_VERSION - TRAILER_RESERVED);
    (void)flx_put_u32(to + TRAILER_VERSION, VERSION);
    (void)flx_put_u64(to + TRAILER_MAGIC_AT, TRAILER_MAGIC);
    (void)flx_put_u32(to + TRAILER_CRC, footer_crc(index, to));
}

flx_status flx_segment_trailer_peek(flx_slice last_bytes, uint64_t file_bytes,
                                    flx_segment_trailer *ret_trailer)
{
    const uint64_t around = FLX_SEGMENT_HEADER_BYTES + FLX_SEGMENT_TRAILER_BYTES;
    if (last_bytes.len < FLX_SEGMENT_TRAILER_BYTES || file_bytes < around) {
        return FLX_ERR_CORRUPT;
    }
    const uint8_t *at = last_bytes.ptr + last_bytes.len - FLX_SEGMENT_TRAILER_BYTES;
    const flx_segment_trailer trailer = {
        .mark_count = flx_get_u32(at + TRAILER_MARKS),
        .base_offset = flx_get_u64(at + TRAILER_BASE),
        .end_offset = flx_get_u64(at + TRAILER_END),
        .records = flx_get_u64(at + TRAILER_RECORDS),
        .batches = flx_get_u64(at + TRAILER_BATCHES),
        .time_first_us = flx_get_u64(at + TRAILER_TIME_FIRST),
        .time_last_us = flx_get_u64(at + TRAILER_TIME_LAST),
        .epoch_last = flx_get_u64(at + TRAILER_EPOCH),
        .data_end = flx_get_u64(at + TRAILER_DATA_END),
    };
    const uint64_t index_bytes = (uint64_t)trailer.mark_count * FLX_SEGMENT_MARK_BYTES;
    if (flx_get_u64(at + TRAILER_MAGIC_AT) != TRAILER_MAGIC ||
        flx_get_u32(at + TRAILER_VERSION) != VERSION || index_bytes > file_bytes - around ||
        trailer.data_end != file_bytes - FLX_SEGMENT_TRAILER_BYTES - index_bytes ||
        trailer.base_offset > trailer.end_offset) {
        return FLX_ERR_CORRUPT;
    }
    *ret_trailer = trailer;
    return FLX_OK;
}

flx_status flx_segment_trailer_check(flx_slice footer)
{
    if (footer.len < FLX_SEGMENT_TRAILER_BYTES) {
        return FLX_ERR_CORRUPT;
    }
    const size_t index_len = footer.len - FLX_SEGMENT_TRAILER_BYTES;
    const uint8_t *trailer = footer.ptr + index_len;
    const bool is_whole =
        flx_get_u32(trailer + TRAILER_CRC) == footer_crc(slice(footer.ptr, index_len), trailer) &&
        (uint64_t)flx_get_u32(trailer + TRAILER_MARKS) * FLX_SEGMENT_MARK_BYTES == index_len;
    return is_whole ? FLX_OK : FLX_ERR_CORRUPT;
}

/* ---- the state of a log --------------------------------------------------------------------- */

enum {
    STATE_STORE_ID = 16,
    STATE_LOG_ID = 32,
    STATE_PROMISED = 48,
    STATE_CHECKPOINT_EPOCH = 56,
    STATE_CHECKPOINT_END = 64,
    STATE_START = 72,
    STATE_COLLAPSED = 80,
    STATE_EPOCH_COUNT = 88,
    STATE_LABEL_LEN = 92,
    STATE_RESERVED = 94,
    STATE_EPOCHS = 96,
    EPOCH_BYTES = 16
};
static_assert(STATE_EPOCHS == FLX_LOG_STATE_HEAD_BYTES, "docs/spec/disk.md 5");

size_t flx_log_state_bytes(const flx_log_state *state)
{
    return FLX_LOG_STATE_HEAD_BYTES + (size_t)state->epoch_count * EPOCH_BYTES + state->label.len;
}

void flx_log_state_encode(const flx_log_state *state, uint8_t *to)
{
    FLX_ASSERT(state->epoch_count > 0 && state->epoch_count <= FLX_LOG_STATE_EPOCHS_MAX);
    FLX_ASSERT(state->label.len <= FLX_LOG_STATE_LABEL_MAX);
    memcpy(to + STATE_STORE_ID, state->store_id, FLX_DISK_ID_BYTES);
    memcpy(to + STATE_LOG_ID, state->log_id, FLX_DISK_ID_BYTES);
    (void)flx_put_u64(to + STATE_PROMISED, state->promised_epoch);
    (void)flx_put_u64(to + STATE_CHECKPOINT_EPOCH, state->checkpoint_epoch);
    (void)flx_put_u64(to + STATE_CHECKPOINT_END, state->checkpoint_end);
    (void)flx_put_u64(to + STATE_START, state->start_offset);
    (void)flx_put_u64(to + STATE_COLLAPSED, state->collapsed_below);
    (void)flx_put_u32(to + STATE_EPOCH_COUNT, state->epoch_count);
    (void)flx_put_u16(to + STATE_LABEL_LEN, (uint16_t)state->label.len);
    (void)flx_put_u16(to + STATE_RESERVED, 0);
    uint8_t *at = to + STATE_EPOCHS;
    for (uint32_t i = 0; i < state->epoch_count; i++) {
        at = flx_put_u64(at, state->epochs[i].epoch);
        at = flx_put_u64(at, state->epochs[i].first_offset);
    }
    (void)flx_put_bytes(at, state->label);
    front_encode(STATE_MAGIC, flx_log_state_bytes(state), to);
}

static bool epochs_decode(const uint8_t *from, uint32_t count, flx_log_epoch *epochs)
{
    for (uint32_t i = 0; i < count; i++) {
        epochs[i].epoch = flx_get_u64(from + (size_t)i * EPOCH_BYTES);
        epochs[i].first_offset = flx_get_u64(from + (size_t)i * EPOCH_BYTES + 8);
        const bool rises = i == 0 ? epochs[0].epoch > 0
                                  : epochs[i].epoch > epochs[i - 1].epoch &&
                                        epochs[i].first_offset >= epochs[i - 1].first_offset;
        if (!rises) {
            return false;
        }
    }
    return true;
}

flx_status flx_log_state_decode(flx_slice bytes, flx_log_epoch *epochs, flx_log_state *ret_state,
                                flx_error *reterr)
{
    const flx_status status =
        front_check(bytes, STATE_MAGIC, FLX_LOG_STATE_HEAD_BYTES, "log state", reterr);
    if (status != FLX_OK) {
        return status;
    }
    const uint8_t *at = bytes.ptr;
    flx_log_state state = {
        .promised_epoch = flx_get_u64(at + STATE_PROMISED),
        .checkpoint_epoch = flx_get_u64(at + STATE_CHECKPOINT_EPOCH),
        .checkpoint_end = flx_get_u64(at + STATE_CHECKPOINT_END),
        .start_offset = flx_get_u64(at + STATE_START),
        .collapsed_below = flx_get_u64(at + STATE_COLLAPSED),
        .epoch_count = flx_get_u32(at + STATE_EPOCH_COUNT),
        .epochs = epochs,
        .label = {NULL, flx_get_u16(at + STATE_LABEL_LEN)},
    };
    memcpy(state.store_id, at + STATE_STORE_ID, FLX_DISK_ID_BYTES);
    memcpy(state.log_id, at + STATE_LOG_ID, FLX_DISK_ID_BYTES);
    if (state.epoch_count == 0 || state.epoch_count > FLX_LOG_STATE_EPOCHS_MAX ||
        state.label.len > FLX_LOG_STATE_LABEL_MAX || bytes.len != flx_log_state_bytes(&state) ||
        !epochs_decode(at + STATE_EPOCHS, state.epoch_count, epochs)) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "a log state that cannot be");
    }
    state.label.ptr = at + STATE_EPOCHS + (size_t)state.epoch_count * EPOCH_BYTES;
    *ret_state = state;
    return FLX_OK;
}

/* ---- the store ------------------------------------------------------------------------------ */

#define FLAG_HAS_REGISTER 1u

enum { STORE_ID = 16, STORE_CREATED = 32, STORE_FLAGS = 40, STORE_RESERVED = 44 };
static_assert(STORE_RESERVED + 20 == FLX_STORE_FILE_BYTES, "docs/spec/disk.md 6");

void flx_store_file_encode(const flx_store_file *file, uint8_t to[FLX_STORE_FILE_BYTES])
{
    memcpy(to + STORE_ID, file->store_id, FLX_DISK_ID_BYTES);
    (void)flx_put_u64(to + STORE_CREATED, file->created_us);
    (void)flx_put_u32(to + STORE_FLAGS, file->has_register ? FLAG_HAS_REGISTER : 0);
    memset(to + STORE_RESERVED, 0, FLX_STORE_FILE_BYTES - STORE_RESERVED);
    front_encode(STORE_MAGIC, FLX_STORE_FILE_BYTES, to);
}

flx_status flx_store_file_decode(flx_slice bytes, flx_store_file *ret_file, flx_error *reterr)
{
    const flx_status status =
        front_check(bytes, STORE_MAGIC, FLX_STORE_FILE_BYTES, "store file", reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (bytes.len != FLX_STORE_FILE_BYTES) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "a store file that cannot be");
    }
    memcpy(ret_file->store_id, bytes.ptr + STORE_ID, FLX_DISK_ID_BYTES);
    ret_file->created_us = flx_get_u64(bytes.ptr + STORE_CREATED);
    ret_file->has_register = (flx_get_u32(bytes.ptr + STORE_FLAGS) & FLAG_HAS_REGISTER) != 0;
    return FLX_OK;
}

enum { ENTRY_STORE_ID = 16, ENTRY_LOG_ID = 32, ENTRY_CREATED = 48, ENTRY_RESERVED = 56 };
static_assert(ENTRY_RESERVED + 8 == FLX_REGISTER_ENTRY_BYTES, "docs/spec/disk.md 6");

void flx_register_entry_encode(const flx_register_entry *entry,
                               uint8_t to[FLX_REGISTER_ENTRY_BYTES])
{
    memcpy(to + ENTRY_STORE_ID, entry->store_id, FLX_DISK_ID_BYTES);
    memcpy(to + ENTRY_LOG_ID, entry->log_id, FLX_DISK_ID_BYTES);
    (void)flx_put_u64(to + ENTRY_CREATED, entry->created_us);
    memset(to + ENTRY_RESERVED, 0, FLX_REGISTER_ENTRY_BYTES - ENTRY_RESERVED);
    front_encode(REGISTER_MAGIC, FLX_REGISTER_ENTRY_BYTES, to);
}

flx_status flx_register_entry_decode(flx_slice bytes, flx_register_entry *ret_entry,
                                     flx_error *reterr)
{
    const flx_status status =
        front_check(bytes, REGISTER_MAGIC, FLX_REGISTER_ENTRY_BYTES, "register entry", reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (bytes.len != FLX_REGISTER_ENTRY_BYTES) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "a register entry that cannot be");
    }
    memcpy(ret_entry->store_id, bytes.ptr + ENTRY_STORE_ID, FLX_DISK_ID_BYTES);
    memcpy(ret_entry->log_id, bytes.ptr + ENTRY_LOG_ID, FLX_DISK_ID_BYTES);
    ret_entry->created_us = flx_get_u64(bytes.ptr + ENTRY_CREATED);
    return FLX_OK;
}
