/* SPDX-License-Identifier: Apache-2.0 */
/* cache ADDRESSES CA_FILE CACHE KEY [VALUE] - puts VALUE for a minute, or prints what is there. */
#include <felix/felix.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static flx_slice slice(const char *text)
{
    const flx_slice made = {(const uint8_t *)text, strlen(text)};
    return made;
}

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: %s ADDRESSES CA_FILE CACHE KEY [VALUE]\n", argv[0]);
        return 2;
    }
    const char *tenant = getenv("FELIX_TENANT");
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    options.addresses = argv[1];
    options.ca_file = argv[2];
    options.tenant = tenant != NULL ? tenant : "t1";
    options.token = getenv("FELIX_TOKEN");

    flx_error error;
    flx_client *client = NULL;
    flx_cache *cache = NULL;
    flx_cache_entry entry = {.found = false};
    flx_status status = flx_client_connect(&options, 10000, &client, &error);
    if (status == FLX_OK)
        status = flx_cache_new(client, argv[3], &cache, &error);
    if (status == FLX_OK && argc == 6)
        status = flx_cache_put(cache, slice(argv[4]), slice(argv[5]), 60000, 10000, &error);
    else if (status == FLX_OK)
        status = flx_cache_get(cache, slice(argv[4]), 10000, &entry, &error);
    if (status != FLX_OK)
        fprintf(stderr, "cache: %s\n", error.message);
    if (entry.found)
        printf("%.*s\n", (int)entry.value.len, (const char *)entry.value.ptr);
    const int code = status != FLX_OK ? 1 : argc == 5 && !entry.found ? 3 : 0;
    flx_cache_entry_release(&entry);
    flx_cache_free(cache);
    flx_client_free(client);
    return code;
}
