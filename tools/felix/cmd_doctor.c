/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_doctor.c - felix doctor: each thing that must be right for the node to answer, looked at alone.
 *
 * The checks go from the outside in, so the first that fails is usually the cause of the rest. A
 * check only looks; what to do about it stands beside it.
 */
#include "commands.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "crypto/base64url.h"
#include "crypto/certificate.h"
#include "crypto/secret.h"
#include "host.h"
#include "http/client.h"
#include "process.h"
#include "reach.h"
#include "session.h"
#include "timespec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <unistd.h>

#define TOKEN_MAX    ((size_t)16 * 1024)
#define SHOWN_MAX    8 /* certificates of a bundle */
#define SOON_S       (INT64_C(14) * 86400)
#define TOKEN_SOON_S 60

typedef enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL, VERDICT_SKIP } verdict;

typedef struct examination {
    cli_run *run;
    const cli_settings *settings;
    cli_out out;
    bool answers; /* the node took our token */
    unsigned failures;
    uint64_t now_s;
} examination;

static const char *const verdict_words[] = {"ok", "warning", "failed", "skipped"};

/* One row: what was looked at, how it is, and what to do (NULL: nothing). */
static void tell(examination *exam, const char *check, verdict how, const char *next,
                 const char *format, ...) FLX_PRINTF(5, 6);

static void tell(examination *exam, const char *check, verdict how, const char *next,
                 const char *format, ...)
{
    char detail[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    exam->failures += how == VERDICT_FAIL;
    cli_out_row(&exam->out,
                json_pack("{s:s, s:s, s:s, s:s}", "check", check, "status", verdict_words[how],
                          "detail", detail, "next", next != NULL ? next : ""));
    (void)fflush(exam->run->out);
}

/* --- where --- */

static void check_context(examination *exam)
{
    const cli_context *values = &exam->settings->values;
    if (values->name[0] == '\0') {
        tell(exam, "context", VERDICT_WARN, "'felix up' or 'felix context set' makes one",
             "none is in use; addresses are %s", values->addresses);
        return;
    }
    tell(exam, "context", VERDICT_OK, NULL, "'%s' (%s), addresses %s, tenant %s", values->name,
         exam->settings->name_origin, values->addresses,
         values->tenant[0] != '\0' ? values->tenant : "none");
}

/* The largest packet of the route, as the kernel knows it. 0: it does not say. */
static int route_mtu(const struct addrinfo *at)
{
    int mtu = 0;
    socklen_t len = sizeof mtu;
    const bool v6 = at->ai_family == AF_INET6;
    const int fd = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    if (connect(fd, at->ai_addr, at->ai_addrlen) != 0 ||
        getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &len) != 0) {
        mtu = 0;
    }
    (void)close(fd);
    return mtu;
}

static void check_mtu(examination *exam, const char *numeric, const struct addrinfo *at)
{
    const int mtu = route_mtu(at);
    if (mtu == 0) {
        tell(exam, "mtu", VERDICT_SKIP, NULL, "the kernel does not tell it for %s", numeric);
    } else if (mtu < 1280) {
        tell(exam, "mtu", VERDICT_FAIL, "QUIC needs packets of 1200 bytes: raise the MTU",
             "%d bytes to %s", mtu, numeric);
    } else {
        tell(exam, "mtu", VERDICT_OK, NULL, "%d bytes to %s", mtu, numeric);
    }
}

static void check_one_address(examination *exam, const char *address)
{
    char host[FLX_HOST_MAX];
    char service[8];
    char numeric[64] = "?";
    uint16_t port = 0;
    flx_error error = {0};
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    if (flx_address_split(address, host, &port, &error) != FLX_OK) {
        tell(exam, "address", VERDICT_FAIL, "mend it with 'felix context set'", "%s",
             error.message);
        return;
    }
    (void)snprintf(service, sizeof service, "%u", port);
    const int failed = getaddrinfo(host, service, &hints, &found);
    if (failed != 0) {
        tell(exam, "address", VERDICT_FAIL, "check the name and the resolver", "%s: %s", host,
             gai_strerror(failed));
        return;
    }
    (void)getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof numeric, NULL, 0,
                      NI_NUMERICHOST);
    if (cli_udp_is_refused(found)) {
        tell(exam, "udp", VERDICT_FAIL, "start a node there ('felix up' here), or use its port",
             "%s port %u: nobody listens", numeric, port);
    } else {
        tell(exam, "udp", VERDICT_OK, NULL, "%s port %u is not refused", numeric, port);
    }
    check_mtu(exam, numeric, found);
    freeaddrinfo(found);
}

static void check_addresses(examination *exam)
{
    for (const char *at = exam->settings->values.addresses; *at != '\0';) {
        char address[CLI_VALUE_MAX];
        at += strspn(at, ", ");
        const size_t len = strcspn(at, ", ");
        (void)snprintf(address, sizeof address, "%.*s", (int)len, at);
        if (len > 0) {
            check_one_address(exam, address);
        }
        at += len;
    }
}

/* --- as whom --- */

/* The claims of a token, unverified: what it says about itself. NULL when it is no token of ours. */
static json_t *token_claims(const flx_secret *token)
{
    const char *text = (const char *)token->bytes;
    const char *first = strchr(text, '.');
    const char *second = first != NULL ? strchr(first + 1, '.') : NULL;
    uint8_t decoded[TOKEN_MAX];
    size_t len = 0;
    if (second == NULL) {
        return NULL;
    }
    const flx_slice payload = {(const uint8_t *)first + 1, (size_t)(second - first - 1)};
    if (!flx_base64url_decode(payload, decoded, sizeof decoded, &len)) {
        return NULL;
    }
    return json_loadb((const char *)decoded, len, JSON_REJECT_DUPLICATES, NULL);
}

static void judge_token(examination *exam, const char *check, const flx_secret *token,
                        const char *origin)
{
    json_t *claims = token_claims(token);
    const json_int_t expires = json_integer_value(json_object_get(claims, "exp"));
    const char *tenant = json_string_value(json_object_get(claims, "tid"));
    const char *mine = exam->settings->values.tenant;
    char time[40];
    if (claims == NULL || expires <= 0) {
        tell(exam, check, VERDICT_FAIL, "use a token that 'felix up' or an administrator issued",
             "%s holds no token of Felix", origin);
    } else {
        cli_time_format((uint64_t)expires * 1000000, time, sizeof time);
        if ((uint64_t)expires < exam->now_s) {
            tell(exam, check, VERDICT_FAIL, "get a new one", "%s: expired at %s", origin, time);
        } else if (tenant != NULL && mine[0] != '\0' && strcmp(tenant, mine) != 0) {
            tell(exam, check, VERDICT_FAIL, "use --tenant, or the token of the other tenant",
                 "%s is of tenant '%.80s', not '%.80s'", origin, tenant, mine);
        } else {
            const bool soon = (uint64_t)expires < exam->now_s + TOKEN_SOON_S;
            tell(exam, check, soon ? VERDICT_WARN : VERDICT_OK, soon ? "renew it" : NULL,
                 "%s: good until %s", origin, time);
        }
    }
    json_decref(claims);
}

static void check_token(examination *exam, const char *check, const char *text, const char *file)
{
    flx_secret token = {0};
    flx_error error = {0};
    if (text == NULL && file[0] == '\0') {
        tell(exam, check, VERDICT_WARN, "set FELIX_TOKEN, or a token file", "none is known");
        return;
    }
    const flx_slice bytes = {(const uint8_t *)text, text != NULL ? strlen(text) : 0};
    const flx_status status = text != NULL ? flx_secret_init_copy(&token, bytes, &error)
                                           : flx_secret_load(file, TOKEN_MAX, &token, &error);
    if (status != FLX_OK) {
        tell(exam, check, VERDICT_FAIL, "mend the file, or name another one", "%s", error.message);
        return;
    }
    judge_token(exam, check, &token, text != NULL ? "environment" : file);
    flx_secret_done(&token);
}

/* --- trust --- */

static void check_certificates(examination *exam)
{
    flx_certificate_info infos[SHOWN_MAX];
    flx_error error = {0};
    size_t count = 0;
    const char *file = exam->settings->values.ca_file;
    if (file[0] == '\0') {
        tell(exam, "ca", VERDICT_OK, NULL, "the system's store is trusted");
        return;
    }
    if (flx_certificates_inspect_file(file, infos, SHOWN_MAX, &count, &error) != FLX_OK) {
        tell(exam, "ca", VERDICT_FAIL, "name the CA of the node with --ca-file", "%s",
             error.message);
        return;
    }
    for (size_t i = 0; i < count && i < SHOWN_MAX; i++) {
        const int64_t left = infos[i].not_after_s - (int64_t)exam->now_s;
        const bool early = infos[i].not_before_s > (int64_t)exam->now_s;
        char time[40];
        cli_time_format((uint64_t)infos[i].not_after_s * 1000000, time, sizeof time);
        tell(exam, "ca",
             left <= 0 || early ? VERDICT_FAIL
             : left < SOON_S    ? VERDICT_WARN
                                : VERDICT_OK,
             early           ? "set the clock of this machine"
             : left <= 0     ? "get the new CA of the node"
             : left < SOON_S ? "have it renewed"
                             : NULL,
             "%.120s: good until %s%s", infos[i].subject, time, early ? ", but not yet" : "");
    }
}

static void check_clock(examination *exam)
{
    struct timex state = {0};
    const int how = adjtimex(&state);
    const bool synced = how >= 0 && (state.status & STA_UNSYNC) == 0;
    tell(exam, "clock", synced ? VERDICT_OK : VERDICT_WARN,
         synced ? NULL : "run a time service; tokens and certificates have times",
         synced ? "kept by a time service" : "no time service keeps this clock");
}

/* --- the kernel --- */

static void host_found(void *arg, const cli_host_finding *finding)
{
    static const verdict verdicts[] = {[CLI_HOST_FINE] = VERDICT_OK,
                                       [CLI_HOST_SLOW] = VERDICT_WARN,
                                       [CLI_HOST_UNKNOWN] = VERDICT_SKIP};
    tell(arg, finding->check, verdicts[finding->verdict], finding->next, "%s", finding->detail);
}

/* As far as this is the machine of the node: for a node elsewhere it is about its client. */
static void check_host(examination *exam)
{
    cpu_set_t mine;
    const bool known = sched_getaffinity(0, sizeof mine, &mine) == 0;
    cli_host_examine("", known ? (unsigned)CPU_COUNT(&mine) : 1, host_found, exam);
}

static void check_offload(examination *exam)
{
#if defined(UDP_SEGMENT) && defined(UDP_GRO)
    const int one = 1;
    const int size = 1200;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool gso = fd >= 0 && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof size) == 0;
    const bool gro = fd >= 0 && setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    tell(exam, "offload", gso && gro ? VERDICT_OK : VERDICT_WARN,
         gso && gro ? NULL : "use a kernel from 5.0 on; every packet costs a call without it",
         "UDP GSO %s, GRO %s", gso ? "yes" : "no", gro ? "yes" : "no");
#else
    tell(exam, "offload", VERDICT_SKIP, NULL, "this build does not know UDP GSO");
#endif
}

/* --- the node --- */

static void describe_node(examination *exam, const flx_client *client)
{
    flx_server_info info = {.struct_size = sizeof info};
    flx_client_server_info(client, &info);
    tell(exam, "node", VERDICT_OK, NULL, "%s answers: %s, round trip %.2f ms, publish window %u",
         info.peer, info.cipher, (double)info.smoothed_rtt_ns / 1e6, info.publish_window);
}

static const char *node_advice(flx_status status)
{
    switch (status) {
    case FLX_ERR_UNAUTHENTICATED:
    case FLX_ERR_DENIED:
        return "the node is there and refuses the token: get another one";
    case FLX_ERR_INVALID:
    case FLX_ERR_UNTRUSTED:
        return "the node is there, but its certificate is not trusted: --ca-file and --server-name";
    default:
        return "see the checks above; is a firewall in between?";
    }
}

static void check_node(examination *exam)
{
    const cli_settings *settings = exam->settings;
    const cli_context *values = &settings->values;
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    flx_client *client = NULL;
    flx_error error = {0};
    uint32_t timeout_ms = 0;
    if (values->tenant[0] == '\0' || (settings->token == NULL && values->token_file[0] == '\0')) {
        tell(exam, "node", VERDICT_SKIP, "give a tenant and a token",
             "there is nobody to log in as");
        return;
    }
    if (!cli_flag_timeout_ms(exam->run, &timeout_ms)) {
        return;
    }
    options.addresses = values->addresses;
    options.tenant = values->tenant;
    options.token = settings->token;
    options.token_file = settings->token == NULL ? values->token_file : NULL;
    options.ca_file = values->ca_file[0] != '\0' ? values->ca_file : NULL;
    options.server_name = values->server_name[0] != '\0' ? values->server_name : NULL;
    const flx_status status = flx_client_connect(&options, timeout_ms, &client, &error);
    if (status == FLX_OK) {
        exam->answers = true;
        describe_node(exam, client);
    } else {
        tell(exam, "node", VERDICT_FAIL, node_advice(status), "%s", error.message);
    }
    (void)flx_client_free(client);
}

static void check_controlplane(examination *exam)
{
    const cli_context *values = &exam->settings->values;
    const flx_http_client_options options = {
        .ca_file = values->ca_file[0] != '\0' ? values->ca_file : NULL, .loopback_http = true};
    flx_http_client *client = NULL;
    flx_http_answer answer = {0};
    flx_error error = {0};
    char url[CLI_VALUE_MAX + 32];
    (void)snprintf(url, sizeof url, "%s/v1/system/live", values->controlplane);
    const flx_http_call call = {.method = "GET", .url = url};
    flx_status status = flx_http_client_new(&options, &client, &error);
    if (status == FLX_OK) {
        status = flx_http_client_call(client, &call, &answer, &error);
    }
    if (status == FLX_OK && answer.status == 200) {
        tell(exam, "controlplane", VERDICT_OK, NULL, "%s answers", values->controlplane);
    } else {
        tell(exam, "controlplane", VERDICT_WARN,
             "stream and cache administration needs it; data does not", "%s: %s",
             values->controlplane,
             status == FLX_OK ? "does not answer as a control plane" : error.message);
    }
    flx_http_answer_done(&answer);
    (void)flx_http_client_free(client);
}

cli_exit cli_cmd_doctor(cli_run *run)
{
    static const cli_column columns[] = {{"CHECK", "check", false, 12},
                                         {"STATUS", "status", false, 7},
                                         {"DETAIL", "detail", false, 60},
                                         {"NEXT", "next", false, 0},
                                         {NULL, NULL, false, 0}};
    examination exam = {.run = run, .now_s = flx_clock_wall_us() / 1000000};
    cli_exit code = CLI_EXIT_OK;
    exam.settings = cli_run_settings(run, &code);
    if (exam.settings == NULL) {
        return code;
    }
    cli_out_begin(&exam.out, run->out, cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_JSONL),
                  CLI_SHAPE_STREAM, columns, "check", run->out_is_terminal);
    check_context(&exam);
    check_addresses(&exam);
    check_token(&exam, "token", exam.settings->token, exam.settings->values.token_file);
    check_certificates(&exam);
    check_clock(&exam);
    check_host(&exam);
    check_offload(&exam);
    check_controlplane(&exam);
    check_node(&exam);
    if (!cli_out_end(&exam.out)) {
        return CLI_EXIT_FAILURE;
    }
    return exam.answers
               ? CLI_EXIT_OK
               : cli_error(run, CLI_EXIT_UNAVAILABLE, "see the checks that failed",
                           "the node at %s does not answer", exam.settings->values.addresses);
}
