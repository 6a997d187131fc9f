/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets from strangers, and the table they are looked up in. */
#include "common/assert.h"
#include "http/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)arg;
    (void)request;
    (void)response;
}

static const flx_http_route routes[] = {
    {"GET", "/a/{b}/c", answer}, {"GET", "/a/b", answer}, {"POST", "/{a}", answer}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static flx_http_target target;
    char *raw = malloc(size + 1);
    if (raw == NULL) {
        return 0;
    }
    memcpy(raw, data, size);
    raw[size] = '\0';
    if (flx_http_target_parse(&target, raw, NULL) == FLX_OK) {
        const flx_http_table table = {routes, sizeof routes / sizeof routes[0], NULL};
        flx_http_request request = {.method = "GET", .target = &target};
        const flx_http_route *route = NULL;
        void *arg = NULL;
        char allow[64];
        for (size_t i = 0; i < target.segment_count; i++) {
            FLX_ASSERT(target.segments[i] >= target.text &&
                       target.segments[i] < target.text + sizeof target.text);
            FLX_ASSERT(strcmp(target.segments[i], "..") != 0);
        }
        if (flx_http_route_find(&table, 1, &request, &route, &arg, allow, sizeof allow) ==
                FLX_HTTP_MATCH &&
            route == &routes[0]) {
            FLX_ASSERT(flx_http_param_get(&request, "b")[0] != '\0');
        }
        uint64_t value = 0;
        (void)flx_http_query_u64(&request, "n", 0, 10, &value, NULL);
        FLX_ASSERT(value <= 10);
    }
    free(raw);
    return 0;
}
