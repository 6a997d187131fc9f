/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/token_verify.c - what does a token cost when it is seen for the first time, and when it is
 * remembered? And a decision, with few permissions and with many?
 *
 * Prints nanoseconds for each, the median of a few rounds. Goal: a remembered token under 1000 ns.
 */
#include "authz/issuer.h"
#include "authz/token.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/slice.h"
#include "crypto/jwks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_S  UINT64_C(1800000000)
#define ROUNDS 9

typedef struct bench {
    flx_signing_key *key;
    flx_keyset *keyset;
    flx_verifier *verifier;
    flx_secret token;
    flx_grants *grants;
    flx_object asked;
} bench;

static void must(flx_status status, const flx_error *error)
{
    if (status != FLX_OK) {
        (void)fprintf(stderr, "token_verify: %s\n", error->message);
        exit(1);
    }
}

static void set_up(bench *b, const char *const *perms, size_t count)
{
    flx_error error = {0};
    char *json = NULL;
    const flx_verifier_options options = {"felix-auth", "felix-broker", 60, 0};
    const flx_token_claims claims = {
        .tenant = "t1", .subject = "bench", .perms = perms, .perm_count = count, .ttl_s = 900};
    memset(b, 0, sizeof *b);
    must(flx_signing_key_generate(&b->key, &error), &error);
    flx_public_key *const keys[] = {flx_signing_key_public(b->key)};
    must(flx_jwks_encode(keys, 1, &json, &error), &error);
    must(flx_keyset_parse_jwks(NULL, flx_slice_of(json), &b->keyset, &error), &error);
    must(flx_verifier_new(&options, b->keyset, &b->verifier, &error), &error);
    must(flx_issuer_mint(b->key, &claims, NOW_S, &b->token, &error), &error);
    must(flx_verifier_check(b->verifier, flx_secret_slice(&b->token), flx_slice_of("t1"),
                            NOW_S * 1000000, &b->grants, &error),
         &error);
    b->asked = (flx_object){FLX_OBJECT_STREAM,
                            flx_slice_of("t1"),
                            flx_slice_of("payments"),
                            flx_slice_of("orders"),
                            {0}};
    flx_free(json);
}

static void tear_down(bench *b)
{
    (void)flx_grants_unref(b->grants);
    flx_secret_done(&b->token);
    (void)flx_verifier_free(b->verifier);
    (void)flx_keyset_unref(b->keyset);
    (void)flx_signing_key_unref(b->key);
}

static void check_remembered(bench *b)
{
    flx_error error = {0};
    flx_grants *grants = NULL;
    must(flx_verifier_check(b->verifier, flx_secret_slice(&b->token), flx_slice_of("t1"),
                            NOW_S * 1000000, &grants, &error),
         &error);
    (void)flx_grants_unref(grants);
}

static void check_cold(bench *b)
{
    flx_verifier_set_keys(b->verifier, b->keyset); /* forgets; walks the table, which is counted */
    check_remembered(b);
}

static void decide(bench *b)
{
    if (!flx_grants_allow(b->grants, FLX_ACTION_STREAM_PUBLISH, &b->asked)) {
        abort();
    }
}

static int compare(const void *left, const void *right)
{
    const double l = *(const double *)left;
    const double r = *(const double *)right;
    return (l > r) - (l < r);
}

static void measure(const char *name, bench *b, void (*work)(bench *), unsigned count)
{
    double ns[ROUNDS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t start_ns = flx_clock_monotonic_ns();
        for (unsigned i = 0; i < count; i++) {
            work(b);
        }
        ns[round] = (double)(flx_clock_monotonic_ns() - start_ns) / count;
    }
    qsort(ns, ROUNDS, sizeof ns[0], compare);
    (void)printf("%-36s %10.0f ns\n", name, ns[ROUNDS / 2]);
}

int main(void)
{
    static const char *const few[] = {"stream.publish:stream:t1/payments/*",
                                      "stream.subscribe:stream:t1/*/*", "cache.read:cache:t1/*/*",
                                      "cache.write:cache:t1/*/*"};
    static char texts[200][64];
    const char *many[200];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "stream.publish:stream:t1/payments/s%d", i);
        many[i] = texts[i];
    }
    many[199] = "stream.publish:stream:t1/payments/orders";
    bench b;
    set_up(&b, few, sizeof few / sizeof few[0]);
    (void)printf("token of %zu bytes\n", b.token.len);
    measure("token, first time", &b, check_cold, 200);
    measure("token, remembered", &b, check_remembered, 100000);
    measure("decision, 4 permissions", &b, decide, 1000000);
    tear_down(&b);
    set_up(&b, many, 200);
    (void)printf("token of %zu bytes\n", b.token.len);
    measure("token, remembered", &b, check_remembered, 20000);
    measure("decision, 200 permissions", &b, decide, 1000000);
    tear_down(&b);
    return 0;
}
