/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random messages of every type, made from the same table as the codec: what is encoded decodes to
 * the same values, field by field, and encodes to the same bytes. The seed is printed; give another
 * as the only argument.
 */
#include "unit.h"
#include "wire/message.h"
#include "wire/message_int.h"

#include <stdio.h>

#define ROUNDS    300 /* messages of each type */
#define ITEMS_MAX 5
#define BYTES_MAX 65536

static uint64_t random_state;
static uint8_t pool[1 << 16]; /* memory of the strings and lists of one message */
static size_t pool_used;

static uint64_t random_u64(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t limit)
{
    return (size_t)(random_u64() % limit);
}

static void *take(size_t len)
{
    pool_used = (pool_used + 15) / 16 * 16;
    assert_true(pool_used + len <= sizeof pool);
    void *memory = pool + pool_used;
    pool_used += len;
    return memory;
}

/* Edges are as likely as anything between them. */
static uint64_t random_number(void)
{
    const uint64_t edges[] = {0, 1, 9, 10, UINT32_MAX, INT64_MAX, UINT64_MAX};
    return below(2) == 0 ? edges[below(7)] : random_u64() >> below(64);
}

static flx_slice random_text(void)
{
    static const char *const parts[] = {
        "a", "\"", "\\", "\n", "\x01", "é", "\xe2\x82\xac", "/", "plain words", "\xf0\x9d\x84\x9e"};
    uint8_t *text = take(200);
    size_t len = 0;
    for (size_t count = below(8); count > 0; count--) {
        const char *part = parts[below(10)];
        memcpy(text + len, part, strlen(part));
        len += strlen(part);
    }
    if (below(4) == 0) {
        text[len++] = 0;
    }
    return (flx_slice){text, len};
}

static flx_slice random_bytes(void)
{
    const size_t len = below(40);
    uint8_t *bytes = take(len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)random_u64();
    }
    return (flx_slice){bytes, len};
}

static flx_slice random_raw(void)
{
    static const char *const raws[] = {"1", "{}", "[1,2.5,\"x\"]", "{\"a\":{\"b\":null}}", "true"};
    const char *raw = raws[below(5)];
    return flx_slice_of(raw);
}

static flx_refusal random_refusal(void)
{
    flx_refusal refusal;
    memset(&refusal, 0, sizeof refusal);
    refusal.kind = (flx_refusal_kind)below(FLX_REFUSAL_NOT_LEADER + 1);
    if (refusal.kind == FLX_REFUSAL_SEQUENCE_GAP) {
        refusal.expected = random_number();
    } else if (refusal.kind == FLX_REFUSAL_OFFSET_MISMATCH) {
        refusal.tail = random_number();
    } else if (refusal.kind == FLX_REFUSAL_NOT_LEADER) {
        refusal.node_id = random_text();
        refusal.has_addr = below(2) == 0;
        if (refusal.has_addr) {
            refusal.addr = random_text();
        }
    }
    return refusal;
}

static void fill_object(const flx_object *object, uint8_t *body);

static void fill_value(uint8_t type, const flx_field *field, void *to)
{
    switch ((field_type)type) {
    case TYPE_STR:
        *(flx_slice *)to = random_text();
        return;
    case TYPE_B64:
        *(flx_slice *)to = random_bytes();
        return;
    case TYPE_RAW:
        *(flx_slice *)to = random_raw();
        return;
    case TYPE_U16:
        *(uint16_t *)to = (uint16_t)random_number();
        return;
    case TYPE_U32:
        *(uint32_t *)to = (uint32_t)random_number();
        return;
    case TYPE_U64:
        *(uint64_t *)to = random_number();
        return;
    case TYPE_I64:
        *(int64_t *)to = (int64_t)random_number();
        return;
    case TYPE_BOOL:
        *(bool *)to = below(2) == 0;
        return;
    case TYPE_ENUM:
        *(uint32_t *)to = (uint32_t)below(field->names->count);
        return;
    case TYPE_OBJ:
        fill_object(field->object(), to);
        return;
    case TYPE_START: {
        flx_start *start = to;
        start->kind = (flx_start_kind)below(3);
        start->offset = start->kind == FLX_START_OFFSET ? random_number() : 0;
        return;
    }
    case TYPE_CONDITION: {
        flx_condition *condition = to;
        condition->kind = (flx_condition_kind)below(2);
        condition->version = condition->kind == FLX_CONDITION_VERSION ? random_number() : 0;
        return;
    }
    case TYPE_REFUSAL:
        *(flx_refusal *)to = random_refusal();
        return;
    case TYPE_LIST:
        break;
    }
    fail();
}

static void fill_list(const flx_field *field, uint8_t *body)
{
    const size_t count = below(ITEMS_MAX + 1);
    const size_t item_bytes = flx_list_item_bytes(field);
    uint8_t *items = take(count * item_bytes + 1);
    for (size_t i = 0; i < count; i++) {
        memset(items + i * item_bytes, 0, item_bytes);
        fill_value(field->item, field, items + i * item_bytes);
    }
    memcpy(body + field->offset, &items, sizeof items);
    memcpy(body + field->other, &count, sizeof count);
}

static void fill_object(const flx_object *object, uint8_t *body)
{
    for (size_t i = 0; i < object->count; i++) {
        const flx_field *field = &object->fields[i];
        const bool may_miss =
            field->presence == PRESENT_OR_HAS || field->presence == PRESENT_OR_NULL;
        if (field->type == TYPE_LIST) {
            fill_list(field, body);
            continue;
        }
        if (may_miss && below(2) == 0) {
            continue;
        }
        if (may_miss) {
            *(bool *)(body + field->other) = true;
        }
        fill_value(field->type, field, body + field->offset);
    }
}

/* The one rule the rows do not say. */
static void repair_changes(flx_msg *msg)
{
    if (msg->type != FLX_MSG_COMMIT) {
        return;
    }
    for (size_t i = 0; i < msg->commit.changes_count; i++) {
        flx_msg_change change = msg->commit.changes[i];
        change.has_value = change.op == FLX_CHANGE_PUT;
        change.value = change.has_value ? random_bytes() : (flx_slice){NULL, 0};
        uint8_t *items;
        memcpy(&items, &msg->commit.changes, sizeof items);
        memcpy(items + i * sizeof change, &change, sizeof change);
    }
}

/* ---- comparing ---- */

static void assert_same_object(const flx_object *object, const uint8_t *a, const uint8_t *b);

static void assert_same_slice(const flx_slice *a, const flx_slice *b)
{
    assert_int_equal(a->len, b->len);
    assert_true(a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
}

static void assert_same_value(uint8_t type, const flx_field *field, const void *a, const void *b)
{
    switch ((field_type)type) {
    case TYPE_STR:
    case TYPE_B64:
    case TYPE_RAW:
        assert_same_slice(a, b);
        return;
    case TYPE_OBJ:
        assert_same_object(field->object(), a, b);
        return;
    case TYPE_REFUSAL: {
        const flx_refusal *x = a;
        const flx_refusal *y = b;
        assert_int_equal(x->kind, y->kind);
        assert_true(x->expected == y->expected && x->tail == y->tail);
        assert_same_slice(&x->node_id, &y->node_id);
        assert_int_equal(x->has_addr, y->has_addr);
        assert_same_slice(&x->addr, &y->addr);
        return;
    }
    case TYPE_U16:
        assert_memory_equal(a, b, 2);
        return;
    case TYPE_U32:
    case TYPE_ENUM:
        assert_memory_equal(a, b, 4);
        return;
    case TYPE_U64:
    case TYPE_I64:
        assert_memory_equal(a, b, 8);
        return;
    case TYPE_BOOL:
        assert_int_equal(*(const bool *)a, *(const bool *)b);
        return;
    case TYPE_START:
        assert_int_equal(((const flx_start *)a)->kind, ((const flx_start *)b)->kind);
        assert_true(((const flx_start *)a)->offset == ((const flx_start *)b)->offset);
        return;
    case TYPE_CONDITION:
        assert_int_equal(((const flx_condition *)a)->kind, ((const flx_condition *)b)->kind);
        assert_true(((const flx_condition *)a)->version == ((const flx_condition *)b)->version);
        return;
    case TYPE_LIST:
        break;
    }
    fail();
}

static void assert_same_list(const flx_field *field, const uint8_t *a, const uint8_t *b)
{
    size_t counts[2];
    const uint8_t *items[2];
    memcpy(&counts[0], a + field->other, sizeof counts[0]);
    memcpy(&counts[1], b + field->other, sizeof counts[1]);
    memcpy(&items[0], a + field->offset, sizeof items[0]);
    memcpy(&items[1], b + field->offset, sizeof items[1]);
    assert_int_equal(counts[0], counts[1]);
    const size_t item_bytes = flx_list_item_bytes(field);
    for (size_t i = 0; i < counts[0]; i++) {
        assert_same_value(field->item, field, items[0] + i * item_bytes, items[1] + i * item_bytes);
    }
}

static void assert_same_object(const flx_object *object, const uint8_t *a, const uint8_t *b)
{
    for (size_t i = 0; i < object->count; i++) {
        const flx_field *field = &object->fields[i];
        if (field->type == TYPE_LIST) {
            assert_same_list(field, a, b);
            continue;
        }
        if (field->presence == PRESENT_OR_HAS || field->presence == PRESENT_OR_NULL) {
            const bool has = *(const bool *)(a + field->other);
            assert_int_equal(has, *(const bool *)(b + field->other));
            if (!has) {
                continue;
            }
        }
        assert_same_value(field->type, field, a + field->offset, b + field->offset);
    }
}

static void round_trip(flx_arena *arena, flx_msg_type type)
{
    static uint8_t json[BYTES_MAX];
    static uint8_t again[BYTES_MAX];
    const flx_object *object = flx_message_row(type)->object();
    flx_msg msg;
    flx_msg back;
    flx_writer writer;
    memset(&msg, 0, sizeof msg);
    pool_used = 0;
    msg.type = type;
    fill_object(object, (uint8_t *)&msg + MESSAGE_BODY_OFFSET);
    repair_changes(&msg);
    flx_writer_init(&writer, json, sizeof json);
    flx_msg_encode(&msg, &writer);
    assert_true(flx_writer_fits(&writer));
    const size_t len = writer.len;
    memcpy(again, json, len); /* decoding rewrites */
    flx_error error;
    flx_arena_reset(arena);
    if (flx_msg_decode(arena, json, len, &back, &error) != FLX_OK) {
        fail_msg("%.*s: %s", (int)len, (const char *)again, error.message);
    }
    assert_int_equal(back.type, type);
    assert_same_object(object, (uint8_t *)&msg + MESSAGE_BODY_OFFSET,
                       (uint8_t *)&back + MESSAGE_BODY_OFFSET);
    static uint8_t third[BYTES_MAX];
    flx_writer_init(&writer, third, sizeof third);
    flx_msg_encode(&back, &writer);
    assert_int_equal(writer.len, len);
    assert_memory_equal(third, again, len);
}

static void every_type_comes_back(void **state)
{
    (void)state;
    flx_arena arena;
    flx_arena_init(&arena, 1 << 20);
    for (int type = FLX_MSG_UNKNOWN + 1; type < FLX_MSG_TYPE_END; type++) {
        for (int i = 0; i < ROUNDS; i++) {
            round_trip(&arena, (flx_msg_type)type);
        }
    }
    flx_arena_done(&arena);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    (void)printf("SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
