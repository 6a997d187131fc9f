/* SPDX-License-Identifier: Apache-2.0 */
/* commands.h - the handlers that the table names; each lives in the cmd_ file of its noun. */
#ifndef FELIX_CLI_COMMANDS_H
#define FELIX_CLI_COMMANDS_H

#include "run.h"

cli_exit cli_cmd_help(cli_run *run);
cli_exit cli_cmd_version(cli_run *run);
cli_exit cli_cmd_completion(cli_run *run);
cli_exit cli_cmd_up(cli_run *run);
cli_exit cli_cmd_doctor(cli_run *run);

cli_exit cli_cmd_pub(cli_run *run);
cli_exit cli_cmd_sub(cli_run *run);
cli_exit cli_cmd_peek(cli_run *run);

cli_exit cli_cmd_stream_ls(cli_run *run);
cli_exit cli_cmd_stream_show(cli_run *run);
cli_exit cli_cmd_stream_create(cli_run *run);
cli_exit cli_cmd_stream_edit(cli_run *run);
cli_exit cli_cmd_stream_rm(cli_run *run);

cli_exit cli_cmd_cache_get(cli_run *run);
cli_exit cli_cmd_cache_put(cli_run *run);
cli_exit cli_cmd_cache_del(cli_run *run);
cli_exit cli_cmd_cache_watch(cli_run *run);
cli_exit cli_cmd_cache_keys(cli_run *run);
cli_exit cli_cmd_counter_add(cli_run *run);
cli_exit cli_cmd_counter_get(cli_run *run);
cli_exit cli_cmd_cache_ls(cli_run *run);
cli_exit cli_cmd_cache_show(cli_run *run);
cli_exit cli_cmd_cache_create(cli_run *run);
cli_exit cli_cmd_cache_edit(cli_run *run);
cli_exit cli_cmd_cache_rm(cli_run *run);

cli_exit cli_cmd_log_ls(cli_run *run);
cli_exit cli_cmd_log_verify(cli_run *run);
cli_exit cli_cmd_log_dump(cli_run *run);
cli_exit cli_cmd_log_export(cli_run *run);
cli_exit cli_cmd_log_repair(cli_run *run);

cli_exit cli_cmd_context_ls(cli_run *run);
cli_exit cli_cmd_context_show(cli_run *run);
cli_exit cli_cmd_context_use(cli_run *run);
cli_exit cli_cmd_context_set(cli_run *run);
cli_exit cli_cmd_context_rm(cli_run *run);

cli_exit cli_cmd_bench_latency(cli_run *run);
cli_exit cli_cmd_bench_fanout(cli_run *run);
cli_exit cli_cmd_bench_publish(cli_run *run);
cli_exit cli_cmd_bench_cache(cli_run *run);

#endif /* FELIX_CLI_COMMANDS_H */
