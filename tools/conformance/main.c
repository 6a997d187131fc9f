/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix-conformance - does a broker keep to the protocol?
 *
 *     felix-conformance vectors DIR      each vector of a folder: "ok NAME" or "FAIL NAME: why"
 *     felix-conformance [--context NAME] the raw suite and the client scenarios against a broker
 *
 * Prints a table; exits 1 when anything failed, 2 on wrong usage, 7 when the broker is not there.
 */
#include "context.h"
#include "run.h"
#include "suite.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_FAILED      1
#define EXIT_USAGE       2
#define EXIT_UNAVAILABLE 7

static const char usage[] =
    "usage: felix-conformance vectors DIR\n"
    "       felix-conformance [--context NAME] [options]\n"
    "\n"
    "Checks any broker against the Felix wire protocol v1. Without options the broker is that of\n"
    "the current context (see 'felix context'); in one for development its streams are created.\n"
    "\n"
    "  --context NAME         another context\n"
    "  --address HOST:PORT    the broker; with --ca, --token-file and --tenant no context is read\n"
    "  --ca FILE              PEM file to trust\n"
    "  --server-name NAME     name in the certificate (default: localhost)\n"
    "  --tenant NAME          tenant of the token (default: t1)\n"
    "  --namespace NAME       (default: default)\n"
    "  --token-file FILE      token that may publish, subscribe, read and write the cache\n"
    "  --refused-token-file FILE  token that may do nothing\n"
    "  --stream NAME          a stream of one shard (default: conformance)\n"
    "  --sharded-stream NAME  a stream of several (default: conformance-sharded)\n"
    "  --cache NAME           (default: primary)\n"
    "  --only PREFIX          only checks whose id begins so\n"
    "  --wait MS              for each answer (default: 10000)\n";

typedef struct check_totals {
    unsigned passed;
    unsigned failed;
    unsigned skipped;
} check_totals;

static void print_row(const char *id, check_result result, const char *note)
{
    static const char *const words[] = {"pass", "FAIL", "skip"};
    (void)printf("%-4s  %-52s  %s\n", words[result], id, note);
    (void)fflush(stdout);
}

static void run_table(check_suite *suite, const check *checks, const char *only,
                      check_totals *totals)
{
    for (const check *row = checks; row->id != NULL; row++) {
        if (only != NULL && strncmp(row->id, only, strlen(only)) != 0) {
            continue;
        }
        suite->why[0] = '\0';
        const check_result result = row->run(suite);
        totals->passed += result == CHECK_PASS;
        totals->failed += result == CHECK_FAIL;
        totals->skipped += result == CHECK_SKIP;
        print_row(row->id, result, result == CHECK_PASS ? row->shows : suite->why);
    }
}

/* In a context for development the streams that the checks use are made when they are missing. */
static void make_stream(const char *context, const char *stream, const char *shards)
{
    const char *const words[] = {"stream", "create",      stream,      "--shards",
                                 shards,   "--if-absent", "--context", context};
    char *argv[sizeof words / sizeof words[0]];
    char text[sizeof words / sizeof words[0]][CLI_VALUE_MAX];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        (void)snprintf(text[i], sizeof text[i], "%s", words[i]);
        argv[i] = text[i];
    }
    /* A failure was told; the checks that need the stream fail with their own words. */
    (void)cli_main(sizeof words / sizeof words[0], argv, environ, stderr, stderr);
}

/* `dev_context`: the context is one for development; NULL: it is not. */
static int run_live(const raw_target *target, const char *only, const char *dev_context)
{
    check_suite suite = {.target = target};
    check_totals totals = {0};
    flx_error error;
    raw_client *probe = NULL;
    if (raw_connect(target, NULL, &probe, &error) != FLX_OK) {
        (void)fprintf(stderr,
                      "felix-conformance: %s; is the broker running? 'felix doctor' looks\n",
                      error.message);
        return EXIT_UNAVAILABLE;
    }
    probe = raw_disconnect(probe);
    if (dev_context != NULL) {
        make_stream(dev_context, target->stream, "1");
        make_stream(dev_context, target->sharded_stream, "4");
    }
    run_table(&suite, raw_checks, only, &totals);
    run_table(&suite, operation_checks, only, &totals);
    run_table(&suite, scenario_checks, only, &totals);
    for (const skipped *row = skipped_scenarios; only == NULL && row->id != NULL; row++) {
        print_row(row->id, CHECK_SKIP, row->why);
        totals.skipped++;
    }
    (void)printf("%u passed, %u failed, %u skipped\n", totals.passed, totals.failed,
                 totals.skipped);
    return totals.failed > 0 ? EXIT_FAILED : EXIT_SUCCESS;
}

static char *read_token(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        perror(path);
        exit(EXIT_USAGE);
    }
    static char tokens[2][16400];
    static size_t used;
    char *token = tokens[used++ % 2];
    const size_t len = fread(token, 1, sizeof tokens[0] - 1, file);
    (void)fclose(file);
    token[len] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    return token;
}

static const char *only_context(const void *arg, const char *flag)
{
    return strcmp(flag, "context") == 0 ? arg : NULL;
}

/* The broker, trust and token of a context, and its name when it is one for development. Ends the
 * program when there is none. */
static const char *fill_from_context(const char *name, raw_target *target)
{
    static cli_settings settings; /* the target borrows from it */
    flx_error error;
    const cli_settings_inputs inputs = {
        .flag = only_context, .flag_arg = name, .environment = environ};
    if (cli_settings_resolve(&inputs, &settings, &error) != FLX_OK) {
        (void)fprintf(stderr, "felix-conformance: %s; give --address, or start a node: make up\n",
                      error.message);
        exit(EXIT_USAGE);
    }
    settings.values.addresses[strcspn(settings.values.addresses, ",")] = '\0';
    target->address = settings.values.addresses;
    target->ca_file = settings.values.ca_file[0] != '\0' ? settings.values.ca_file : NULL;
    target->tenant = settings.values.tenant;
    target->namespace_ = settings.values.namespace_;
    if (settings.values.server_name[0] != '\0') {
        target->server_name = settings.values.server_name;
    }
    if (target->token == NULL) {
        target->token =
            settings.token != NULL ? settings.token : read_token(settings.values.token_file);
    }
    return settings.values.dev ? settings.values.name : NULL;
}

/* ---- the command line ---- */

enum {
    OPT_CONTEXT = 1,
    OPT_ADDRESS,
    OPT_CA,
    OPT_NAME,
    OPT_TENANT,
    OPT_NAMESPACE,
    OPT_TOKEN,
    OPT_REFUSED,
    OPT_STREAM,
    OPT_SHARDED,
    OPT_CACHE,
    OPT_ONLY,
    OPT_WAIT,
    OPT_HELP
};

static const struct option options[] = {
    {"context", required_argument, NULL, OPT_CONTEXT},
    {"address", required_argument, NULL, OPT_ADDRESS},
    {"ca", required_argument, NULL, OPT_CA},
    {"server-name", required_argument, NULL, OPT_NAME},
    {"tenant", required_argument, NULL, OPT_TENANT},
    {"namespace", required_argument, NULL, OPT_NAMESPACE},
    {"token-file", required_argument, NULL, OPT_TOKEN},
    {"refused-token-file", required_argument, NULL, OPT_REFUSED},
    {"stream", required_argument, NULL, OPT_STREAM},
    {"sharded-stream", required_argument, NULL, OPT_SHARDED},
    {"cache", required_argument, NULL, OPT_CACHE},
    {"only", required_argument, NULL, OPT_ONLY},
    {"wait", required_argument, NULL, OPT_WAIT},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* What the command line says. */
typedef struct request {
    raw_target target;
    const char *context; /* NULL: the current one */
    const char *only;    /* NULL: all checks */
    const char *vectors; /* NULL: a broker is checked */
} request;

/* False: help is wanted, or there is no such option. */
static bool take_option(int option, const char *value, request *words)
{
    raw_target *target = &words->target;
    switch (option) {
    case OPT_CONTEXT:
        words->context = value;
        break;
    case OPT_ADDRESS:
        target->address = value;
        break;
    case OPT_CA:
        target->ca_file = value;
        break;
    case OPT_NAME:
        target->server_name = value;
        break;
    case OPT_TENANT:
        target->tenant = value;
        break;
    case OPT_NAMESPACE:
        target->namespace_ = value;
        break;
    case OPT_TOKEN:
        target->token = read_token(value);
        break;
    case OPT_REFUSED:
        target->refused_token = read_token(value);
        break;
    case OPT_STREAM:
        target->stream = value;
        break;
    case OPT_SHARDED:
        target->sharded_stream = value;
        break;
    case OPT_CACHE:
        target->cache = value;
        break;
    case OPT_ONLY:
        words->only = value;
        break;
    case OPT_WAIT:
        target->wait_ms = (uint32_t)strtoul(value, NULL, 10);
        break;
    default:
        return false;
    }
    return true;
}

/* Ends the program when that is all, or wrong. */
static request parse(int argc, char **argv)
{
    request words = {.target = {.server_name = "localhost",
                                .namespace_ = "default",
                                .tenant = "t1",
                                .stream = "conformance",
                                .sharded_stream = "conformance-sharded",
                                .missing_stream = "conformance-absent",
                                .cache = "primary",
                                .wait_ms = 10000}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (!take_option(option, optarg, &words)) {
            const bool is_help = option == OPT_HELP || option == 'h';
            (void)fputs(usage, is_help ? stdout : stderr);
            exit(is_help ? EXIT_SUCCESS : EXIT_USAGE);
        }
    }
    if (optind < argc) {
        if (strcmp(argv[optind], "vectors") != 0 || optind + 2 != argc) {
            (void)fputs(usage, stderr);
            exit(EXIT_USAGE);
        }
        words.vectors = argv[optind + 1];
    }
    return words;
}

int main(int argc, char **argv)
{
    request words = parse(argc, argv);
    if (words.vectors != NULL) {
        return vectors_check(words.vectors) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
    }
    const char *dev_context = NULL;
    if (words.target.address == NULL) {
        dev_context = fill_from_context(words.context, &words.target);
    }
    if (words.target.token == NULL) {
        (void)fputs("felix-conformance: no token; give --token-file\n", stderr);
        return EXIT_USAGE;
    }
    return run_live(&words.target, words.only, dev_context);
}
