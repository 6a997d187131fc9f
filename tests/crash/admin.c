/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c - see admin.h. */
#include "admin.h"

#include "common/assert.h"
#include "common/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH_NAME  "crash-scratch"
#define SCRATCH_PARTS 3 /* messages each time */
#define ANSWER_MAX    ((size_t)4 << 20)
#define WAIT_MS       20000

flx_status admin_open(admin *a, const node *n, flx_error *reterr)
{
    memset(a, 0, sizeof *a);
    a->node = n;
    FILE *file = fopen(n->admin_token_file, "re");
    if (file == NULL) {
        return flx_fail(reterr, FLX_ERR_IO, "no token in %s", n->admin_token_file);
    }
    a->token[fread(a->token, 1, sizeof a->token - 1, file)] = '\0';
    (void)fclose(file);
    a->token[strcspn(a->token, "\r\n")] = '\0';
    const flx_http_client_options options = {.ca_file = n->ca_file,
                                             .timeout_ms = WAIT_MS,
                                             .body_max = ANSWER_MAX,
                                             .loopback_http = true};
    return flx_http_client_new(&options, &a->http, reterr);
}

void admin_close(admin *a)
{
    a->http = flx_http_client_free(a->http);
}

static int call(const admin *a, const char *method, const char *url, const char *body,
                flx_http_answer *ret_answer)
{
    const flx_http_call what = {.method = method,
                                .url = url,
                                .bearer = a->token,
                                .body = {(const uint8_t *)body, body != NULL ? strlen(body) : 0}};
    return flx_http_client_call(a->http, &what, ret_answer, NULL) == FLX_OK ? ret_answer->status
                                                                            : 0;
}

static int call_item(const admin *a, const char *method, const char *kind, const char *name,
                     const char *body)
{
    char url[NODE_PATH_MAX];
    flx_http_answer answer = {0};
    (void)snprintf(url, sizeof url, "%s/v1/tenants/t1/namespaces/default/%s%s%s",
                   a->node->controlplane, kind, name[0] != '\0' ? "/" : "", name);
    const int status = call(a, method, url, body, &answer);
    flx_http_answer_done(&answer);
    return status;
}

int admin_make(const admin *a, const char *kind, const char *name, const char *body)
{
    char text[NODE_PATH_MAX];
    (void)snprintf(text, sizeof text, "{\"%.*s\":\"%s\",%s}", (int)strlen(kind) - 1, kind, name,
                   body);
    return call_item(a, "POST", kind, "", text);
}

int admin_remove(const admin *a, const char *kind, const char *name)
{
    return call_item(a, "DELETE", kind, name, NULL);
}

int admin_look(const admin *a, const char *kind, const char *name)
{
    return call_item(a, "GET", kind, name, NULL);
}

uint64_t admin_metric(const admin *a, const char *name)
{
    char url[NODE_PATH_MAX];
    flx_http_answer answer = {0};
    uint64_t sum = 0;
    (void)snprintf(url, sizeof url, "http://%s/metrics", a->node->metrics);
    if (call(a, "GET", url, NULL, &answer) == 200) {
        const size_t len = strlen(name);
        for (const char *line = answer.body; line != NULL && *line != '\0';) {
            const char *end = strchr(line, '\n');
            const char *space = strchr(line, ' ');
            if (strncmp(line, name, len) == 0 && (line[len] == ' ' || line[len] == '{') &&
                space != NULL) {
                const char *value = line[len] == '{' ? strchr(line, '}') : line + len;
                sum += value != NULL ? (uint64_t)strtod(value + 1, NULL) : 0;
            }
            line = end != NULL ? end + 1 : NULL;
        }
    }
    flx_http_answer_done(&answer);
    return sum;
}

/* --- the scratch stream --- */

__attribute__((format(printf, 2, 3))) static bool wrong(scratch *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(s->why, sizeof s->why, format, args);
    va_end(args);
    atomic_store(&s->is_broken, true);
    return false;
}

static flx_publisher *open_publisher(scratch *s)
{
    flx_publisher *publisher = NULL;
    (void)pthread_mutex_lock(&s->lock);
    if (s->client != NULL) {
        (void)flx_publisher_new(s->client, SCRATCH_NAME, NULL, &publisher, NULL);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return publisher;
}

/* A few messages, one after the other; `first` says where the first must lie at least. False: no more today. */
static bool publish_some(scratch *s)
{
    flx_publisher *publisher = open_publisher(s);
    bool goes_on = publisher != NULL;
    for (int i = 0; i < SCRATCH_PARTS && goes_on && !atomic_load(&s->stops); i++) {
        uint64_t offset = 0;
        s->sent++;
        flx_error error = {0};
        const flx_status status = flx_publisher_publish_wait(
            publisher, NULL, (flx_slice){(const uint8_t *)"s", 1}, WAIT_MS, &offset, &error);
        goes_on = status == FLX_OK;
        if (status != FLX_OK && status != FLX_ERR_UNKNOWN_OUTCOME && status != FLX_ERR_CLOSED &&
            status != FLX_ERR_CANCELED && status != FLX_ERR_TIMEOUT) {
            return wrong(s, "publish: %s", error.message);
        }
        if (goes_on && (offset < s->acked || offset >= s->sent)) {
            goes_on = wrong(s, "message %" PRIu64 " of at most %" PRIu64 " lies at %" PRIu64,
                            s->acked, s->sent, offset);
        }
        if (goes_on) {
            s->acked = offset + 1;
            s->sent = s->acked;
        }
    }
    (void)flx_publisher_free(publisher);
    return goes_on;
}

/* What is there must be what was answered. */
static bool look(scratch *s, const admin *a)
{
    const int status = admin_look(a, "streams", SCRATCH_NAME);
    if (status != 200 && status != 404) {
        return false;
    }
    if ((s->state == SCRATCH_THERE && status == 404) ||
        (s->state == SCRATCH_ABSENT && status == 200)) {
        return wrong(s, "the stream was %s, and GET answers %d",
                     s->state == SCRATCH_THERE ? "made" : "removed", status);
    }
    s->state = status == 200 ? SCRATCH_THERE : SCRATCH_ABSENT;
    return true;
}

static bool make(scratch *s, const admin *a)
{
    s->state = SCRATCH_MAYBE;
    const int status = admin_make(a, "streams", SCRATCH_NAME, "\"durable\":true");
    s->acked = 0;
    s->sent = 0;
    s->state = status == 201 || status == 200 ? SCRATCH_THERE : SCRATCH_MAYBE;
    return s->state == SCRATCH_THERE && publish_some(s);
}

static bool take_away(scratch *s, const admin *a)
{
    s->state = SCRATCH_MAYBE;
    const bool is_gone = admin_remove(a, "streams", SCRATCH_NAME) == 204;
    s->state = is_gone ? SCRATCH_ABSENT : SCRATCH_MAYBE;
    s->removals += is_gone ? 1 : 0;
    return is_gone;
}

static void *run(void *arg)
{
    scratch *s = arg;
    admin a;
    bool goes_on = admin_open(&a, s->node, NULL) == FLX_OK && look(s, &a);
    if (goes_on && s->state == SCRATCH_THERE) {
        goes_on = publish_some(s);
    }
    atomic_store(&s->is_checked, goes_on);
    while (goes_on && !atomic_load(&s->stops)) {
        goes_on = s->state == SCRATCH_THERE ? take_away(s, &a) : make(s, &a);
    }
    admin_close(&a);
    return NULL;
}

void scratch_start(scratch *s, const node *n, flx_client *client)
{
    s->node = n;
    s->client = client;
    (void)pthread_mutex_init(&s->lock, NULL);
    atomic_store(&s->stops, false);
    atomic_store(&s->is_checked, false);
    const int failed = pthread_create(&s->thread, NULL, run, s);
    FLX_ASSERT(failed == 0);
    s->runs = true;
}

void scratch_stop(scratch *s)
{
    if (s->runs) {
        atomic_store(&s->stops, true);
        (void)pthread_mutex_lock(&s->lock);
        s->client = NULL;
        (void)pthread_mutex_unlock(&s->lock);
    }
}

void scratch_join(scratch *s)
{
    if (s->runs) {
        (void)pthread_join(s->thread, NULL);
        (void)pthread_mutex_destroy(&s->lock);
        s->runs = false;
    }
}
