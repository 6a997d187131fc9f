/* SPDX-License-Identifier: Apache-2.0 */
/* controlplane/api_system.c - what anybody may ask: the system, its region, its keys, its API. */
#include "common/alloc.h"
#include "common/json.h"
#include "common/slice.h"
#include "controlplane/api_int.h"

#include <stdio.h>
#include <string.h>

void flx_api_system_info(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)request;
    const flx_api *api = arg;
    const flx_abilities *abilities = flx_catalog_store_abilities(api->options.store);
    flx_http_reply_json(response, 200,
                        json_pack("{s:s, s:s, s:s, s:{s:b, s:b, s:b}}", "region_id", api->region_id,
                                  "api_version", "v1", "version", FLX_VERSION, "features",
                                  "durable_storage", abilities->durable ? 1 : 0, "tiered_storage",
                                  0, "bridges", 0));
}

static void report(void (*ask)(void *arg, flx_health_report *report), void *arg,
                   flx_http_response *response)
{
    flx_health_report answer = {0};
    if (ask != NULL) {
        ask(arg, &answer);
    }
    flx_health_reply(response, &answer);
}

void flx_api_system_live(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)request;
    const flx_api *api = arg;
    report(api->options.live, api->options.arg, response);
}

void flx_api_system_ready(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)request;
    const flx_api *api = arg;
    report(api->options.ready, api->options.arg, response);
}

static json_t *region_json(const flx_api *api)
{
    return json_pack("{s:s, s:s}", "region_id", api->region_id, "display_name", api->region_name);
}

void flx_api_regions(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)request;
    flx_http_reply_json(response, 200, json_pack("{s:[o]}", "items", region_json(arg)));
}

void flx_api_region(void *arg, const flx_http_request *request, flx_http_response *response)
{
    const flx_api *api = arg;
    if (strcmp(flx_http_param_get(request, "region"), api->region_id) != 0) {
        flx_http_reply_error(response, 404, "not_found", "there is no such region");
        return;
    }
    flx_http_reply_json(response, 200, region_json(api));
}

void flx_api_jwks(void *arg, const flx_http_request *request, flx_http_response *response)
{
    const flx_api *api = arg;
    const char *tenant = flx_http_param_get(request, "tenant");
    flx_error error = {0};
    char *text = NULL;
    if (flx_name_check("tenant_id", flx_slice_of(tenant), &error) != FLX_OK) {
        flx_http_reply_failure(response, &error);
    } else if (api->options.jwks == NULL) {
        flx_http_reply_error(response, 404, "not_found", "there are no keys here");
    } else if (api->options.jwks(api->options.arg, tenant, &text, &error) != FLX_OK) {
        flx_http_reply_failure(response, &error);
    } else {
        flx_http_reply(response, 200, "application/json", flx_slice_of(text));
        flx_free(text);
    }
}

/* ---- openapi.json, from the table of routes ---- */

/* The parameters a pattern names, as OpenAPI wants them listed. */
static json_t *parameters_of(const char *pattern)
{
    json_t *list = json_array();
    for (const char *at = strchr(pattern, '{'); at != NULL; at = strchr(at, '{')) {
        const size_t len = strcspn(++at, "}");
        json_t *parameter = json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name", at, len, "in", "path",
                                      "required", 1, "schema", "type", "string");
        if (json_array_append_new(list, parameter) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static const char *success_of(const flx_api_doc *doc)
{
    if (strcmp(doc->method, "POST") == 0) {
        return "201";
    }
    return strcmp(doc->method, "DELETE") == 0 ? "204" : "200";
}

static json_t *operation_of(const flx_api_doc *doc)
{
    return json_pack("{s:s, s:o, s:{s:{s:s}, s:{s:s, s:{s:{s:{s:s}}}}}}", "summary", doc->summary,
                     "parameters", parameters_of(doc->pattern), "responses", success_of(doc),
                     "description", "done", "default", "description", "an error", "content",
                     "application/json", "schema", "$ref", "#/components/schemas/Error");
}

static bool add_path(json_t *paths, const flx_api_doc *doc)
{
    char method[8];
    size_t len = 0;
    for (; len < sizeof method - 1 && doc->method[len] != '\0'; len++) {
        method[len] = (char)(doc->method[len] - 'A' + 'a');
    }
    method[len] = '\0';
    json_t *path = json_object_get(paths, doc->pattern);
    if (path == NULL) {
        path = json_object();
        if (json_object_set_new(paths, doc->pattern, path) != 0) {
            return false;
        }
    }
    return json_object_set_new(path, method, operation_of(doc)) == 0;
}

void flx_api_openapi(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)arg;
    (void)request;
    size_t count = 0;
    const flx_api_doc *docs = flx_api_docs(&count);
    json_t *paths = json_object();
    bool complete = paths != NULL;
    for (size_t i = 0; complete && i < count; i++) {
        complete = add_path(paths, &docs[i]);
    }
    if (!complete) {
        json_decref(paths);
        flx_http_reply_json(response, 500, NULL);
        return;
    }
    flx_http_reply_json(
        response, 200,
        json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:{s:{s:s, s:s}},"
                  " s:{s:{s:s, s:[s,s], s:{s:{s:s}, s:{s:s}, s:{s:s, s:b}}}}}, s:[{s:[]}]}",
                  "openapi", "3.0.3", "info", "title", "Felix control plane", "version",
                  FLX_VERSION, "paths", paths, "components", "securitySchemes", "felix", "type",
                  "http", "scheme", "bearer", "schemas", "Error", "type", "object", "required",
                  "code", "message", "properties", "code", "type", "string", "message", "type",
                  "string", "request_id", "type", "string", "nullable", 1, "security", "felix"));
}
