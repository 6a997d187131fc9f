/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_counter.c - felix counter add, get: sums kept beside a cache. */
#include "commands.h"
#include "common/slice.h"
#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const cli_column columns[] = {
    {"Key", "key", false, 0}, {"Value", "value", false, 0}, {NULL, NULL, false, 0}};

/* A client and the cache the counter of the arguments is in. */
typedef struct counting {
    cli_run *run;
    flx_client *client;
    flx_cache *cache;
    uint32_t timeout_ms;
    const char *name;
    const char *key;
} counting;

static flx_slice key_of(const counting *in)
{
    return flx_slice_of(in->key);
}

static bool begin(cli_run *run, counting *in, bool create, cli_exit *ret_exit)
{
    const cli_session_options session = {0};
    flx_error error = {0};
    *in = (counting){
        .run = run, .name = cli_args_at(&run->args, 0), .key = cli_args_at(&run->args, 1)};
    if (!cli_flag_timeout_ms(run, &in->timeout_ms)) {
        *ret_exit = CLI_EXIT_USAGE;
        return false;
    }
    if ((create && !cli_session_need_cache(run, in->name, ret_exit)) ||
        !cli_session_open(run, &session, &in->client, ret_exit)) {
        return false;
    }
    if (flx_cache_new(in->client, in->name, &in->cache, &error) != FLX_OK) {
        *ret_exit = cli_failed(run, &error, "cache '%s'", in->name);
        in->client = flx_client_free(in->client);
        return false;
    }
    return true;
}

static void end(counting *in)
{
    in->cache = flx_cache_free(in->cache);
    in->client = flx_client_free(in->client);
}

static cli_exit failed(const counting *in, const flx_error *error, const char *verb)
{
    if (error->status == FLX_ERR_NOT_FOUND) {
        return cli_error(in->run, CLI_EXIT_NOT_FOUND,
                         "'felix cache create' makes one, 'felix cache ls' lists them",
                         "cache '%s' does not exist", in->name);
    }
    return cli_failed(in->run, error, "%s counter '%s' of cache '%s'", verb, in->key, in->name);
}

static cli_exit write_value(const counting *in, int64_t value)
{
    cli_out out;
    const cli_format format = cli_run_format(in->run, CLI_FORMAT_RAW, CLI_FORMAT_RAW);
    if (format == CLI_FORMAT_RAW) {
        (void)fprintf(in->run->out, "%" PRId64 "\n", value);
        return fflush(in->run->out) == 0 ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
    }
    cli_out_begin(&out, in->run->out, format, CLI_SHAPE_ONE, columns, "key",
                  in->run->out_is_terminal);
    cli_out_row(&out, json_pack("{s:s, s:I}", "key", in->key, "value", (json_int_t)value));
    return cli_out_end(&out) ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

static bool read_delta(const cli_run *run, int64_t *ret_delta)
{
    const char *text = cli_args_at(&run->args, 2);
    char *rest = NULL;
    *ret_delta = 1;
    if (text == NULL) {
        return true;
    }
    errno = 0;
    *ret_delta = strtoll(text, &rest, 10);
    return errno == 0 && rest != text && *rest == '\0';
}

cli_exit cli_cmd_counter_add(cli_run *run)
{
    counting in;
    flx_error error = {0};
    cli_exit code = CLI_EXIT_OK;
    int64_t delta;
    int64_t value = 0;
    if (!read_delta(run, &delta)) {
        return cli_error(run, CLI_EXIT_USAGE, NULL, "'%s' is not a number of 64 bits",
                         cli_args_at(&run->args, 2));
    }
    if (!begin(run, &in, true, &code)) {
        return code;
    }
    code = flx_counter_add(in.cache, key_of(&in), delta, in.timeout_ms, &value, &error) == FLX_OK
               ? write_value(&in, value)
               : failed(&in, &error, "add to");
    end(&in);
    return code;
}

cli_exit cli_cmd_counter_get(cli_run *run)
{
    counting in;
    flx_error error = {0};
    cli_exit code = CLI_EXIT_OK;
    bool found = false;
    int64_t value = 0;
    if (!begin(run, &in, false, &code)) {
        return code;
    }
    if (flx_counter_get(in.cache, key_of(&in), in.timeout_ms, &found, &value, &error) != FLX_OK) {
        code = failed(&in, &error, "get");
    } else if (!found) {
        code = cli_error(run, CLI_EXIT_NOT_FOUND, NULL, "there is no counter '%s' in cache '%s'",
                         in.key, in.name);
    } else {
        code = write_value(&in, value);
    }
    end(&in);
    return code;
}
