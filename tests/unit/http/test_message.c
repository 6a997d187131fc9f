/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, routes, query numbers, error replies: everything of http/ that is pure. */
#include "common/alloc.h"
#include "http/health.h"
#include "http/message.h"
#include "unit.h"

#include <stdio.h>

/* "a|b ? n=v" */
static void print_target(const flx_http_target *target, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < target->segment_count; i++) {
        len += (size_t)snprintf(text + len, size - len, "%s%s", i == 0 ? "" : "|",
                                target->segments[i]);
    }
    for (size_t i = 0; i < target->query_count; i++) {
        len += (size_t)snprintf(text + len, size - len, " %s=%s", target->query[i].name,
                                target->query[i].value);
    }
}

/* README.md, rule 1. */
static void targets(void **state)
{
    (void)state;
    static const struct {
        const char *what, *raw, *parts; /* NULL: refused */
    } rows[] = {
        {"the root is one empty segment", "/", ""},
        {"segments", "/v1/tenants", "v1|tenants"},
        {"a slash at the end", "/v1/", "v1|"},
        {"an encoded slash stays inside", "/v1/a%2Fb/c", "v1|a/b|c"},
        {"a query", "/a?x=1&y=%26+z&flag", "a x=1 y=& z flag="},
        {"a plus in a path is a plus", "/a+b", "a+b"},
        {"an empty query", "/a?", "a"},
        {"no slash", "a", NULL},
        {"nothing", "", NULL},
        {"a star form", "*", NULL},
        {"an encoded zero", "/a%00b", NULL},
        {"half an escape", "/a%2", NULL},
        {"no hex", "/a%zz", NULL},
        {"a line end", "/a%0d%0ab", NULL},
        {"dots", "/a/../b", NULL},
        {"encoded dots", "/a/%2e%2e/b", NULL},
        {"a name twice", "/a?x=1&x=2", NULL},
        {"too many segments", "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h", NULL},
    };
    static flx_http_target target;
    char text[512];
    for (size_t i = 0; i < COUNT(rows); i++) {
        const flx_status status = flx_http_target_parse(&target, rows[i].raw, NULL);
        print_target(&target, text, sizeof text);
        if ((status == FLX_OK) != (rows[i].parts != NULL) ||
            (status == FLX_OK && strcmp(text, rows[i].parts) != 0)) {
            fail_msg("%s: %s '%s'", rows[i].what, flx_status_name(status), text);
        }
    }
    char *longest = malloc(FLX_HTTP_TARGET_MAX + 1);
    memset(longest, 'a', FLX_HTTP_TARGET_MAX);
    longest[0] = '/';
    longest[FLX_HTTP_TARGET_MAX] = '\0';
    assert_int_equal(flx_http_target_parse(&target, longest, NULL), FLX_ERR_INVALID);
    longest[FLX_HTTP_TARGET_MAX - 1] = '\0';
    assert_int_equal(flx_http_target_parse(&target, longest, NULL), FLX_OK);
    free(longest);
}

static void answer_nothing(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)arg;
    (void)request;
    (void)response;
}

static void routes_are_found_in_order(void **state)
{
    (void)state;
    static const flx_http_route routes[] = {
        {"GET", "/t/all", answer_nothing},
        {"GET", "/t/{name}", answer_nothing},
        {"DELETE", "/t/{name}", answer_nothing},
        {"GET", "/t/{name}/x/{other}", answer_nothing},
    };
    static const struct {
        const char *what, *method, *target;
        flx_http_match match;
        int row; /* -1: none */
        const char *allow, *name;
    } rows[] = {
        {"a literal above a parameter", "GET", "/t/all", FLX_HTTP_MATCH, 0, "", NULL},
        {"a parameter", "GET", "/t/one", FLX_HTTP_MATCH, 1, "", "one"},
        {"HEAD is GET without a body", "HEAD", "/t/one", FLX_HTTP_MATCH, 1, "", "one"},
        {"by its method", "DELETE", "/t/all", FLX_HTTP_MATCH, 2, "", "all"},
        {"two parameters", "GET", "/t/a%2Fb/x/c", FLX_HTTP_MATCH, 3, "", "a/b"},
        {"another method", "PUT", "/t/one", FLX_HTTP_NO_METHOD, -1, "GET, DELETE", NULL},
        {"no parameter is empty", "GET", "/t/", FLX_HTTP_NO_PATH, -1, "", NULL},
        {"shorter", "GET", "/t", FLX_HTTP_NO_PATH, -1, "", NULL},
        {"longer", "GET", "/t/one/x", FLX_HTTP_NO_PATH, -1, "", NULL},
    };
    const flx_http_table table = {routes, COUNT(routes), NULL};
    static flx_http_target target;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(flx_http_target_parse(&target, rows[i].target, NULL), FLX_OK);
        flx_http_request request = {.method = rows[i].method, .target = &target};
        const flx_http_route *route = NULL;
        void *arg = NULL;
        char allow[64];
        const flx_http_match match =
            flx_http_route_find(&table, 1, &request, &route, &arg, allow, sizeof allow);
        const int row = route == NULL ? -1 : (int)(route - routes);
        if (match != rows[i].match || row != rows[i].row ||
            (match != FLX_HTTP_MATCH && strcmp(allow, rows[i].allow) != 0)) {
            fail_msg("%s: match %d row %d allow '%s'", rows[i].what, (int)match, row, allow);
        }
        if (rows[i].name != NULL) {
            assert_string_equal(flx_http_param_get(&request, "name"), rows[i].name);
        }
    }
}

static void query_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        flx_status status;
        uint64_t value;
    } rows[] = {
        {"/?n=5", FLX_OK, 5},
        {"/", FLX_OK, 7},
        {"/?n=18446744073709551615", FLX_ERR_INVALID, 7},
        {"/?n=18446744073709551616", FLX_ERR_INVALID, 7},
        {"/?n=", FLX_ERR_INVALID, 7},
        {"/?n=-1", FLX_ERR_INVALID, 7},
        {"/?n=1x", FLX_ERR_INVALID, 7},
        {"/?n=0", FLX_ERR_INVALID, 7},
    };
    static flx_http_target target;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(flx_http_target_parse(&target, rows[i].target, NULL), FLX_OK);
        const flx_http_request request = {.target = &target};
        uint64_t value = 7;
        assert_int_equal(flx_http_query_u64(&request, "n", 1, 100, &value, NULL), rows[i].status);
        assert_int_equal(value, rows[i].value);
    }
}

/* README.md, rule 7. */
static void failures_have_codes(void **state)
{
    (void)state;
    static const struct {
        flx_status status;
        int http;
        const char *body;
    } rows[] = {
        {FLX_ERR_INVALID, 400,
         "{\"code\":\"validation_error\",\"message\":\"why\",\"request_id\":\"r\"}"},
        {FLX_ERR_CONFLICT, 409, "{\"code\":\"conflict\",\"message\":\"why\",\"request_id\":\"r\"}"},
        {FLX_ERR_IO, 500,
         "{\"code\":\"internal\",\"message\":\"the request failed inside the server\","
         "\"request_id\":\"r\"}"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const flx_error error = {.status = rows[i].status, .message = "why"};
        flx_http_response response = {.request_id = "r"};
        flx_http_reply_failure(&response, &error);
        assert_int_equal(response.status, rows[i].http);
        assert_string_equal(response.body, rows[i].body);
        flx_http_response_done(&response);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets),
        cmocka_unit_test(routes_are_found_in_order),
        cmocka_unit_test(query_numbers),
        cmocka_unit_test(failures_have_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
