/* SPDX-License-Identifier: Apache-2.0 */
/* publish ADDRESSES CA_FILE STREAM TEXT... - sends each TEXT and says where it went. */
#include <felix/felix.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: %s ADDRESSES CA_FILE STREAM TEXT...\n", argv[0]);
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
    flx_publisher *publisher = NULL;
    flx_status status = flx_client_connect(&options, 10000, &client, &error);
    if (status == FLX_OK)
        status = flx_publisher_new(client, argv[3], NULL, &publisher, &error);
    for (int i = 4; i < argc && status == FLX_OK; i++) {
        const flx_slice text = {(const uint8_t *)argv[i], strlen(argv[i])};
        uint64_t offset;
        status = flx_publisher_publish_wait(publisher, NULL, text, 10000, &offset, &error);
        if (status == FLX_OK && offset != UINT64_MAX)
            printf("%llu %s\n", (unsigned long long)offset, argv[i]);
    }
    if (status != FLX_OK)
        fprintf(stderr, "publish: %s\n", error.message);
    flx_publisher_free(publisher);
    flx_client_free(client);
    return status == FLX_OK ? 0 : 1;
}
