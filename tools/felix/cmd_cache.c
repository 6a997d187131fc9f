/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_cache.c - felix cache get, put, del: the data verbs of caches. */
#include "commands.h"
#include "common/alloc.h"
#include "common/slice.h"
#include "record.h"
#include "session.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define VALUE_MAX ((size_t)15 * 1024 * 1024)

/* A client and the cache of the first argument. */
typedef struct opened {
    flx_client *client;
    flx_cache *cache;
    uint32_t timeout_ms;
    const char *name;
    const char *key_text;
    flx_slice key;
} opened;

static void close_cache(opened *in)
{
    in->cache = flx_cache_free(in->cache);
    in->client = flx_client_free(in->client);
}

static bool open_cache(cli_run *run, opened *in, bool create, cli_exit *ret_exit)
{
    const cli_session_options session = {0};
    flx_error error = {0};
    memset(in, 0, sizeof *in);
    in->name = cli_args_at(&run->args, 0);
    in->key_text = cli_args_at(&run->args, 1);
    in->key = flx_slice_of(in->key_text);
    if (!cli_flag_timeout_ms(run, &in->timeout_ms)) {
        *ret_exit = CLI_EXIT_USAGE;
        return false;
    }
    if (in->key.len == 0) {
        *ret_exit =
            cli_error(run, CLI_EXIT_USAGE, NULL, "the key is empty; a key has 1 to 65535 bytes");
        return false;
    }
    if (create && !cli_session_need_cache(run, in->name, ret_exit)) {
        return false;
    }
    if (!cli_session_open(run, &session, &in->client, ret_exit)) {
        return false;
    }
    if (flx_cache_new(in->client, in->name, &in->cache, &error) != FLX_OK) {
        *ret_exit = cli_failed(run, &error, "cache '%s'", in->name);
        close_cache(in);
        return false;
    }
    return true;
}

static cli_exit failed(cli_run *run, const opened *in, const flx_error *error, const char *verb)
{
    if (error->status == FLX_ERR_NOT_FOUND) {
        return cli_error(run, CLI_EXIT_NOT_FOUND,
                         "'felix cache create' makes one, 'felix cache ls' lists them",
                         "cache '%s' does not exist", in->name);
    }
    return cli_failed(run, error, "%s '%s' of cache '%s'", verb, in->key_text, in->name);
}

static cli_exit no_such_key(cli_run *run, const opened *in)
{
    return cli_error(run, CLI_EXIT_NOT_FOUND, NULL, "there is no key '%s' in cache '%s'",
                     in->key_text, in->name);
}

static cli_exit write_entry(cli_run *run, const opened *in, const flx_cache_entry *entry)
{
    static const cli_column columns[] = {{"Key", "key", false, 0},
                                         {"Value", "value", false, 0},
                                         {"Version", "version", false, 0},
                                         {NULL, NULL, false, 0}};
    const cli_format format = cli_run_format(run, CLI_FORMAT_RAW, CLI_FORMAT_RAW);
    if (format == CLI_FORMAT_RAW) {
        (void)fwrite(entry->value.ptr, 1, entry->value.len, run->out);
        (void)fputc('\n', run->out);
        return fflush(run->out) == 0 ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
    }
    cli_out out;
    json_t *row = json_pack("{s:s}", "key", in->key_text);
    if (row != NULL && !cli_json_set_bytes(row, "value", entry->value)) {
        json_decref(row);
        row = NULL;
    }
    if (row != NULL && entry->has_version) {
        (void)json_object_set_new(row, "version", json_integer((json_int_t)entry->version));
    }
    cli_out_begin(&out, run->out, format, CLI_SHAPE_ONE, columns, "key", run->out_is_terminal);
    cli_out_row(&out, row);
    return cli_out_end(&out) ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

cli_exit cli_cmd_cache_get(cli_run *run)
{
    opened in;
    flx_error error = {0};
    flx_cache_entry entry = {0};
    cli_exit code = CLI_EXIT_OK;
    if (!open_cache(run, &in, false, &code)) {
        return code;
    }
    if (flx_cache_get(in.cache, in.key, in.timeout_ms, &entry, &error) != FLX_OK) {
        code = failed(run, &in, &error, "get");
    } else if (!entry.found) {
        code = no_such_key(run, &in);
    } else {
        code = write_entry(run, &in, &entry);
    }
    flx_cache_entry_release(&entry);
    close_cache(&in);
    return code;
}

/* All of standard input; the caller flx_free()s. */
static bool read_value(cli_run *run, uint8_t **ret_bytes, size_t *ret_len, cli_exit *ret_exit)
{
    uint8_t *bytes = flx_alloc(VALUE_MAX + 1);
    size_t len = 0;
    if (bytes == NULL) {
        *ret_exit = cli_error(run, CLI_EXIT_FAILURE, NULL, "out of memory");
        return false;
    }
    while (len <= VALUE_MAX) {
        const ssize_t got = read(STDIN_FILENO, bytes + len, VALUE_MAX + 1 - len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            *ret_exit = cli_error(run, CLI_EXIT_FAILURE, NULL, "read standard input: %s",
                                  strerrordesc_np(errno));
            flx_free(bytes);
            return false;
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    if (len > VALUE_MAX) {
        *ret_exit = cli_error(run, CLI_EXIT_USAGE, NULL, "the value is larger than %zu MiB",
                              VALUE_MAX >> 20);
        flx_free(bytes);
        return false;
    }
    *ret_bytes = bytes;
    *ret_len = len;
    return true;
}

cli_exit cli_cmd_cache_put(cli_run *run)
{
    opened in;
    flx_error error = {0};
    uint64_t ttl_us = 0;
    uint8_t *bytes = NULL;
    cli_exit code = CLI_EXIT_OK;
    const char *text = cli_args_at(&run->args, 2);
    flx_slice value = {(const uint8_t *)text, text != NULL ? strlen(text) : 0};
    if (!cli_flag_duration_us(run, "ttl", &ttl_us)) {
        return CLI_EXIT_USAGE;
    }
    if (ttl_us % 1000 != 0) {
        return cli_error(run, CLI_EXIT_USAGE, NULL, "--ttl %s is finer than a millisecond",
                         cli_args_flag(&run->args, "ttl"));
    }
    if (text == NULL && !read_value(run, &bytes, &value.len, &code)) {
        return code;
    }
    value.ptr = text == NULL ? bytes : value.ptr;
    if (open_cache(run, &in, true, &code)) {
        if (flx_cache_put(in.cache, in.key, value, ttl_us / 1000, in.timeout_ms, &error) !=
            FLX_OK) {
            code = failed(run, &in, &error, "put");
        }
        close_cache(&in);
    }
    flx_free(bytes);
    return code;
}

cli_exit cli_cmd_cache_del(cli_run *run)
{
    opened in;
    flx_error error = {0};
    flx_cache_entry removed = {0};
    cli_exit code = CLI_EXIT_OK;
    if (!open_cache(run, &in, false, &code)) {
        return code;
    }
    if (flx_cache_delete(in.cache, in.key, in.timeout_ms, &removed, &error) != FLX_OK) {
        code = failed(run, &in, &error, "delete");
    } else if (!removed.found) {
        code = no_such_key(run, &in);
    }
    flx_cache_entry_release(&removed);
    close_cache(&in);
    return code;
}
