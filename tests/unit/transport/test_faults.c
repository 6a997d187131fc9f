/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of connect, echo and close fails once: no crash, no leak, and the server goes on. */
#include "common/alloc.h"
#include "rig.h"

#define ROUND_NS (3 * FLX_NS_PER_S)

static bool connect_echo_close(rig *r)
{
    static const uint8_t bytes[40000];
    rig_conn c = {0};
    flx_error error;
    flx_quic_stream *stream = NULL;
    const uint64_t until_ns = flx_clock_monotonic_ns() + ROUND_NS;
    const uint64_t before = r->server_bytes;
    bool wrote = false;
    if (flx_quic_connect(r->client, (struct sockaddr *)&r->address, r->address_len, "localhost",
                         FLX_QUIC_ALPN, &c, &c.conn, &error) != FLX_OK)
        return false;
    while (!c.closed && flx_clock_monotonic_ns() < until_ns) {
        if (c.connected && stream == NULL &&
            flx_quic_stream_open(c.conn, true, NULL, &stream, &error) == FLX_OK)
            wrote = rig_write(stream, bytes, sizeof bytes) == FLX_OK;
        if (r->server_bytes - before >= sizeof bytes || (stream != NULL && !wrote) ||
            (c.connected && stream == NULL))
            break;
        (void)flx_loop_step(r->loop, flx_clock_monotonic_ns() + 5 * FLX_NS_PER_MS, NULL);
    }
    const bool good = r->server_bytes - before >= sizeof bytes;
    if (!c.closed)
        flx_quic_conn_close(c.conn, 0, "");
    while (!c.closed && flx_clock_monotonic_ns() < until_ns + ROUND_NS)
        (void)flx_loop_step(r->loop, flx_clock_monotonic_ns() + 5 * FLX_NS_PER_MS, NULL);
    assert_true(c.closed);
    return good;
}

static void test_connect_echo(void **state)
{
    (void)state;
    rig r;
    const flx_quic_options quick = {.handshake_timeout_ms = 400, .idle_timeout_ms = 800};
    rig_start(&r, &quick, &quick);
    assert_true(connect_echo_close(&r));
    unsigned failed = 0;
    for (uint64_t nth = 1;; nth += 1 + nth / 40) { /* all of the first, then ever fewer */
        flx_alloc_fail_nth(nth);
        const bool good = connect_echo_close(&r);
        const bool hit = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        if (!hit) {
            assert_true(good);
            break;
        }
        failed += !good;
        assert_true(nth < 20000);
    }
    assert_true(failed > 0);
    assert_true(connect_echo_close(&r));
    rig_stop(&r);
}

static void test_endpoints(void **state)
{
    (void)state;
    rig r;
    flx_error error;
    rig_start(&r, NULL, NULL);
    struct sockaddr_storage any;
    socklen_t any_len;
    rig_loopback(&any, &any_len);
    for (uint64_t nth = 1;; nth++) {
        flx_quic_group *group = NULL;
        flx_quic_endpoint *server = NULL;
        flx_quic_endpoint *client = NULL;
        flx_credentials *credentials = NULL;
        char path[128];
        flx_alloc_fail_nth(nth);
        if (flx_credentials_new(
                false, &(flx_credentials_options){.ca_file = pki_path(&r.pki, "ca.pem", path)},
                &credentials, &error) == FLX_OK &&
            flx_quic_group_new(1, r.secret, NULL, &group, &error) == FLX_OK &&
            flx_quic_listen(r.loop, group, 0, (struct sockaddr *)&any, any_len,
                            r.server_credentials, &r.server_events, &r, &server, &error) == FLX_OK)
            (void)flx_quic_client(r.loop, NULL, credentials, &r.client_events, &r, &client, &error);
        const bool hit = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        if (client == NULL)
            assert_int_equal(error.status, FLX_ERR_NOMEM);
        (void)flx_quic_endpoint_free(client);
        (void)flx_quic_endpoint_free(server);
        (void)flx_quic_group_free(group);
        (void)flx_credentials_free(credentials);
        if (!hit)
            break;
        assert_true(nth < 1000);
    }
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_echo),
        cmocka_unit_test(test_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
