/* SPDX-License-Identifier: Apache-2.0 */
/* Strict JSON (README.md, rule 9): what is refused, what a getter says, and memory that runs out. */
#include "common/alloc.h"
#include "common/json.h"
#include "unit.h"

static void json_is_read_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
        flx_status status;
    } rows[] = {
        {"an object", "{\"a\":1}", FLX_OK},
        {"an array", "[1]", FLX_OK},
        {"nothing", "", FLX_ERR_INVALID},
        {"a bare value", "1", FLX_ERR_INVALID},
        {"a member twice", "{\"a\":1,\"a\":1}", FLX_ERR_INVALID},
        {"something after it", "{} x", FLX_ERR_INVALID},
        {"a zero inside", "{\"a\":\"\\u0000\"}", FLX_ERR_INVALID},
        {"sixteen levels", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", FLX_OK},
        {"seventeen", "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", FLX_ERR_INVALID},
        {"brackets in a text are no levels", "[\"[[[[[[[[[[[[[[[[[[\\\"[\"]", FLX_OK},
        {"larger than its limit", "{\"a\":\"01234567890123456789012345678901234567890123\"}",
         FLX_ERR_TOO_LARGE},
        {"not UTF-8", "[\"\xff\"]", FLX_ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        json_t *json = NULL;
        flx_error error = {0};
        const flx_status status =
            flx_json_parse(slice_of(rows[i].text), 48, 16, "body", &json, &error);
        if (status != rows[i].status) {
            fail_msg("%s: %s '%s'", rows[i].what, flx_status_name(status), error.message);
        }
        json_decref(json);
    }
}

static void members_say_what_is_wrong(void **state)
{
    (void)state;
    json_t *json = NULL;
    flx_error error = {0};
    assert_int_equal(flx_json_parse(slice_of("{\"n\":9,\"t\":\"x\",\"b\":true,\"z\":null,\"f\":1.0,"
                                             "\"a\":[1,2],\"o\":{}}"),
                                    1024, 16, "body", &json, NULL),
                     FLX_OK);
    uint64_t number = 3;
    const char *text = "before";
    bool flag = false;
    const json_t *inner = NULL;
    assert_int_equal(flx_json_get_u64(json, "z", FLX_JSON_OPTIONAL, 1, 8, &number, NULL), FLX_OK);
    assert_int_equal(number, 3);
    assert_int_equal(flx_json_get_u64(json, "n", FLX_JSON_OPTIONAL, 1, 8, &number, &error),
                     FLX_ERR_INVALID);
    assert_string_equal(error.message, "n: must be 1..8");
    assert_int_equal(flx_json_get_u64(json, "f", FLX_JSON_REQUIRED, 1, 8, &number, &error),
                     FLX_ERR_INVALID);
    assert_string_equal(error.message, "f: must be an integer");
    assert_int_equal(flx_json_get_text(json, "q", FLX_JSON_REQUIRED, 8, &text, &error),
                     FLX_ERR_INVALID);
    assert_string_equal(error.message, "q: is missing");
    assert_int_equal(flx_json_get_text(json, "t", FLX_JSON_REQUIRED, 0, &text, &error),
                     FLX_ERR_INVALID);
    assert_string_equal(error.message, "t: longer than 0 bytes");
    assert_string_equal(text, "before");
    assert_int_equal(flx_json_get_bool(json, "b", FLX_JSON_REQUIRED, &flag, NULL), FLX_OK);
    assert_true(flag);
    assert_int_equal(flx_json_get_bool(json, "n", FLX_JSON_REQUIRED, &flag, &error),
                     FLX_ERR_INVALID);
    assert_int_equal(flx_json_get_array(json, "a", FLX_JSON_REQUIRED, 1, &inner, &error),
                     FLX_ERR_INVALID);
    assert_string_equal(error.message, "a: more than 1 items");
    assert_int_equal(flx_json_get_object(json, "o", FLX_JSON_REQUIRED, &inner, NULL), FLX_OK);
    assert_int_equal(flx_json_get_object(json, "a", FLX_JSON_REQUIRED, &inner, &error),
                     FLX_ERR_INVALID);
    json_decref(json);
}

static void an_object_may_be_asked_for(void **state)
{
    (void)state;
    json_t *json = NULL;
    flx_error error = {0};
    assert_int_equal(flx_json_parse_object(slice_of("[]"), 48, 16, "claims", &json, &error),
                     FLX_ERR_INVALID);
    assert_string_equal(error.message, "claims: must be a JSON object");
    assert_null(json);
    assert_int_equal(flx_json_parse_object(slice_of("{}"), 48, 16, "claims", &json, NULL), FLX_OK);
    json_decref(json);
}

static void own_text_may_be_any_value(void **state)
{
    (void)state;
    json_t *json = NULL;
    assert_int_equal(flx_json_parse_own(slice_of("\"t\""), "key", &json, NULL), FLX_OK);
    assert_string_equal(json_string_value(json), "t");
    json_decref(json);
    assert_int_equal(flx_json_parse_own(slice_of("t"), "key", &json, NULL), FLX_ERR_INVALID);
}

/* jansson alone would answer some of these with a text that lacks a byte. */
static void no_byte_is_lost_when_memory_is(void **state)
{
    (void)state;
    static const char text[] = "{\"tenant\":\"tenant-12-and-a-name-that-outgrows-the-first-room\","
                               "\"list\":[1,true,\"two\"]}";
    int failed = 1;
    for (uint64_t nth = 1; failed; nth++) {
        json_t *json = NULL;
        char *written = NULL;
        flx_alloc_fail_nth(nth);
        flx_status status = flx_json_parse(slice_of(text), 1024, 16, "body", &json, NULL);
        if (status == FLX_OK) {
            status = flx_json_write(json, &written, NULL);
        }
        failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        if (status == FLX_OK) {
            assert_string_equal(written, text);
        } else {
            assert_int_equal(status, FLX_ERR_NOMEM);
            assert_true(failed);
        }
        json_decref(json);
        flx_free(written);
        assert_true(nth < 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_read_strictly),
        cmocka_unit_test(members_say_what_is_wrong),
        cmocka_unit_test(an_object_may_be_asked_for),
        cmocka_unit_test(own_text_may_be_any_value),
        cmocka_unit_test(no_byte_is_lost_when_memory_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
