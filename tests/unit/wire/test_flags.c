/* SPDX-License-Identifier: Apache-2.0 */
/* Flags, features, codes, word lists: the tables, both ways. */
#include "unit.h"
#include "wire/code.h"
#include "wire/enums.h"
#include "wire/flags.h"

static void sets_of_flags(void **state)
{
    (void)state;
    static const struct {
        uint16_t flags;
        bool client;
        bool broker;
    } rows[] = {
        {0x0000, true, true},   {0x0001, true, false},  {0x0009, true, false},
        {0x0041, true, false},  {0x0049, true, false},  {0x0109, true, false},
        {0x0149, true, false},  {0x0101, false, false}, {0x0008, false, false},
        {0x0040, false, false}, {0x0100, false, false}, {0x0002, false, true},
        {0x0004, false, true},  {0x0006, false, false}, {0x0024, false, true},
        {0x0824, false, true},  {0x0804, false, false}, {0x0020, false, false},
        {0x2004, false, true},  {0x4004, false, true},  {0x6824, false, true},
        {0x6822, false, true},  {0x0010, false, true},  {0x0090, false, true},
        {0x0210, false, true},  {0x0610, false, true},  {0x0410, false, false},
        {0x1010, false, true},  {0x1090, false, true},  {0x1210, false, false},
        {0x0080, false, false}, {0x0014, false, false}, {0x0011, false, false},
        {0x0005, false, false}, {0x8000, false, false}, {0x8001, false, false},
        {0x8004, false, false}, {0xFFFF, false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (flx_flags_valid(rows[i].flags, FLX_DIR_CLIENT) != rows[i].client ||
            flx_flags_valid(rows[i].flags, FLX_DIR_BROKER) != rows[i].broker) {
            fail_msg("0x%04x", rows[i].flags);
        }
    }
}

static void bits_have_owners_and_names(void **state)
{
    (void)state;
    assert_int_equal(flx_flags_of(FLX_DIR_CLIENT), 0x0149);
    assert_int_equal(flx_flags_of(FLX_DIR_BROKER), 0x7EB6);
    assert_int_equal(flx_flags_of(FLX_DIR_BOTH), FLX_FLAGS_KNOWN);
    assert_int_equal(flx_flags_unknown(0x8009), 0x8000);
    assert_int_equal(flx_flags_unknown(0x7FFF), 0);
    assert_string_equal(flx_flag_name(0x0010), "BINARY_PUBLISH_ACK");
    assert_null(flx_flag_name(0x8000));
    assert_null(flx_flag_name(0x0003));
    for (unsigned shift = 0; shift < 15; shift++) {
        assert_non_null(flx_flag_name((uint16_t)(1u << shift)));
    }
    for (unsigned shift = 0; shift < 32; shift++) {
        assert_non_null(flx_feature_name(UINT32_C(1) << shift));
    }
    assert_string_equal(flx_feature_name(FLX_FEATURE_EXTENDED), "EXTENDED");
    assert_null(flx_feature_name(3));
    assert_string_equal(flx_feature_hi_name(FLX_FEATURE_HI_INSPECT), "INSPECT");
    assert_string_equal(flx_feature_hi_name(FLX_FEATURE_HI_OPERATIONS), "OPERATIONS");
    assert_string_equal(flx_feature_hi_name(FLX_FEATURE_HI_WATCH_PROGRESS), "WATCH_PROGRESS");
    assert_string_equal(flx_feature_hi_name(FLX_FEATURE_HI_WATCH_BATCHES), "WATCH_BATCHES");
    assert_null(flx_feature_hi_name(2));
}

static void codes_both_ways(void **state)
{
    (void)state;
    static const struct {
        uint16_t code;
        const char *name;
        const char *retry;
    } rows[] = {
        {1, "unauthenticated", "fatal"},
        {2, "forbidden", "fatal"},
        {3, "not_found", "retry_after"},
        {4, "invalid_request", "fatal"},
        {5, "shard_unavailable", "retry"},
        {6, "not_leader", "redirect"},
        {7, "quorum_timeout", "outcome_unknown"},
        {8, "leadership_lost", "outcome_unknown"},
        {9, "unacknowledged", "outcome_unknown"},
        {10, "overloaded", "retry_after"},
        {11, "limit_exceeded", "fatal"},
        {12, "draining", "retry"},
        {13, "internal", "outcome_unknown"},
        {14, "storage", "outcome_unknown"},
        {15, "stale_claim", "retry"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_string_equal(flx_code_name(rows[i].code), rows[i].name);
        assert_int_equal(flx_code_slice(rows[i].code).len, strlen(rows[i].name));
        assert_int_equal(flx_code_find(slice_of(rows[i].name)), rows[i].code);
        assert_string_equal(flx_retry_name(flx_code_retry(rows[i].code)), rows[i].retry);
        assert_int_not_equal(flx_code_status(rows[i].code, FLX_RETRY_FATAL), FLX_OK);
    }
    assert_null(flx_code_name(0));
    assert_null(flx_code_name(16));
    assert_int_equal(flx_code_slice(999).len, 0);
    assert_int_equal(flx_code_find(slice_of("new_trouble")), FLX_CODE_NONE);
    assert_int_equal(flx_code_find((flx_slice){NULL, 0}), FLX_CODE_NONE);
    assert_int_equal(flx_code_retry(999), FLX_RETRY_FATAL);
}

static void unknown_codes_are_told_by_their_class(void **state)
{
    (void)state;
    assert_int_equal(flx_code_status(999, FLX_RETRY_NOW), FLX_ERR_UNAVAILABLE);
    assert_int_equal(flx_code_status(999, FLX_RETRY_AFTER), FLX_ERR_AGAIN);
    assert_int_equal(flx_code_status(999, FLX_RETRY_REDIRECT), FLX_ERR_UNAVAILABLE);
    assert_int_equal(flx_code_status(999, FLX_RETRY_OUTCOME_UNKNOWN), FLX_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(flx_code_status(999, FLX_RETRY_FATAL), FLX_ERR_INTERNAL);
    assert_int_equal(flx_code_status(3, FLX_RETRY_FATAL), FLX_ERR_NOT_FOUND);
}

static void retry_classes(void **state)
{
    (void)state;
    static const char *const names[] = {"retry", "retry_after", "redirect", "outcome_unknown",
                                        "fatal"};
    for (uint8_t i = 0; i < 5; i++) {
        assert_int_equal(flx_retry_find(slice_of(names[i])), i + 1);
        assert_int_equal(flx_retry_from_byte((uint8_t)(i + 1)), i + 1);
        assert_int_equal(flx_retry_slice((flx_retry)(i + 1)).len, strlen(names[i]));
    }
    assert_int_equal(flx_retry_find(slice_of("later")), FLX_RETRY_FATAL);
    assert_int_equal(flx_retry_find(slice_of("")), FLX_RETRY_FATAL);
    assert_int_equal(flx_retry_from_byte(0), FLX_RETRY_FATAL);
    assert_int_equal(flx_retry_from_byte(6), FLX_RETRY_FATAL);
}

static void word_lists(void **state)
{
    (void)state;
    const flx_enum_names *lists[] = {
        &flx_ack_mode_names,      &flx_owner_kind_names,   &flx_routing_names,
        &flx_cursor_reason_names, &flx_change_op_names,    &flx_shard_role_names,
        &flx_shard_phase_names,   &flx_shard_reason_names, &flx_replica_role_names,
        &flx_replica_state_names, &flx_queue_policy_names,
    };
    for (size_t i = 0; i < COUNT(lists); i++) {
        uint32_t value;
        for (uint32_t v = 0; v < lists[i]->count; v++) {
            assert_true(flx_enum_find(lists[i], flx_enum_word(lists[i], v), &value));
            assert_int_equal(value, v);
        }
        assert_false(flx_enum_find(lists[i], slice_of("no such word"), &value));
    }
    assert_int_equal(FLX_ACK_PER_MESSAGE, 1); /* as in binary frames */
    assert_int_equal(FLX_ACK_PER_BATCH, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_flags),   cmocka_unit_test(bits_have_owners_and_names),
        cmocka_unit_test(codes_both_ways), cmocka_unit_test(unknown_codes_are_told_by_their_class),
        cmocka_unit_test(retry_classes),   cmocka_unit_test(word_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
