/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.c - every command of felix: words, flags, and what they mean. The only place to add one.
 *
 * Documents are made from this table by tools/docs; tests/unit/cli/test_commands.c holds the rules
 * (summaries fit a line, examples parse, flags do not clash).
 */
#include "commands.h"

const cli_noun cli_nouns[] = {
    {"stream", NULL, "streams: what is published, in order"},
    {"cache", NULL, "caches: the newest value under each key"},
    {"counter", NULL, "counters: sums beside the values of a cache"},
    {"log", NULL, "the logs in the data directory of a node"},
    {"context", "ctx", "where commands talk to, and as whom"},
    {"bench", NULL, "how fast a node is from here"},
    {NULL, NULL, NULL},
};

const cli_flag cli_global_flags[] = {
    {"output", "table|wide|json|jsonl|yaml|name|raw", "how results are written", NULL, 'o'},
    {"context", "NAME", "the context to use, instead of the current one", NULL, 'c'},
    {"config", "FILE", "the file of contexts", NULL, 0},
    {"address", "HOST:PORT,...", "where brokers are", NULL, 0},
    {"tenant", "TENANT", "who authenticates", NULL, 0},
    {"namespace", "NAMESPACE", "where names without one are looked up", NULL, 'n'},
    {"token-file", "FILE", "the token, read again at every connect", NULL, 0},
    {"ca-file", "FILE", "PEM of who signed the certificate of the node", NULL, 0},
    {"controlplane", "URL", "where the REST API is", NULL, 0},
    {"admin-token-file", "FILE", "the token for the REST API", NULL, 0},
    {"server-name", "NAME", "the name in the certificate, when it is not that of the address", NULL,
     0},
    {"timeout", "DURATION", "how long to wait for a node", "10s", 0},
    {NULL, NULL, NULL, NULL, 0},
};

/* felix up takes the keys of the configuration too; these are its own. */
static const cli_flag up_flags[] = {
    {"data", "DIR", "keep everything there, instead of $XDG_STATE_HOME/felix", NULL, 0},
    {"no-context", NULL, "leave the contexts alone", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag pub_flags[] = {
    {"lines", NULL, "publish each line of standard input as a record", NULL, 'l'},
    {"key", "KEY", "records of equal keys keep to one shard, in order", NULL, 'k'},
    {"batch", "N", "records that travel together at the most", "1024", 0},
    {"batch-bytes", "SIZE", "bytes that travel together at the most", "256KiB", 0},
    {"linger", "DURATION", "how long a batch that is not full waits for more input", "5ms", 0},
    {"ack", "batch|message|none", "what is answered: each batch, each record, nothing", "batch", 0},
    {"quiet", NULL, "no progress and no last line", NULL, 'q'},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag sub_flags[] = {
    {"from", "latest|earliest|OFFSET|@TIME|2h", "where to begin", "latest", 'f'},
    {"count", "N", "end after so many records", NULL, 0},
    {"shard", "N", "one shard only", NULL, 0},
    {"no-resume", NULL, "end when the connection is lost, instead of going on where it was", NULL,
     0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag peek_flags[] = {
    {"from", "latest|earliest|OFFSET|@TIME|2h", "where to begin", "earliest", 'f'},
    {"count", "N", "end after so many records", "10", 0},
    {"shard", "N", "one shard only", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag log_read_flags[] = {
    {"from", "OFFSET", "where to begin", "0", 'f'},
    {"count", "N", "end after so many; 0: all", "0", 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag log_rm_flags[] = {
    {"yes", NULL, "do it", NULL, 'y'},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag log_repair_flags[] = {
    {"yes", NULL, "do it", NULL, 'y'},
    {"accept-loss", NULL, "give up all of it: the node makes the log anew, empty", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

/* What streams and caches are promised, in the same words. */
#define PROMISE_FLAGS                                                                              \
    {"ack", "accepted|written|synced|quorum",                                                      \
     "what an answer to a write means; durable ones: synced, others: accepted", NULL, 0},          \
        {"fsync", "none|periodic|on_commit",                                                       \
         "when a durable log is synced to the device; natural to the ack when not given", NULL,    \
         0},                                                                                       \
    {                                                                                              \
        "fsync-interval", "DURATION", "how late a periodic sync may be", NULL, 0                   \
    }

static const cli_flag stream_create_flags[] = {
    {"durable", NULL, "keep the records on disk", NULL, 0},
    {"shards", "N", "how many logs it is spread over; fixed for its life", "1", 0},
    {"retain-bytes", "SIZE", "delete the oldest records above this; 0: no bound", "0", 0},
    {"retain-age", "DURATION", "delete records older than this; 0: no bound", "0", 0},
    {"retain-records", "N", "delete the oldest records above this many; 0: no bound", "0", 0},
    PROMISE_FLAGS,
    {"replicas", "N", "copies of each shard", "1", 0},
    {"consistency", "leader|quorum", "when an acknowledged record is safe", "leader", 0},
    {"slow", "lag|drop_new|drop_old|block", "what happens to subscribers that are too slow", NULL,
     0},
    {"if-absent", NULL, "an existing stream is fine, whatever it is like", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag stream_edit_flags[] = {
    {"retain-bytes", "SIZE", "delete the oldest records above this; 0: no bound", NULL, 0},
    {"retain-age", "DURATION", "delete records older than this; 0: no bound", NULL, 0},
    {"retain-records", "N", "delete the oldest records above this many; 0: no bound", NULL, 0},
    PROMISE_FLAGS,
    {"consistency", "leader|quorum", "when an acknowledged record is safe", NULL, 0},
    {"slow", "lag|drop_new|drop_old|block", "what happens to subscribers that are too slow", NULL,
     0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag rm_flags[] = {
    {"yes", NULL, "do not ask on a terminal", NULL, 'y'},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag cache_create_flags[] = {
    {"durable", NULL, "keep the values on disk", NULL, 0},
    {"shards", "N", "how many parts it is spread over; fixed for its life", "1", 0},
    PROMISE_FLAGS,
    {"replicas", "N", "copies of each part", "1", 0},
    {"consistency", "leader|quorum", "when a write is safe", "leader", 0},
    {"display-name", "TEXT", "a name for people; the cache's own when not given", NULL, 0},
    {"if-absent", NULL, "an existing cache is fine, whatever it is like", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag cache_edit_flags[] = {
    {"display-name", "TEXT", "a title for people", NULL, 0},
    PROMISE_FLAGS,
    {"consistency", "leader|quorum", "when an acknowledged value is safe", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag cache_watch_flags[] = {
    {"prefix", "TEXT", "keys that begin so; all keys when neither it nor KEY is given", NULL, 0},
    {"retained", NULL, "begin with what is there", NULL, 0},
    {"from", "OFFSET", "begin with this change", NULL, 0},
    {"shard", "N", "read one part only", NULL, 0},
    {"count", "N", "end after so many changes", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag cache_keys_flags[] = {
    {"prefix", "TEXT", "keys that begin so", NULL, 0},
    {"shard", "N", "read one part only", NULL, 0},
    {"count", "N", "end after so many keys", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag cache_put_flags[] = {
    {"ttl", "DURATION", "the value expires after this; 0: never", "0", 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag context_show_flags[] = {
    {"origin", NULL, "say where each value came from", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag context_set_flags[] = {
    {"dev", NULL, "pub and sub create streams that are missing", NULL, 0},
    {"use", NULL, "make it the current one", NULL, 0},
    {NULL, NULL, NULL, NULL, 0},
};

#define BENCH_COMMON                                                                               \
    {"size", "SIZE", "payload of a record", "256", 0},                                             \
    {                                                                                              \
        "pid", "PID", "process whose CPU time is measured; a local node is found by its port",     \
            NULL, 0                                                                                \
    }

static const cli_flag bench_latency_flags[] = {
    BENCH_COMMON,
    {"count", "N", "records measured", "10000", 0},
    {"warmup", "N", "records before that", "1000", 0},
    {"stream", "STREAM", "where to; created in dev contexts", "felix-bench", 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag bench_fanout_flags[] = {
    BENCH_COMMON,
    {"count", "N", "records published", "100000", 0},
    {"subscribers", "N", "subscribers at once", "10", 0},
    {"connections", "N", "connections they are spread over", "4", 0},
    {"batch", "N", "records that travel together", "64", 0},
    {"stream", "STREAM", "where to; created in dev contexts", "felix-bench", 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag bench_publish_flags[] = {
    BENCH_COMMON,
    {"count", "N", "records published", "1000000", 0},
    {"batch", "N", "records that travel together; 1: each alone", "64", 0},
    {"in-flight", "N", "batches not yet acknowledged", "64", 0},
    {"stream", "STREAM", "where to; created in dev contexts", "felix-bench", 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const cli_flag bench_cache_flags[] = {
    BENCH_COMMON,
    {"count", "N", "requests", "100000", 0},
    {"keys", "N", "different keys", "1024", 0},
    {"in-flight", "N", "requests at once", "16", 0},
    {"put-percent", "N", "how many of a hundred are puts", "10", 0},
    {"cache", "CACHE", "the cache; created in dev contexts", "felix-bench", 0},
    {NULL, NULL, NULL, NULL, 0},
};

const cli_command cli_commands[] = {
    {NULL, "up", "[FLAG...]", up_flags, "start a node on this machine, in the foreground",
     "Runs broker, control plane and catalog in one process, on 127.0.0.1 unless told otherwise: "
     "QUIC on udp/5000, the REST API on tcp/8443, health and metrics on tcp/8080. At the first "
     "start "
     "it makes its certificates and keys in the data directory. It writes the context 'local', so "
     "that the next command just works. --data DIR keeps everything there instead of "
     "$XDG_STATE_HOME/felix; --ephemeral-ports takes free ports instead of busy ones; --no-context "
     "leaves the contexts alone. Every key of docs/ops/configuration.md is a flag here too. "
     "SIGTERM "
     "and Ctrl-C drain and stop; a second one is fast.",
     "felix up                                   # a node to try things on\n"
     "felix up --data ./data --ephemeral-ports   # beside another one\n"
     "felix up --print-config --origin           # what it would run with",
     .run = cli_cmd_up, .raw_args = true},
    {NULL, "pub", "STREAM [TEXT]", pub_flags, "publish a text, or each line of standard input",
     "With --lines, one record a line: the newline is not part of it, empty lines are empty "
     "records, "
     "any bytes are allowed, and a last line without newline counts. Without TEXT and --lines, all "
     "of "
     "standard input is one record. The last line on standard error is always 'N sent, N acked', "
     "also after a signal or a lost connection. In a context marked dev a missing stream is "
     "created.",
     "felix pub orders 'first order'             # one record\n"
     "felix pub orders --lines <orders.txt       # one record a line\n"
     "felix pub orders --key alice 'order 7'     # in order with alice's others",
     .run = cli_cmd_pub},
    {NULL, "sub", "STREAM", sub_flags, "print what is published, as it comes",
     "Writes 'subscribed' on standard error once nothing can be missed any more. With -o raw (the "
     "default) a record is its payload and a newline; jsonl has offset, time and shard too. A "
     "subscription survives a lost connection and goes on where it was; what could not be had any "
     "more is said on standard error, and in jsonl as an object with 'notice'. --from takes an "
     "offset, "
     "a time (@2026-01-31T12:00:00Z, or @ and seconds since 1970) or an age (2h).",
     "felix sub orders                           # from now on\n"
     "felix sub orders --from earliest --count 3 # the first three kept\n"
     "felix sub orders --from 2h -o jsonl        # the last two hours, and on",
     .run = cli_cmd_sub},
    {NULL, "peek", "STREAM", peek_flags, "print what is there, then end",
     "Reads up to --count records that were there when it began, and never waits for more.",
     "felix peek orders                          # the oldest ten\n"
     "felix peek orders --from 5m --count 100 -o jsonl # of the last five minutes",
     .run = cli_cmd_peek},
    {"stream", "ls", "", NULL, "list the streams of the namespace", NULL,
     "felix stream ls                            # names and what they promise\n"
     "felix stream ls -o name                    # names only",
     .run = cli_cmd_stream_ls},
    {"stream", "show", "STREAM", NULL, "show what a stream promises, and what its logs hold",
     "On a terminal or with -o table a text for people, otherwise JSON. A durable stream has a "
     "line "
     "a shard: state, oldest and next offset, size, files, and when it was synced last.",
     "felix stream show orders                   # everything about it",
     .run = cli_cmd_stream_show},
    {"stream", "create", "STREAM", stream_create_flags, "create a stream",
     "The same stream again is fine; another one under the same name is a conflict. A stream that "
     "is "
     "not durable lives in memory: its acknowledgements mean accepted, and a restart empties it. "
     "One "
     "that is durable acknowledges what is synced to disk.",
     "felix stream create clicks                 # in memory\n"
     "felix stream create orders --durable --shards 4 --retain-age 7d # on disk, a week",
     .run = cli_cmd_stream_create},
    {"stream", "edit", "STREAM", stream_edit_flags, "change what a stream promises",
     "What is not given stays as it is. A live stream follows from its next publish on; its name, "
     "shards, replicas and whether it is durable are fixed when it is created.",
     "felix stream edit orders --retain-age 30d  # keep a month instead\n"
     "felix stream edit orders --ack written --fsync periodic --fsync-interval 50ms # faster acks",
     .run = cli_cmd_stream_edit},
    {"stream", "rm", "STREAM", rm_flags, "remove a stream and its records", NULL,
     "felix stream rm clicks --yes               # without asking", .run = cli_cmd_stream_rm},
    {"cache", "get", "CACHE KEY", NULL, "print the value under a key",
     "A missing key is exit code 3. With -o raw (the default) the value as it is and a newline.",
     "felix cache get sessions alice             # its value", .run = cli_cmd_cache_get},
    {"cache", "put", "CACHE KEY [VALUE]", cache_put_flags, "put a value under a key",
     "Without VALUE, all of standard input is the value.",
     "felix cache put sessions alice online --ttl 30m # for half an hour\n"
     "felix cache put pages index <index.html    # from a file",
     .run = cli_cmd_cache_put},
    {"cache", "del", "CACHE KEY", NULL, "delete a key", "A key that is not there is exit code 3.",
     "felix cache del sessions alice             # gone", .run = cli_cmd_cache_del},
    {"cache", "watch", "CACHE [KEY]", cache_watch_flags, "print every change, as it comes",
     "Writes 'watching' on standard error once nothing can be missed any more. With -o raw (the "
     "default) a line is 'put KEY VALUE' or 'delete KEY'; expired and evicted keys are deletes. "
     "jsonl has offset, part and expiry too, and an object with 'notice' where it says so on "
     "standard error: 'reset' (changes were lost: forget the part, what is there follows) and "
     "'ready' (all that was there has been told). A watch survives a lost connection and goes on "
     "where it was.",
     "felix cache watch sessions alice           # one key\n"
     "felix cache watch sessions --prefix user/ --retained # what is there, then every change\n"
     "felix cache watch sessions -o jsonl        # everything, for programs",
     .run = cli_cmd_cache_watch},
    {"cache", "keys", "CACHE", cache_keys_flags, "list the keys that are there", NULL,
     "felix cache keys sessions                  # key, size, version\n"
     "felix cache keys sessions --prefix user/ -o name # keys only",
     .run = cli_cmd_cache_keys},
    {"counter", "add", "CACHE KEY [DELTA]", NULL, "add to a counter, and print the sum",
     "DELTA is 1 when not given; a negative one stands behind --. A counter begins at 0 and is "
     "apart from a value under the same key. When no answer came it may have been counted: adding "
     "again may count twice.",
     "felix counter add visits home              # one more\n"
     "felix counter add stock apples -- -3       # three less",
     .run = cli_cmd_counter_add},
    {"counter", "get", "CACHE KEY", NULL, "print the sum of a counter",
     "One that was never added to is exit code 3.",
     "felix counter get visits home              # how many", .run = cli_cmd_counter_get},
    {"cache", "ls", "", NULL, "list the caches of the namespace", NULL,
     "felix cache ls                             # names and sizes", .run = cli_cmd_cache_ls},
    {"cache", "show", "CACHE", NULL, "show what a cache is, and what its logs hold",
     "On a terminal or with -o table a text for people, otherwise JSON. A durable cache has the "
     "lines of a stream for each shard, and how many entries there are, what they take in memory, "
     "how many values are on disk only, and what compaction does.",
     "felix cache show sessions                  # everything about it", .run = cli_cmd_cache_show},
    {"cache", "create", "CACHE", cache_create_flags, "create a cache",
     "The same cache again is fine; another one under the same name is a conflict. A cache that is "
     "not durable lives in memory, evicts what is used least, and a restart empties it. One that "
     "is durable keeps every value until it is deleted or expires, answers when what it says is "
     "synced to disk, unless --ack asks for less, and can be watched from any change that is kept.",
     "felix cache create sessions                # in memory\n"
     "felix cache create settings --durable      # on disk\n"
     "felix cache create hits --durable --ack written --fsync periodic --fsync-interval 1s # "
     "faster",
     .run = cli_cmd_cache_create},
    {"cache", "edit", "CACHE", cache_edit_flags, "change what a cache promises",
     "What is not given stays as it is. A live cache follows from its next request on; its name, "
     "shards, replicas and whether it is durable are fixed when it is created.",
     "felix cache edit sessions --display-name 'Who is here' # a title for people\n"
     "felix cache edit settings --ack written     # answers that do not wait for the device",
     .run = cli_cmd_cache_edit},
    {"cache", "rm", "CACHE", rm_flags, "remove a cache and its values", NULL,
     "felix cache rm sessions --yes              # without asking", .run = cli_cmd_cache_rm},
    {"log", "ls", "DIR", NULL, "list the logs in a data directory",
     "STATE: owned, by a stream or cache of the catalog; deleted, with it, and removed at the next "
     "start; orphan, nobody's; gone, made here and not there; unreadable; '-', the catalog is in "
     "use "
     "by a running node, or not beside it.",
     "felix log ls /var/lib/felix                # names, offsets, sizes", .run = cli_cmd_log_ls},
    {"log", "verify", "DIR [LOG]", NULL, "read every byte of the logs and say what is wrong",
     "Changes nothing, and may be used while a node runs. Exits with 1 when something is damaged; "
     "notes "
     "are about what opening the log mends by itself.",
     "felix log verify /var/lib/felix            # all of them", .run = cli_cmd_log_verify},
    {"log", "dump", "DIR LOG", log_read_flags, "show the batches of a log", NULL,
     "felix log dump /var/lib/felix stream-1-0 --from 1000 --count 10 # ten of them",
     .run = cli_cmd_log_dump},
    {"log", "export", "DIR LOG", log_read_flags, "write the payloads of a log, one a line", NULL,
     "felix log export /var/lib/felix stream-1-0 > lines # into a file", .run = cli_cmd_log_export},
    {"log", "rm", "DIR LOG", log_rm_flags, "remove a log that no stream or cache has",
     "The node must not run. 'felix log ls' calls such logs orphans: those of a catalog that was "
     "lost. "
     "Logs of what was deleted ('deleted') go by themselves at the next start.",
     "felix log rm /var/lib/felix stream-1-0 --yes # after felix log export",
     .run = cli_cmd_log_rm},
    {"log", "repair", "DIR [LOG]", log_repair_flags, "end a damaged log at its first damage",
     "The node must not run. What is at or behind the damage is copied to DIR/aside and never "
     "deleted; "
     "the log serves again up to there. A log that is gone, or whose state is, has nothing to go "
     "on "
     "from: put it back from a backup, or say --accept-loss. Then what is left of it is moved to "
     "DIR/aside, and the node makes it anew, empty, from offset 0. Without LOG that is said of all "
     "logs together, when their directory is gone or is another node's.",
     "felix log repair /var/lib/felix stream-1-0 --yes # after felix log verify\n"
     "felix log repair /var/lib/felix stream-1-0 --accept-loss # it is gone, go on without it",
     .run = cli_cmd_log_repair},
    {"context", "ls", "", NULL, "list the contexts", NULL,
     "felix context ls                           # the current one has a star",
     .run = cli_cmd_context_ls},
    {"context", "show", "", context_show_flags, "show the values commands run with",
     "A flag beats the environment (FELIX_ADDRESS, FELIX_TENANT, FELIX_NAMESPACE, FELIX_TOKEN, "
     "FELIX_TOKEN_FILE, FELIX_CA_FILE, FELIX_CONTROLPLANE_URL, FELIX_ADMIN_TOKEN, "
     "FELIX_ADMIN_TOKEN_FILE, FELIX_SERVER_NAME, FELIX_CONTEXT, FELIX_CONFIG), the environment "
     "beats the "
     "context, the context beats the default. Tokens are never printed.",
     "felix context show --origin                # and where each came from\n"
     "felix context show -o json                 # for programs",
     .run = cli_cmd_context_show},
    {"context", "use", "NAME", NULL, "make a context the current one", NULL,
     "felix context use local                    # as felix up made it",
     .run = cli_cmd_context_use},
    {"context", "set", "NAME", context_set_flags, "create a context, or change values of one",
     "Takes the values from the flags --address, --tenant, --namespace, --token-file, --ca-file, "
     "--controlplane, --admin-token-file and --server-name; what is not given stays as it is.",
     "felix context set prod --address b1.example:5000,b2.example:5000 --tenant acme --ca-file "
     "ca.pem --use # and use it",
     .run = cli_cmd_context_set},
    {"context", "rm", "NAME", NULL, "remove a context", NULL,
     "felix context rm old                       # only the entry, no file of it",
     .run = cli_cmd_context_rm},
    {NULL, "doctor", "", NULL, "check whether the node of this context answers, and why not",
     "Looks at addresses, reachability over UDP, authentication, packet size, certificate, clock "
     "and "
     "tokens, and at what of this machine holds a node back: socket buffers, frequency governor, "
     "idle states, too few processors. Exit code 0 when the node answers, 7 when it does not; "
     "warnings change neither.",
     "felix doctor                               # what is wrong, and what to do",
     .run = cli_cmd_doctor},
    {"bench", "latency", "", bench_latency_flags, "time from publish to delivery, one at a time",
     NULL, "felix bench latency --size 1KiB            # percentiles in microseconds",
     .run = cli_cmd_bench_latency},
    {"bench", "fanout", "", bench_fanout_flags, "deliveries a second to many subscribers", NULL,
     "felix bench fanout --subscribers 100       # and CPU time a delivery",
     .run = cli_cmd_bench_fanout},
    {"bench", "publish", "", bench_publish_flags, "acknowledged records a second", NULL,
     "felix bench publish --batch 1 --in-flight 64 # unbatched", .run = cli_cmd_bench_publish},
    {"bench", "cache", "", bench_cache_flags, "cache requests a second and their latency", NULL,
     "felix bench cache --in-flight 256          # under load", .run = cli_cmd_bench_cache},
    {NULL, "completion", "SHELL", NULL, "print completion for bash, zsh or fish", NULL,
     "felix completion bash >/etc/bash_completion.d/felix # for everybody\n"
     "felix completion fish >~/.config/fish/completions/felix.fish # for one",
     .run = cli_cmd_completion},
    {NULL, "help", "[COMMAND...]", NULL, "explain a command, or list them", NULL,
     "felix help stream create                   # one command\n"
     "felix help stream                          # one noun",
     .run = cli_cmd_help},
    {NULL, "version", "", NULL, "print the version", NULL,
     "felix version                              # of this command", .run = cli_cmd_version},
    {NULL, "docs", "PAGE", NULL, "print a generated page: man, cli or configuration", NULL, NULL,
     .run = cli_cmd_help, .hidden = true},
};

const size_t cli_command_count = sizeof cli_commands / sizeof cli_commands[0];
