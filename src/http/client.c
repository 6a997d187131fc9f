/* SPDX-License-Identifier: Apache-2.0 */
/* http/client.c - libcurl with the doors shut that we do not need. */
#include "http/client.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/json.h"
#include "http/message.h"

#include <curl/curl.h>
#include <pthread.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 2000
#define TIMEOUT_MS         5000
#define BODY_MAX           ((size_t)1 << 20)
#define TOKEN_MAX          ((size_t)64 * 1024)

struct flx_http_client {
    CURL *curl;
    char *ca_file;
    uint32_t connect_timeout_ms;
    uint32_t timeout_ms;
    size_t body_max;
    bool loopback_http;
};

/* An answer that is coming in. */
typedef struct intake {
    char *body;
    size_t len;
    size_t cap;
    size_t max;
    bool too_large;
    bool no_memory;
} intake;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode once_code;

static void init_curl(void)
{
    once_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

flx_status flx_http_client_init(flx_error *reterr)
{
    (void)pthread_once(&once, init_curl);
    return once_code == CURLE_OK
               ? FLX_OK
               : flx_fail(reterr, FLX_ERR_INTERNAL, "libcurl: %s", curl_easy_strerror(once_code));
}

flx_status flx_http_client_new(const flx_http_client_options *options, flx_http_client **ret_client,
                               flx_error *reterr)
{
    const flx_status status = flx_http_client_init(reterr);
    if (status != FLX_OK) {
        return status;
    }
    flx_http_client *client = flx_calloc(1, sizeof *client);
    if (client == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "HTTP client: out of memory");
    }
    client->connect_timeout_ms =
        options->connect_timeout_ms == 0 ? CONNECT_TIMEOUT_MS : options->connect_timeout_ms;
    client->timeout_ms = options->timeout_ms == 0 ? TIMEOUT_MS : options->timeout_ms;
    client->body_max = options->body_max == 0 ? BODY_MAX : options->body_max;
    client->loopback_http = options->loopback_http;
    client->curl = curl_easy_init();
    if (options->ca_file != NULL) {
        client->ca_file = flx_strdup(options->ca_file);
    }
    if (client->curl == NULL || (options->ca_file != NULL && client->ca_file == NULL)) {
        (void)flx_http_client_free(client);
        return flx_fail(reterr, FLX_ERR_NOMEM, "HTTP client: out of memory");
    }
    *ret_client = client;
    return FLX_OK;
}

flx_http_client *flx_http_client_free(flx_http_client *client)
{
    if (client != NULL) {
        curl_easy_cleanup(client->curl);
        flx_free(client->ca_file);
        flx_free(client);
    }
    return NULL;
}

/* Whether the host of the URL cannot be another machine. */
static bool is_loopback(CURLU *url)
{
    char *host = NULL;
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        return false;
    }
    const bool loopback =
        strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
        (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
    curl_free(host);
    return loopback;
}

static flx_status check_url(const flx_http_client *client, const char *text, flx_error *reterr)
{
    CURLU *url = curl_url();
    char *scheme = NULL;
    char *user = NULL;
    flx_status status = FLX_OK;
    if (url == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "HTTP client: out of memory");
    }
    if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK) {
        status = flx_fail(reterr, FLX_ERR_INVALID, "'%.120s' is not a URL", text);
    } else if (curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK) {
        status = flx_fail(reterr, FLX_ERR_INVALID, "a URL with a user name in it");
    } else if (strcmp(scheme, "https") != 0 &&
               (strcmp(scheme, "http") != 0 || !client->loopback_http || !is_loopback(url))) {
        status = flx_fail(reterr, FLX_ERR_INVALID, "'%.120s': must be an https URL", text);
    }
    curl_free(scheme);
    curl_free(user);
    curl_url_cleanup(url);
    return status;
}

static size_t take_piece(char *piece, size_t size, size_t count, void *arg)
{
    intake *in = arg;
    const size_t len = size * count;
    if (len > in->max - in->len) {
        in->too_large = true;
        return 0; /* ends the exchange */
    }
    if (in->len + len + 1 > in->cap) {
        size_t cap = in->cap == 0 ? 1024 : in->cap;
        while (cap < in->len + len + 1) {
            cap *= 2;
        }
        char *body = flx_realloc(in->body, cap);
        if (body == NULL) {
            in->no_memory = true;
            return 0;
        }
        in->body = body;
        in->cap = cap;
    }
    memcpy(in->body + in->len, piece, len);
    in->len += len;
    in->body[in->len] = '\0';
    return len;
}

static void set_limits(const flx_http_client *client, const flx_http_call *call)
{
    CURL *curl = client->curl;
    const uint32_t timeout_ms = call->timeout_ms == 0 ? client->timeout_ms : call->timeout_ms;
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_piece);
}

/* Everything that needs memory; false when it is out. */
static bool set_request(const flx_http_client *client, const flx_http_call *call,
                        struct curl_slist **headers, intake *in)
{
    CURL *curl = client->curl;
    const bool has_body = call->body.len > 0;
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");
    if (list != NULL && has_body) {
        struct curl_slist *longer = curl_slist_append(list, "Content-Type: application/json");
        if (longer == NULL) {
            curl_slist_free_all(list);
        }
        list = longer;
    }
    *headers = list;
    bool ok = list != NULL && curl_easy_setopt(curl, CURLOPT_URL, call->url) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_WRITEDATA, in) == CURLE_OK;
    if (ok && client->ca_file != NULL) {
        ok = curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca_file) == CURLE_OK;
    }
    if (ok && call->bearer != NULL) {
        ok = curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER) == CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, call->bearer) == CURLE_OK;
    }
    if (ok && has_body) {
        ok = curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)call->body.len) == CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.ptr) == CURLE_OK;
    } else if (ok && strcmp(call->method, "HEAD") == 0) {
        ok = curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
    }
    return ok;
}

static flx_status explain(CURLcode code, const intake *in, const char *url, flx_error *reterr)
{
    if (in->too_large) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "'%.120s': answers more than %zu bytes", url,
                        in->max);
    }
    if (in->no_memory || code == CURLE_OUT_OF_MEMORY) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "HTTP client: out of memory");
    }
    flx_status status = FLX_ERR_PROTOCOL;
    if (code == CURLE_OPERATION_TIMEDOUT) {
        status = FLX_ERR_TIMEOUT;
    } else if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
               code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING) {
        status = FLX_ERR_UNAVAILABLE;
    } else if (code == CURLE_PEER_FAILED_VERIFICATION) {
        status = FLX_ERR_DENIED;
    } else if (code == CURLE_SSL_CACERT_BADFILE) {
        status = FLX_ERR_INVALID;
    }
    return flx_fail(reterr, status, "'%.120s': %s", url, curl_easy_strerror(code));
}

flx_status flx_http_client_call(flx_http_client *client, const flx_http_call *call,
                                flx_http_answer *ret_answer, flx_error *reterr)
{
    const flx_status status = check_url(client, call->url, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (call->bearer != NULL &&
        (strlen(call->bearer) > TOKEN_MAX || strpbrk(call->bearer, "\r\n") != NULL)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "the token is too long or has a line end in it");
    }
    curl_easy_reset(client->curl); /* nothing of the last call but its connection */
    struct curl_slist *headers = NULL;
    intake in = {.max = client->body_max};
    set_limits(client, call);
    CURLcode code = set_request(client, call, &headers, &in) ? curl_easy_perform(client->curl)
                                                             : CURLE_OUT_OF_MEMORY;
    long http_status = 0;
    if (code == CURLE_OK) {
        code = curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &http_status);
    }
    curl_slist_free_all(headers);
    if (code == CURLE_OK && in.body == NULL) {
        in.body = flx_strdup("");
        code = in.body == NULL ? CURLE_OUT_OF_MEMORY : CURLE_OK;
    }
    if (code != CURLE_OK) {
        flx_free(in.body);
        return explain(code, &in, call->url, reterr);
    }
    *ret_answer = (flx_http_answer){.status = (int)http_status, .body = in.body, .len = in.len};
    return FLX_OK;
}

void flx_http_answer_done(flx_http_answer *answer)
{
    flx_free(answer->body);
    answer->body = NULL;
    answer->len = 0;
}

static flx_status status_of(int http)
{
    static const struct {
        int http;
        flx_status status;
    } rows[] = {
        {400, FLX_ERR_INVALID},     {401, FLX_ERR_UNAUTHENTICATED}, {403, FLX_ERR_DENIED},
        {404, FLX_ERR_NOT_FOUND},   {405, FLX_ERR_UNSUPPORTED},     {408, FLX_ERR_TIMEOUT},
        {409, FLX_ERR_CONFLICT},    {413, FLX_ERR_TOO_LARGE},       {429, FLX_ERR_AGAIN},
        {503, FLX_ERR_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].http == http) {
            return rows[i].status;
        }
    }
    return http >= 500 ? FLX_ERR_INTERNAL : FLX_ERR_PROTOCOL;
}

flx_status flx_http_answer_status(const flx_http_answer *answer, flx_error *reterr)
{
    if (answer->status >= 200 && answer->status < 300) {
        return FLX_OK;
    }
    const flx_status status = status_of(answer->status);
    const flx_slice text = {(const uint8_t *)answer->body, answer->len};
    json_t *json = NULL;
    const char *message = NULL;
    if (flx_json_parse_object(text, BODY_MAX, FLX_HTTP_DEPTH_MAX, "answer", &json, NULL) ==
            FLX_OK &&
        flx_json_get_text(json, "message", FLX_JSON_REQUIRED, 200, &message, NULL) == FLX_OK) {
        (void)flx_fail(reterr, status, "%s", message);
    } else {
        (void)flx_fail(reterr, status, "the server answered %d", answer->status);
    }
    json_decref(json);
    return status;
}
