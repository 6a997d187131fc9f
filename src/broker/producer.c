/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/producer.c - producer memory: a chained hash of entries, each in a list from silent to
 * recent. An entry holds its batches in a ring by sequence number.
 */
#include "broker/producer.h"

#include "common/alloc.h"
#include "common/assert.h"

#include <string.h>

#define PRODUCER_BUCKETS 1024

typedef struct producer_batch {
    uint64_t offset;
    uint64_t digest;
} producer_batch;

typedef struct producer {
    uint64_t id;
    uint64_t next;  /* sequence expected */
    uint64_t first; /* lowest sequence remembered, unless FLX_PRODUCER_BATCHES came after it */
    struct producer *chain;
    struct producer *older; /* less recent */
    struct producer *newer;
    producer_batch batches[FLX_PRODUCER_BATCHES]; /* [sequence % FLX_PRODUCER_BATCHES] */
} producer;

struct flx_producers {
    producer *buckets[PRODUCER_BUCKETS];
    producer *oldest;
    producer *newest;
    uint32_t count;
};

/* CRC-64/XZ by half bytes: reflected polynomial 0xc96c5795d7870f42. */
static const uint64_t crc64_nibbles[16] = {
    UINT64_C(0x0000000000000000), UINT64_C(0x7d9ba13851336649), UINT64_C(0xfb374270a266cc92),
    UINT64_C(0x86ace348f355aadb), UINT64_C(0x64b62bcaebc387a1), UINT64_C(0x192d8af2baf0e1e8),
    UINT64_C(0x9f8169ba49a54b33), UINT64_C(0xe21ac88218962d7a), UINT64_C(0xc96c5795d7870f42),
    UINT64_C(0xb4f7f6ad86b4690b), UINT64_C(0x325b15e575e1c3d0), UINT64_C(0x4fc0b4dd24d2a599),
    UINT64_C(0xadda7c5f3c4488e3), UINT64_C(0xd041dd676d77eeaa), UINT64_C(0x56ed3e2f9e224471),
    UINT64_C(0x2b769f17cf112238),
};

uint64_t flx_crc64(uint64_t crc, flx_slice bytes)
{
    crc = ~crc;
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= bytes.ptr[i];
        crc = (crc >> 4) ^ crc64_nibbles[crc & 15];
        crc = (crc >> 4) ^ crc64_nibbles[crc & 15];
    }
    return ~crc;
}

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        out[i] = (uint8_t)value;
        value >>= 8;
    }
}

uint64_t flx_region_digest(flx_slice region)
{
    uint64_t digest = 0;
    size_t at = 0;
    while (at < region.len) {
        FLX_ASSERT(region.len - at >= 4);
        const uint8_t *p = region.ptr + at;
        const size_t len =
            (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | (size_t)p[3];
        FLX_ASSERT(region.len - at - 4 >= len);
        uint8_t words[16];
        put_u64(words, len);
        uint64_t record = flx_crc64(0, (flx_slice){words, 8});
        record = flx_crc64(record, (flx_slice){p + 4, len});
        put_u64(words, digest);
        put_u64(words + 8, record);
        digest = flx_crc64(0, (flx_slice){words, 16});
        at += 4 + len;
    }
    return digest;
}

flx_producers *flx_producers_new(void)
{
    return flx_calloc(1, sizeof(flx_producers));
}

flx_producers *flx_producers_free(flx_producers *producers)
{
    if (producers != NULL) {
        for (producer *entry = producers->oldest; entry != NULL;) {
            producer *newer = entry->newer;
            flx_free(entry);
            entry = newer;
        }
        flx_free(producers);
    }
    return NULL;
}

/* Producer ids are random bits already. */
static producer **bucket_of(flx_producers *producers, uint64_t id)
{
    return &producers->buckets[(id ^ id >> 32) % PRODUCER_BUCKETS];
}

static producer *find(flx_producers *producers, uint64_t id)
{
    producer *entry = *bucket_of(producers, id);
    while (entry != NULL && entry->id != id) {
        entry = entry->chain;
    }
    return entry;
}

static void age_unlink(flx_producers *producers, producer *entry)
{
    *(entry->older != NULL ? &entry->older->newer : &producers->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &producers->newest) = entry->older;
}

static void age_append(flx_producers *producers, producer *entry)
{
    entry->older = producers->newest;
    entry->newer = NULL;
    *(producers->newest != NULL ? &producers->newest->newer : &producers->oldest) = entry;
    producers->newest = entry;
}

flx_producer_verdict flx_producers_check(flx_producers *producers, uint64_t id, uint64_t sequence,
                                         uint64_t digest, uint64_t *ret_value)
{
    const producer *entry = find(producers, id);
    if (entry == NULL) {
        return sequence == 0 ? FLX_PRODUCER_APPEND : FLX_PRODUCER_UNKNOWN;
    }
    if (sequence == entry->next) {
        return FLX_PRODUCER_APPEND;
    }
    if (sequence > entry->next) {
        *ret_value = entry->next;
        return FLX_PRODUCER_GAP;
    }
    if (entry->next - sequence > FLX_PRODUCER_BATCHES || sequence < entry->first) {
        return FLX_PRODUCER_EXPIRED;
    }
    const producer_batch *batch = &entry->batches[sequence % FLX_PRODUCER_BATCHES];
    *ret_value = batch->offset;
    return batch->digest == digest ? FLX_PRODUCER_DUPLICATE : FLX_PRODUCER_REUSED;
}

static void forget_oldest(flx_producers *producers)
{
    producer *entry = producers->oldest;
    producer **link = bucket_of(producers, entry->id);
    while (*link != entry) {
        link = &(*link)->chain;
    }
    *link = entry->chain;
    age_unlink(producers, entry);
    flx_free(entry);
    producers->count--;
}

flx_status flx_producers_prepare(flx_producers *producers, uint64_t id)
{
    if (find(producers, id) != NULL) {
        return FLX_OK;
    }
    producer *entry = flx_calloc(1, sizeof *entry);
    if (entry == NULL) {
        return FLX_ERR_NOMEM;
    }
    if (producers->count == FLX_PRODUCERS_MAX) {
        forget_oldest(producers);
    }
    producer **bucket = bucket_of(producers, id);
    entry->id = id;
    entry->chain = *bucket;
    *bucket = entry;
    age_append(producers, entry);
    producers->count++;
    return FLX_OK;
}

flx_status flx_producers_restore(flx_producers *producers, uint64_t id, uint64_t sequence,
                                 uint64_t digest, uint64_t offset)
{
    const flx_status status = flx_producers_prepare(producers, id);
    if (status != FLX_OK) {
        return status;
    }
    producer *entry = find(producers, id);
    if (entry->next != sequence) {
        entry->first = sequence;
        entry->next = sequence;
    }
    flx_producers_record(producers, id, sequence, digest, offset);
    return FLX_OK;
}

void flx_producers_record(flx_producers *producers, uint64_t id, uint64_t sequence, uint64_t digest,
                          uint64_t offset)
{
    producer *entry = find(producers, id);
    FLX_ASSERT(entry != NULL && entry->next == sequence);
    entry->batches[sequence % FLX_PRODUCER_BATCHES] = (producer_batch){offset, digest};
    entry->next = sequence + 1;
    age_unlink(producers, entry);
    age_append(producers, entry);
}
