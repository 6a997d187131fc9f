/* SPDX-License-Identifier: Apache-2.0 */
/* The listener and the client against each other over loopback TLS, and raw sockets for the peers
 * that misbehave. Certificates are made for the test and thrown away. */
#include "common/alloc.h"
#include "crypto/pki.h"
#include "http/client.h"
#include "http/health.h"
#include "http/server.h"
#include "unit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct fixture {
    char directory[64];
    char ca_file[96];
    char certificate_file[96];
    char key_file[96];
    flx_http_server *server;
    flx_http_client *client;
    flx_health health;
    bool unready;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool waiting; /* a handler waits */
    bool released;
} fixture;

/* Says what it got: method, param, body, bearer. */
static void echo(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)arg;
    char text[256];
    const flx_slice bearer = flx_http_bearer(request);
    const int len = snprintf(text, sizeof text, "%s %s %zu [%.*s] %s %s", request->method,
                             flx_http_param_get(request, "word"), request->body.len,
                             (int)bearer.len, (const char *)bearer.ptr, request->id, request->peer);
    (void)flx_http_response_header(response, "X-Extra", "yes");
    flx_http_reply(response, 200, "text/plain", (flx_slice){(const uint8_t *)text, (size_t)len});
}

static void wait_handler(void *arg, const flx_http_request *request, flx_http_response *response)
{
    fixture *fix = arg;
    (void)request;
    (void)pthread_mutex_lock(&fix->lock);
    fix->waiting = true;
    (void)pthread_cond_broadcast(&fix->changed);
    while (!fix->released) {
        (void)pthread_cond_wait(&fix->changed, &fix->lock);
    }
    (void)pthread_mutex_unlock(&fix->lock);
    flx_http_reply(response, 200, "text/plain", (flx_slice){(const uint8_t *)"released", 8});
}

static void release(void *arg)
{
    fixture *fix = arg;
    (void)pthread_mutex_lock(&fix->lock);
    fix->released = true;
    (void)pthread_cond_broadcast(&fix->changed);
    (void)pthread_mutex_unlock(&fix->lock);
}

static void silent(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)arg;
    (void)request;
    (void)response;
}

static const flx_http_route routes[] = {
    {"GET", "/echo/{word}", echo},
    {"POST", "/echo/{word}", echo},
    {"GET", "/wait", wait_handler},
    {"GET", "/silent", silent},
};

static void is_ready(void *arg, flx_health_report *report)
{
    const fixture *fix = arg;
    if (fix->unready) {
        flx_health_add(report, "draining");
        flx_health_add(report, "no catalog");
    }
}

static flx_status give_metrics(void *arg, char **ret_text, flx_error *reterr)
{
    (void)arg;
    (void)reterr;
    *ret_text = flx_strdup("# HELP felix_up x\nfelix_up 1\n");
    return *ret_text == NULL ? FLX_ERR_NOMEM : FLX_OK;
}

static void make_certificate(fixture *fix)
{
    flx_pki_result result;
    flx_error error = {0};
    if (flx_pki_ensure(fix->directory, &(flx_pki_options){0}, (uint64_t)time(NULL), &result,
                       &error) != FLX_OK) {
        fail_msg("%s", error.message);
    }
    (void)snprintf(fix->ca_file, sizeof fix->ca_file, "%s/ca.pem", fix->directory);
    (void)snprintf(fix->certificate_file, sizeof fix->certificate_file, "%s/server.pem",
                   fix->directory);
    (void)snprintf(fix->key_file, sizeof fix->key_file, "%s/server.key", fix->directory);
}

static void start(fixture *fix, bool tls, uint32_t timeout_s, uint32_t per_address_max)
{
    const flx_http_table tables[] = {{routes, COUNT(routes), fix}, flx_health_table(&fix->health)};
    const flx_http_server_options options = {.certificate_file = tls ? fix->certificate_file : NULL,
                                             .key_file = tls ? fix->key_file : NULL,
                                             .tables = tables,
                                             .table_count = COUNT(tables),
                                             .body_max = 1000,
                                             .per_address_max = per_address_max,
                                             .timeout_s = timeout_s,
                                             .stopping = release,
                                             .arg = fix};
    flx_error error = {0};
    if (flx_http_server_start(&options, &fix->server, &error) != FLX_OK) {
        fail_msg("%s", error.message);
    }
}

static int set_up(void **state)
{
    fixture *fix = calloc(1, sizeof *fix);
    (void)snprintf(fix->directory, sizeof fix->directory, "/tmp/felix-http-XXXXXX");
    assert_non_null(mkdtemp(fix->directory));
    (void)pthread_mutex_init(&fix->lock, NULL);
    (void)pthread_cond_init(&fix->changed, NULL);
    fix->health = (flx_health){.ready = is_ready, .metrics = give_metrics, .arg = fix};
    make_certificate(fix);
    const flx_http_client_options options = {
        .ca_file = fix->ca_file, .body_max = 4096, .loopback_http = true};
    assert_int_equal(flx_http_client_new(&options, &fix->client, NULL), FLX_OK);
    *state = fix;
    return 0;
}

static int tear_down(void **state)
{
    fixture *fix = *state;
    fix->client = flx_http_client_free(fix->client);
    fix->server = flx_http_server_stop(fix->server, 2000);
    DIR *folder = opendir(fix->directory);
    for (struct dirent *file = readdir(folder); file != NULL; file = readdir(folder)) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/%s", fix->directory, file->d_name);
        (void)unlink(path);
    }
    (void)closedir(folder);
    (void)rmdir(fix->directory);
    (void)pthread_mutex_destroy(&fix->lock);
    (void)pthread_cond_destroy(&fix->changed);
    free(fix);
    return 0;
}

static flx_status call(fixture *fix, bool tls, const char *method, const char *path, flx_slice body,
                       flx_http_answer *answer, flx_error *reterr)
{
    char url[256];
    (void)snprintf(url, sizeof url, "%s://127.0.0.1:%u%s", tls ? "https" : "http",
                   (unsigned)flx_http_server_port(fix->server), path);
    const flx_http_call request = {.method = method, .url = url, .bearer = "tok", .body = body};
    memset(answer, 0, sizeof *answer);
    return flx_http_client_call(fix->client, &request, answer, reterr);
}

/* README.md, rule 5. */
static void answers_over_tls(void **state)
{
    static char large[1001];
    static const struct {
        const char *what, *method, *path;
        size_t body_len;
        int status;
        const char *body; /* begins with */
    } rows[] = {
        {"a get", "GET", "/echo/hello", 0, 200, "GET hello 0 [tok] "},
        {"a body", "POST", "/echo/a%2Fb", 1000, 200, "POST a/b 1000 [tok] "},
        {"a body too large", "POST", "/echo/x", 1001, 413, "{\"code\":\"too_large\""},
        {"no such path", "GET", "/nowhere", 0, 404, "{\"code\":\"not_found\""},
        {"no such method", "PUT", "/echo/x", 1, 405, "{\"code\":\"method_not_allowed\""},
        {"a bad target", "GET", "/echo/x?a=1&a=2", 0, 400, "{\"code\":\"validation_error\""},
        {"a handler that says nothing", "GET", "/silent", 0, 500, "{\"code\":\"internal\""},
        {"live", "GET", "/livez", 0, 200, "{\"status\":\"ok\"}"},
        {"ready", "GET", "/healthz", 0, 200, "{\"status\":\"ok\"}"},
        {"startup", "GET", "/startup", 0, 200, "{\"status\":\"ok\"}"},
        {"metrics", "GET", "/metrics", 0, 200, "# HELP felix_up"},
    };
    fixture *fix = *state;
    start(fix, true, 0, 0);
    memset(large, 'x', sizeof large);
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_http_answer answer;
        flx_error error = {0};
        const flx_slice body = {(const uint8_t *)large, rows[i].body_len};
        const flx_status status =
            call(fix, true, rows[i].method, rows[i].path, body, &answer, &error);
        if (status != FLX_OK || answer.status != rows[i].status ||
            strncmp(answer.body, rows[i].body, strlen(rows[i].body)) != 0) {
            fail_msg("%s: %s %d '%s'", rows[i].what, error.message, answer.status, answer.body);
        }
        flx_http_answer_done(&answer);
    }
    fix->unready = true;
    flx_http_answer answer;
    assert_int_equal(call(fix, true, "GET", "/ready", (flx_slice){NULL, 0}, &answer, NULL), FLX_OK);
    assert_int_equal(answer.status, 503);
    assert_string_equal(answer.body,
                        "{\"status\":\"unavailable\",\"reasons\":[\"draining\",\"no catalog\"]}");
    flx_error error = {0};
    assert_int_equal(flx_http_answer_status(&answer, &error), FLX_ERR_UNAVAILABLE);
    flx_http_answer_done(&answer);
    flx_http_stats stats;
    flx_http_server_stats(fix->server, &stats);
    assert_int_equal(stats.requests, COUNT(rows) + 1);
    assert_int_equal(stats.failures, 2);
}

/* README.md, rule 6. */
static void the_client_refuses(void **state)
{
    fixture *fix = *state;
    start(fix, true, 0, 0);
    flx_error error = {0};
    flx_http_answer answer = {0};
    static const struct {
        const char *what, *url;
        flx_status status;
    } rows[] = {
        {"http to elsewhere", "http://192.0.2.1/", FLX_ERR_INVALID},
        {"http to a name that only begins like loopback", "http://127.0.0.1.example/",
         FLX_ERR_INVALID},
        {"a file", "file:///etc/passwd", FLX_ERR_INVALID},
        {"a user in the URL", "https://a:b@127.0.0.1/", FLX_ERR_INVALID},
        {"no URL", "::", FLX_ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const flx_http_call request = {.method = "GET", .url = rows[i].url};
        const flx_status status = flx_http_client_call(fix->client, &request, &answer, &error);
        if (status != rows[i].status) {
            fail_msg("%s: %s %s", rows[i].what, flx_status_name(status), error.message);
        }
    }
    /* A certificate nobody vouches for. */
    const flx_http_client_options options = {.ca_file = NULL};
    flx_http_client *stranger = NULL;
    char url[64];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u/livez",
                   (unsigned)flx_http_server_port(fix->server));
    assert_int_equal(flx_http_client_new(&options, &stranger, NULL), FLX_OK);
    const flx_http_call request = {.method = "GET", .url = url};
    assert_int_equal(flx_http_client_call(stranger, &request, &answer, &error), FLX_ERR_DENIED);
    (void)flx_http_client_free(stranger);
    /* An answer larger than asked for; nobody listening. */
    const flx_http_client_options small = {.ca_file = fix->ca_file, .body_max = 5};
    assert_int_equal(flx_http_client_new(&small, &stranger, NULL), FLX_OK);
    assert_int_equal(flx_http_client_call(stranger, &request, &answer, &error), FLX_ERR_TOO_LARGE);
    fix->server = flx_http_server_stop(fix->server, 100);
    assert_int_equal(flx_http_client_call(stranger, &request, &answer, &error),
                     FLX_ERR_UNAVAILABLE);
    (void)flx_http_client_free(stranger);
}

/* ---- raw peers, over plain HTTP ---- */

static int connect_raw(const fixture *fix)
{
    const int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(flx_http_server_port(fix->server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(peer, (const struct sockaddr *)&to, sizeof to), 0);
    return peer;
}

static bool send_text(int peer, const char *text)
{
    return send(peer, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

/* What comes until the peer closes, 20 s at the most; the length. */
static size_t read_all(int peer, char *text, size_t size)
{
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0 && len < size - 1) {
        struct pollfd ready = {.fd = peer, .events = POLLIN};
        got = poll(&ready, 1, 20000) == 1 ? recv(peer, text + len, size - 1 - len, 0) : -1;
        len += got > 0 ? (size_t)got : 0;
    }
    text[len] = '\0';
    return len;
}

/* README.md, rule 7. */
static void echoes_only_a_decent_request_id(void **state)
{
    static const struct {
        const char *sent, *seen; /* NULL: one is made */
    } rows[] = {{"X-Request-Id: abc-1.2_3\r\n", "X-Request-Id: abc-1.2_3\r\n"},
                {"X-Request-Id: a b\r\n", NULL},
                {"X-Request-Id: <script>\r\n", NULL},
                {"", NULL}};
    fixture *fix = *state;
    start(fix, false, 0, 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[4096];
        const int peer = connect_raw(fix);
        (void)snprintf(text, sizeof text,
                       "GET /echo/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n",
                       rows[i].sent);
        assert_true(send_text(peer, text));
        (void)read_all(peer, text, sizeof text);
        assert_non_null(strstr(text, "HTTP/1.1 200"));
        assert_non_null(strstr(text, "X-Extra: yes"));
        assert_non_null(strstr(text, "Cache-Control: no-store"));
        const char *id = strstr(text, "X-Request-Id: ");
        assert_non_null(id);
        if (rows[i].seen != NULL) {
            assert_int_equal(strncmp(id, rows[i].seen, strlen(rows[i].seen)), 0);
        } else {
            assert_int_equal(strcspn(id + 14, "\r"), 16);
            assert_null(strstr(text, "script"));
        }
        (void)close(peer);
    }
}

/* A peer that sends a byte now and then is never silent, and is ended all the same. */
static void a_slow_peer_is_ended(void **state)
{
    fixture *fix = *state;
    start(fix, false, 1, 0);
    char text[1024];
    const int headers = connect_raw(fix);
    const int body = connect_raw(fix);
    assert_true(send_text(headers, "GET /echo/x HTTP/1.1\r\nHost: x\r\n"));
    assert_true(send_text(body, "POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"));
    bool alive[2] = {true, true};
    for (int i = 0; i < 200 && (alive[0] || alive[1]); i++) {
        (void)poll(NULL, 0, 100);
        alive[0] = alive[0] && send_text(headers, "X: y\r\n");
        alive[1] = alive[1] && send_text(body, "z");
    }
    assert_false(alive[0] || alive[1]);
    (void)read_all(headers, text, sizeof text);
    assert_null(strstr(text, "200"));
    flx_http_stats stats;
    flx_http_server_stats(fix->server, &stats);
    assert_int_equal(stats.too_slow, 2);
    (void)close(headers);
    (void)close(body);
}

/* README.md, rule 3. */
static void an_endless_body_is_refused(void **state)
{
    fixture *fix = *state;
    start(fix, false, 5, 0);
    char text[1024];
    const int peer = connect_raw(fix);
    assert_true(send_text(peer, "POST /echo/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 20; i++) {
        (void)send_text(peer, "64\r\n"
                              "0123456789012345678901234567890123456789012345678901234567890123456"
                              "789012345678901234567890123456789\r\n");
    }
    (void)send_text(peer, "0\r\n\r\n");
    (void)read_all(peer, text, sizeof text);
    assert_non_null(strstr(text, "HTTP/1.1 413"));
    (void)close(peer);
}

static void one_address_has_so_many_connections(void **state)
{
    fixture *fix = *state;
    start(fix, false, 5, 3);
    int peers[6];
    char text[4096];
    for (size_t i = 0; i < COUNT(peers); i++) {
        peers[i] = connect_raw(fix);
        (void)send_text(peers[i], "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    size_t answered = 0;
    for (size_t i = 0; i < COUNT(peers); i++) {
        struct pollfd ready = {.fd = peers[i], .events = POLLIN};
        (void)poll(&ready, 1, 5000);
        const ssize_t got = recv(peers[i], text, sizeof text, MSG_DONTWAIT);
        answered += got > 0;
    }
    assert_int_equal(answered, 3);
    for (size_t i = 0; i < COUNT(peers); i++) {
        (void)close(peers[i]);
    }
}

static void *call_wait(void *arg)
{
    fixture *fix = arg;
    flx_http_answer answer;
    const flx_status status = call(fix, true, "GET", "/wait", (flx_slice){NULL, 0}, &answer, NULL);
    const bool released = status == FLX_OK && strcmp(answer.body, "released") == 0;
    flx_http_answer_done(&answer);
    return released ? fix : NULL;
}

/* Stop wakes those that wait and lets them answer before the connection goes. */
static void stop_lets_requests_end(void **state)
{
    fixture *fix = *state;
    start(fix, true, 0, 0);
    pthread_t waiter;
    void *answered = NULL;
    assert_int_equal(pthread_create(&waiter, NULL, call_wait, fix), 0);
    (void)pthread_mutex_lock(&fix->lock);
    while (!fix->waiting) {
        (void)pthread_cond_wait(&fix->changed, &fix->lock);
    }
    (void)pthread_mutex_unlock(&fix->lock);
    fix->server = flx_http_server_stop(fix->server, 10000);
    assert_int_equal(pthread_join(waiter, &answered), 0);
    assert_ptr_equal(answered, fix);
}

/* A request in flight over the old certificate ends well; a new connection sees the new one. */
static void reload_disconnects_nobody(void **state)
{
    fixture *fix = *state;
    start(fix, true, 0, 0);
    bool changed = true;
    flx_error error = {0};
    flx_http_answer answer;
    assert_int_equal(flx_http_server_reload(fix->server, &changed, &error), FLX_OK);
    assert_false(changed);

    pthread_t waiter;
    void *answered = NULL;
    assert_int_equal(pthread_create(&waiter, NULL, call_wait, fix), 0);
    (void)pthread_mutex_lock(&fix->lock);
    while (!fix->waiting) {
        (void)pthread_cond_wait(&fix->changed, &fix->lock);
    }
    (void)pthread_mutex_unlock(&fix->lock);

    static const char *const files[] = {"ca.pem", "ca.key", "server.pem", "server.key"};
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", fix->directory, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(flx_http_server_reload(fix->server, &changed, &error), FLX_ERR_NOT_FOUND);
    make_certificate(fix); /* another CA */
    assert_int_equal(flx_http_server_reload(fix->server, &changed, &error), FLX_OK);
    assert_true(changed);

    release(fix);
    assert_int_equal(pthread_join(waiter, &answered), 0);
    assert_ptr_equal(answered, fix); /* the old connection */
    fix->client = flx_http_client_free(fix->client);
    const flx_http_client_options options = {.ca_file = fix->ca_file};
    assert_int_equal(flx_http_client_new(&options, &fix->client, NULL), FLX_OK);
    assert_int_equal(call(fix, true, "GET", "/livez", (flx_slice){NULL, 0}, &answer, &error),
                     FLX_OK);
    assert_int_equal(answer.status, 200);
    flx_http_answer_done(&answer);
}

static void starting_says_what_is_wrong(void **state)
{
    fixture *fix = *state;
    start(fix, false, 0, 0);
    const flx_http_table table = {routes, COUNT(routes), fix};
    flx_http_server_options options = {.tables = &table, .table_count = 1};
    flx_http_server *server = NULL;
    flx_error error = {0};
    options.port = flx_http_server_port(fix->server);
    assert_int_equal(flx_http_server_start(&options, &server, &error), FLX_ERR_CONFLICT);
    options.port = 0;
    options.address = "localhost";
    assert_int_equal(flx_http_server_start(&options, &server, &error), FLX_ERR_INVALID);
    options.address = NULL;
    options.certificate_file = fix->certificate_file;
    assert_int_equal(flx_http_server_start(&options, &server, &error), FLX_ERR_INVALID);
    options.key_file = fix->ca_file; /* no key in it */
    assert_int_equal(flx_http_server_start(&options, &server, &error), FLX_ERR_INVALID);
    options.key_file = "/nonexistent";
    assert_int_equal(flx_http_server_start(&options, &server, &error), FLX_ERR_NOT_FOUND);
}

int main(void)
{
    if (flx_http_client_init(NULL) != FLX_OK) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_over_tls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_client_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(echoes_only_a_decent_request_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_peer_is_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_endless_body_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_address_has_so_many_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stop_lets_requests_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reload_disconnects_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(starting_says_what_is_wrong, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
