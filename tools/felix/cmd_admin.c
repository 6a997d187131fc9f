/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_admin.c - streams and caches as things: ls, show, rm over the REST API. */
#include "admin.h"
#include "commands.h"
#include "rest.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PAGE_LIMIT 1000

static const cli_column stream_columns[] = {{"NAME", "stream", false, 0},
                                            {"DURABLE", "durable", false, 0},
                                            {"ACK", "ack", false, 0},
                                            {"SHARDS", "shards", false, 0},
                                            {"REPLICAS", "replication_factor", false, 0},
                                            {"RETENTION", "retention", true, 0},
                                            {"KIND", "kind", true, 0},
                                            {"CONSISTENCY", "consistency", true, 0},
                                            {"DELIVERY", "delivery", true, 0},
                                            {"ROUTING", "routing", true, 0},
                                            {NULL, NULL, false, 0}};

static const cli_column stream_upright[] = {{"Name", "stream", false, 0},
                                            {"Tenant", "tenant_id", false, 0},
                                            {"Namespace", "namespace", false, 0},
                                            {"Durable", "durable", false, 0},
                                            {"An ack means", "ack", false, 0},
                                            {"Synced", "fsync", false, 0},
                                            {"At the latest (ms)", "fsync_interval_ms", false, 0},
                                            {"Slow subscribers", "slow_policy", false, 0},
                                            {"Shards", "shards", false, 0},
                                            {"Replicas", "replication_factor", false, 0},
                                            {"Consistency", "consistency", false, 0},
                                            {"Retention", "retention", false, 0},
                                            {"Routing", "routing", false, 0},
                                            {"Kind", "kind", false, 0},
                                            {"Delivery", "delivery", false, 0},
                                            {NULL, NULL, false, 0}};

static const cli_column cache_columns[] = {{"NAME", "cache", false, 0},
                                           {"DURABLE", "durable", false, 0},
                                           {"ACK", "ack", false, 0},
                                           {"DISPLAY NAME", "display_name", false, 0},
                                           {"SHARDS", "shards", false, 0},
                                           {"REPLICAS", "replication_factor", false, 0},
                                           {"CONSISTENCY", "consistency", true, 0},
                                           {NULL, NULL, false, 0}};

static const cli_column cache_upright[] = {{"Name", "cache", false, 0},
                                           {"Display name", "display_name", false, 0},
                                           {"Tenant", "tenant_id", false, 0},
                                           {"Namespace", "namespace", false, 0},
                                           {"Durable", "durable", false, 0},
                                           {"An answer means", "ack", false, 0},
                                           {"Synced", "fsync", false, 0},
                                           {"At the latest (ms)", "fsync_interval_ms", false, 0},
                                           {"Shards", "shards", false, 0},
                                           {"Replicas", "replication_factor", false, 0},
                                           {"Consistency", "consistency", false, 0},
                                           {NULL, NULL, false, 0}};

const cli_resource cli_streams = {"stream", "streams", "stream", stream_columns, stream_upright};
const cli_resource cli_caches = {"cache", "caches", "cache", cache_columns, cache_upright};

/* --- list --- */

static void collection_path(char path[512], const cli_name *name, const cli_resource *kind,
                            const char *cursor)
{
    (void)snprintf(path, 512, "/v1/tenants/%s/namespaces/%s/%s?limit=%d%s%s", name->tenant,
                   name->namespace_, kind->collection, PAGE_LIMIT,
                   cursor[0] != '\0' ? "&cursor=" : "", cursor);
}

/* A cursor is base64: + / = must not be read as something else in a query. */
static void take_cursor(const json_t *page, char cursor[300])
{
    const char *next = json_string_value(json_object_get(page, "next_cursor"));
    size_t len = 0;
    cursor[0] = '\0';
    for (; next != NULL && *next != '\0' && len + 4 < 300; next++) {
        const bool plain = strchr("+/=", *next) == NULL;
        len += (size_t)snprintf(cursor + len, 300 - len, plain ? "%c" : "%%%02X",
                                (unsigned char)*next);
    }
}

static cli_exit list(cli_run *run, const cli_resource *kind)
{
    cli_exit code = CLI_EXIT_OK;
    cli_name name;
    char path[512];
    char cursor[300] = "";
    cli_out out;
    if (!cli_name_split(run, kind->word, "x", &name, &code)) { /* tenant and namespace only */
        return code;
    }
    cli_out_begin(&out, run->out, cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_JSONL),
                  CLI_SHAPE_LIST, kind->columns, kind->name_field, run->out_is_terminal);
    do {
        cli_rest_answer answer;
        collection_path(path, &name, kind, cursor);
        cli_rest_call(run, "GET", path, NULL, &answer);
        if (answer.code != CLI_EXIT_OK) {
            code = cli_rest_failed(run, &answer, "list %s of %s/%s", kind->collection, name.tenant,
                                   name.namespace_);
        }
        size_t index = 0;
        json_t *item = NULL;
        json_array_foreach(json_object_get(answer.body, "items"), index, item)
        {
            cli_out_row(&out, json_incref(item));
        }
        take_cursor(answer.body, cursor);
        json_decref(answer.body);
    } while (code == CLI_EXIT_OK && cursor[0] != '\0');
    if (code != CLI_EXIT_OK && out.count == 0) {
        json_decref(out.rows);
        return code;
    }
    return cli_out_end(&out) || code != CLI_EXIT_OK ? code : CLI_EXIT_FAILURE;
}

/* --- one --- */

bool cli_admin_path(cli_run *run, const cli_resource *kind, cli_name *name, char path[512],
                    cli_exit *ret_exit)
{
    if (!cli_name_split(run, kind->word, cli_args_at(&run->args, 0), name, ret_exit)) {
        return false;
    }
    (void)snprintf(path, 512, "/v1/tenants/%s/namespaces/%s/%s/%s", name->tenant, name->namespace_,
                   kind->collection, name->name);
    return true;
}

cli_exit cli_admin_write(cli_run *run, const cli_resource *kind, json_t *body)
{
    cli_out out;
    cli_out_begin(&out, run->out, cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_JSON),
                  CLI_SHAPE_ONE, kind->upright, kind->name_field, run->out_is_terminal);
    cli_out_row(&out, body);
    return cli_out_end(&out) ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

cli_exit cli_admin_missing(const cli_run *run, const cli_resource *kind, const cli_name *name)
{
    char next[64];
    (void)snprintf(next, sizeof next, "'felix %s ls' lists what there is", kind->word);
    return cli_error(run, CLI_EXIT_NOT_FOUND, next, "%s '%s' does not exist in %s/%s", kind->word,
                     name->name, name->tenant, name->namespace_);
}

static long long number_of(const json_t *row, const char *member)
{
    return (long long)json_integer_value(json_object_get(row, member));
}

static void write_cache(cli_run *run, const json_t *cache)
{
    (void)fprintf(
        run->out,
        "  entries %lld, counters %lld, %lld bytes of memory; on disk only %lld values of "
        "%lld bytes; live records %lld bytes, compaction %s\n",
        number_of(cache, "entries"), number_of(cache, "counters"), number_of(cache, "memory_bytes"),
        number_of(cache, "values_on_disk_only"), number_of(cache, "bytes_on_disk_only"),
        number_of(cache, "live_bytes"), json_string_value(json_object_get(cache, "compaction")));
}

/* A line a shard: what is on the disk; of a cache one more, what it makes of it. */
static void write_log(cli_run *run, const json_t *log)
{
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(log, index, row)
    {
        const json_t *sync = json_object_get(row, "last_sync_ms_ago");
        char ago[48] = "not synced since the start";
        if (json_is_integer(sync)) {
            (void)snprintf(ago, sizeof ago, "last sync %.1f s ago",
                           (double)json_integer_value(sync) / 1000);
        }
        (void)fprintf(run->out,
                      "Log of shard %lld  %s, head %lld, tail %lld, %lld bytes in %lld files, %s\n",
                      number_of(row, "shard"), json_string_value(json_object_get(row, "state")),
                      number_of(row, "head"), number_of(row, "tail"), number_of(row, "bytes"),
                      number_of(row, "segments"), ago);
        const json_t *cache = json_object_get(row, "cache");
        if (cache != NULL) {
            write_cache(run, cache);
        }
    }
}

static cli_exit show(cli_run *run, const cli_resource *kind)
{
    cli_exit code = CLI_EXIT_OK;
    cli_name name;
    char path[512];
    cli_rest_answer answer;
    if (!cli_admin_path(run, kind, &name, path, &code)) {
        return code;
    }
    cli_rest_call(run, "GET", path, NULL, &answer);
    if (answer.code == CLI_EXIT_OK) {
        json_t *log = json_incref(json_object_get(answer.body, "log"));
        code = cli_admin_write(run, kind, answer.body);
        if (cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_JSON) == CLI_FORMAT_TABLE) {
            write_log(run, log);
        }
        json_decref(log);
        return code;
    }
    json_decref(answer.body);
    return answer.code == CLI_EXIT_NOT_FOUND
               ? cli_admin_missing(run, kind, &name)
               : cli_rest_failed(run, &answer, "show %s '%s'", kind->word, name.name);
}

/* On a terminal, unless --yes: "yes" or "y" is a yes. */
static bool is_sure(cli_run *run, const cli_resource *kind, const cli_name *name)
{
    char answer[16];
    if (cli_args_has(&run->args, "yes") || !run->err_is_terminal || !run->out_is_terminal) {
        return true;
    }
    (void)fprintf(run->err, "remove %s '%s' of %s/%s and all it holds? [y/N] ", kind->word,
                  name->name, name->tenant, name->namespace_);
    (void)fflush(run->err);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

static cli_exit delete_one(cli_run *run, const cli_resource *kind)
{
    cli_exit code = CLI_EXIT_OK;
    cli_name name;
    char path[512];
    cli_rest_answer answer;
    if (!cli_admin_path(run, kind, &name, path, &code)) {
        return code;
    }
    if (!is_sure(run, kind, &name)) {
        return cli_error(run, CLI_EXIT_FAILURE, NULL, "nothing was removed");
    }
    cli_rest_call(run, "DELETE", path, NULL, &answer);
    json_decref(answer.body);
    if (answer.code == CLI_EXIT_OK) {
        cli_say(run, "removed %s '%s'", kind->word, name.name);
        return CLI_EXIT_OK;
    }
    return answer.code == CLI_EXIT_NOT_FOUND
               ? cli_admin_missing(run, kind, &name)
               : cli_rest_failed(run, &answer, "remove %s '%s'", kind->word, name.name);
}

cli_exit cli_cmd_stream_ls(cli_run *run)
{
    return list(run, &cli_streams);
}

cli_exit cli_cmd_stream_show(cli_run *run)
{
    return show(run, &cli_streams);
}

cli_exit cli_cmd_stream_rm(cli_run *run)
{
    return delete_one(run, &cli_streams);
}

cli_exit cli_cmd_cache_ls(cli_run *run)
{
    return list(run, &cli_caches);
}

cli_exit cli_cmd_cache_show(cli_run *run)
{
    return show(run, &cli_caches);
}

cli_exit cli_cmd_cache_rm(cli_run *run)
{
    return delete_one(run, &cli_caches);
}
