/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mint_token - makes the tokens tests need, good and bad: mint_token KEY.pem AUDIENCE TENANT
 * BEGIN_S TTL_S [PERMISSION ...]; BEGIN_S is seconds from now, so -7200 with a TTL of 60 has expired.
 */
#include "authz/issuer.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc < 6) {
        (void)fputs("usage: mint_token KEY.pem AUDIENCE TENANT BEGIN_S TTL_S [PERMISSION ...]\n",
                    stderr);
        return 2;
    }
    flx_error error = {0};
    flx_signing_key *key = NULL;
    flx_secret token = {0};
    const int64_t begin_s = (int64_t)(flx_clock_wall_us() / 1000000) + strtoll(argv[4], NULL, 10);
    const flx_token_claims claims = {
        .audience = argv[2],
        .tenant = argv[3],
        .subject = "test",
        .perms = (const char *const *)(argv + 6),
        .perm_count = (size_t)(argc - 6),
        .ttl_s = (uint32_t)strtoul(argv[5], NULL, 10),
    };
    flx_status status = flx_signing_key_load_or_create(argv[1], &key, &error);
    if (status == FLX_OK) {
        status = flx_issuer_mint(key, &claims, (uint64_t)begin_s, &token, &error);
    }
    if (status == FLX_OK) {
        (void)printf("%s\n", (const char *)token.bytes);
    } else {
        (void)fprintf(stderr, "mint_token: %s\n", error.message);
    }
    flx_secret_done(&token);
    key = flx_signing_key_unref(key);
    return status == FLX_OK ? 0 : 1;
}
