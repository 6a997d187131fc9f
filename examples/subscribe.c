/* SPDX-License-Identifier: Apache-2.0 */
/* subscribe ADDRESSES CA_FILE STREAM COUNT - prints the first COUNT messages and gaps of a stream. */
#include <felix/felix.h>

#include <stdio.h>
#include <stdlib.h>

static void print(const flx_message *message)
{
    if (message->kind == FLX_MESSAGE_GAP)
        printf("gap %llu to %llu\n", (unsigned long long)message->offset,
               (unsigned long long)message->gap_end);
    else
        printf("%u/%llu %.*s\n", message->shard, (unsigned long long)message->offset,
               (int)message->payload.len, (const char *)message->payload.ptr);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s ADDRESSES CA_FILE STREAM COUNT\n", argv[0]);
        return 2;
    }
    const char *tenant = getenv("FELIX_TENANT");
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    options.addresses = argv[1];
    options.ca_file = argv[2];
    options.tenant = tenant != NULL ? tenant : "t1";
    options.token = getenv("FELIX_TOKEN");
    flx_subscriber_options from = FLX_SUBSCRIBER_OPTIONS_INIT;
    from.from = FLX_FROM_EARLIEST;

    flx_error error;
    flx_client *client = NULL;
    flx_subscriber *subscriber = NULL;
    flx_status status = flx_client_connect(&options, 10000, &client, &error);
    if (status == FLX_OK)
        status = flx_subscriber_new(client, argv[3], &from, &subscriber, &error);
    for (long left = strtol(argv[4], NULL, 10); left > 0 && status == FLX_OK; left--) {
        flx_message message;
        status = flx_subscriber_receive(subscriber, FLX_WAIT_FOREVER, &message, &error);
        if (status == FLX_OK) {
            print(&message);
            flx_message_release(&message);
        }
    }
    if (status != FLX_OK)
        fprintf(stderr, "subscribe: %s\n", error.message);
    flx_subscriber_free(subscriber);
    flx_client_free(client);
    return status == FLX_OK ? 0 : 1;
}
