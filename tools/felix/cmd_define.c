/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_define.c - what streams and caches promise: create and edit over the REST API.
 *
 * Both read the same flags. A create sends what was given and leaves the rest to the defaults of
 * the control plane; an edit sends what was given and leaves the rest as it is. Only the bounds of
 * a retention travel together, so an edit reads those it does not change first.
 */
#include "admin.h"
#include "commands.h"
#include "rest.h"

#include <string.h>

static cli_exit create(cli_run *run, const cli_resource *kind, const cli_name *name, json_t *body)
{
    char path[512];
    cli_rest_answer answer;
    if (body == NULL) {
        return cli_error(run, CLI_EXIT_FAILURE, NULL, "create %s '%s': out of memory", kind->word,
                         name->name);
    }
    (void)snprintf(path, sizeof path, "/v1/tenants/%s/namespaces/%s/%s", name->tenant,
                   name->namespace_, kind->collection);
    cli_rest_call(run, "POST", path, body, &answer);
    json_decref(body);
    if (answer.code == CLI_EXIT_CONFLICT && cli_args_has(&run->args, "if-absent")) {
        json_decref(answer.body);
        return CLI_EXIT_OK;
    }
    if (answer.code != CLI_EXIT_OK) {
        json_decref(answer.body);
        return cli_rest_failed(run, &answer, "create %s '%s'", kind->word, name->name);
    }
    cli_say(run, "%s %s '%s'", answer.http_status == 201 ? "created" : "already there:", kind->word,
            name->name);
    if (cli_args_has(&run->args, "output")) {
        return cli_admin_write(run, kind, answer.body);
    }
    json_decref(answer.body);
    return CLI_EXIT_OK;
}

static cli_exit patch(cli_run *run, const cli_resource *kind, const cli_name *name,
                      const char *path, const json_t *body)
{
    cli_rest_answer answer;
    cli_rest_call(run, "PATCH", path, body, &answer);
    if (answer.code != CLI_EXIT_OK) {
        json_decref(answer.body);
        return answer.code == CLI_EXIT_NOT_FOUND
                   ? cli_admin_missing(run, kind, name)
                   : cli_rest_failed(run, &answer, "edit %s '%s'", kind->word, name->name);
    }
    cli_say(run, "changed %s '%s'", kind->word, name->name);
    if (cli_args_has(&run->args, "output")) {
        return cli_admin_write(run, kind, answer.body);
    }
    json_decref(answer.body);
    return CLI_EXIT_OK;
}

/* --- flags into members: what was not given is not set --- */

static void set_word(const cli_run *run, json_t *body, const char *flag, const char *member)
{
    if (cli_args_has(&run->args, flag)) {
        (void)json_object_set_new(body, member, json_string(cli_args_flag(&run->args, flag)));
    }
}

/* "leader" -> "Leader", as the API spells it. */
static void set_consistency(const cli_run *run, json_t *body)
{
    if (cli_args_has(&run->args, "consistency")) {
        const char *word = cli_args_flag(&run->args, "consistency");
        (void)json_object_set_new(body, "consistency",
                                  json_string(strcmp(word, "quorum") == 0 ? "Quorum" : "Leader"));
    }
}

/* 0 is no bound. */
static void set_bound(json_t *retention, const char *member, uint64_t value)
{
    (void)json_object_set_new(retention, member,
                              value == 0 ? json_null() : json_integer((json_int_t)value));
}

/* The bounds that were given, over those in `retention`. */
static bool set_bounds(cli_run *run, json_t *retention)
{
    uint64_t value = 0;
    if (cli_args_has(&run->args, "retain-bytes")) {
        if (!cli_flag_size(run, "retain-bytes", 0, INT64_MAX, &value)) {
            return false;
        }
        set_bound(retention, "max_size_bytes", value);
    }
    if (cli_args_has(&run->args, "retain-records")) {
        if (!cli_flag_u64(run, "retain-records", 0, INT64_MAX, &value)) {
            return false;
        }
        set_bound(retention, "max_records", value);
    }
    if (cli_args_has(&run->args, "retain-age")) {
        if (!cli_flag_duration_us(run, "retain-age", &value)) {
            return false;
        }
        if (value % 1000000 != 0) {
            (void)cli_error(run, CLI_EXIT_USAGE, NULL, "--retain-age %s is finer than a second",
                            cli_args_flag(&run->args, "retain-age"));
            return false;
        }
        set_bound(retention, "max_age_seconds", value / 1000000);
    }
    return true;
}

static bool set_fsync_interval(cli_run *run, json_t *body)
{
    uint64_t interval_us = 0;
    if (!cli_args_has(&run->args, "fsync-interval")) {
        return true;
    }
    if (!cli_flag_duration_us(run, "fsync-interval", &interval_us)) {
        return false;
    }
    if (interval_us % 1000 != 0) {
        (void)cli_error(run, CLI_EXIT_USAGE, NULL,
                        "--fsync-interval %s is finer than a millisecond",
                        cli_args_flag(&run->args, "fsync-interval"));
        return false;
    }
    (void)json_object_set_new(body, "fsync_interval_ms",
                              json_integer((json_int_t)(interval_us / 1000)));
    return true;
}

/* What streams and caches can be told at a create and later. */
static bool set_promise(cli_run *run, json_t *body)
{
    set_consistency(run, body);
    set_word(run, body, "ack", "ack");
    set_word(run, body, "fsync", "fsync");
    return set_fsync_interval(run, body);
}

/* What a stream can be told beside that, but for the retention. */
static bool set_policies(cli_run *run, json_t *body)
{
    set_word(run, body, "slow", "slow_policy");
    return set_promise(run, body);
}

/* What is fixed at the create; NULL: it was said why not. */
static json_t *shape_of(cli_run *run, const cli_resource *kind, const cli_name *name)
{
    uint64_t shards = 0;
    uint64_t replicas = 0;
    if (!cli_flag_u64(run, "shards", 1, 1024, &shards) ||
        !cli_flag_u64(run, "replicas", 1, 255, &replicas)) {
        return NULL;
    }
    return json_pack("{s:s, s:I, s:I, s:b}", kind->name_field, name->name, "shards",
                     (json_int_t)shards, "replication_factor", (json_int_t)replicas, "durable",
                     cli_args_has(&run->args, "durable"));
}

/* --- streams --- */

cli_exit cli_cmd_stream_create(cli_run *run)
{
    cli_exit code = CLI_EXIT_USAGE;
    cli_name name;
    if (!cli_name_split(run, "stream", cli_args_at(&run->args, 0), &name, &code)) {
        return code;
    }
    json_t *body = shape_of(run, &cli_streams, &name);
    json_t *retention = json_object();
    if (body == NULL || !set_policies(run, body) || !set_bounds(run, retention)) {
        json_decref(retention);
        json_decref(body);
        return CLI_EXIT_USAGE;
    }
    (void)json_object_set_new(body, "kind", json_string("Stream"));
    (void)json_object_set_new(body, "delivery", json_string("AtLeastOnce"));
    (void)json_object_set_new(body, "retention", retention);
    return create(run, &cli_streams, &name, body);
}

static bool changes_retention(const cli_run *run)
{
    return cli_args_has(&run->args, "retain-bytes") || cli_args_has(&run->args, "retain-age") ||
           cli_args_has(&run->args, "retain-records");
}

/* The bounds as they will be. False: it was said why not. */
static bool add_retention(cli_run *run, const cli_name *name, const char *path, json_t *body,
                          cli_exit *ret_exit)
{
    cli_rest_answer answer;
    cli_rest_call(run, "GET", path, NULL, &answer);
    if (answer.code != CLI_EXIT_OK) {
        json_decref(answer.body);
        *ret_exit = answer.code == CLI_EXIT_NOT_FOUND
                        ? cli_admin_missing(run, &cli_streams, name)
                        : cli_rest_failed(run, &answer, "edit stream '%s'", name->name);
        return false;
    }
    json_t *retention = json_object();
    (void)json_object_update(retention, json_object_get(answer.body, "retention"));
    json_decref(answer.body);
    if (!set_bounds(run, retention)) {
        json_decref(retention);
        *ret_exit = CLI_EXIT_USAGE;
        return false;
    }
    (void)json_object_set_new(body, "retention", retention);
    return true;
}

static cli_exit nothing_to_change(const cli_run *run, const cli_resource *kind)
{
    char next[64];
    (void)snprintf(next, sizeof next, "'felix help %s edit' lists what can be changed", kind->word);
    return cli_error(run, CLI_EXIT_USAGE, next, "edit %s: nothing to change was given", kind->word);
}

cli_exit cli_cmd_stream_edit(cli_run *run)
{
    cli_exit code = CLI_EXIT_USAGE;
    cli_name name;
    char path[512];
    if (!cli_admin_path(run, &cli_streams, &name, path, &code)) {
        return code;
    }
    json_t *body = json_object();
    if (!set_policies(run, body)) {
        code = CLI_EXIT_USAGE;
    } else if (json_object_size(body) == 0 && !changes_retention(run)) {
        code = nothing_to_change(run, &cli_streams);
    } else if (!changes_retention(run) || add_retention(run, &name, path, body, &code)) {
        code = patch(run, &cli_streams, &name, path, body);
    }
    json_decref(body);
    return code;
}

/* --- caches --- */

cli_exit cli_cmd_cache_create(cli_run *run)
{
    cli_exit code = CLI_EXIT_USAGE;
    cli_name name;
    if (!cli_name_split(run, "cache", cli_args_at(&run->args, 0), &name, &code)) {
        return code;
    }
    json_t *body = shape_of(run, &cli_caches, &name);
    if (body == NULL || !set_promise(run, body)) {
        json_decref(body);
        return CLI_EXIT_USAGE;
    }
    set_word(run, body, "display-name", "display_name");
    return create(run, &cli_caches, &name, body);
}

cli_exit cli_cmd_cache_edit(cli_run *run)
{
    cli_exit code = CLI_EXIT_USAGE;
    cli_name name;
    char path[512];
    if (!cli_admin_path(run, &cli_caches, &name, path, &code)) {
        return code;
    }
    json_t *body = json_object();
    set_word(run, body, "display-name", "display_name");
    if (!set_promise(run, body)) {
        code = CLI_EXIT_USAGE;
    } else if (json_object_size(body) == 0) {
        code = nothing_to_change(run, &cli_caches);
    } else {
        code = patch(run, &cli_caches, &name, path, body);
    }
    json_decref(body);
    return code;
}
