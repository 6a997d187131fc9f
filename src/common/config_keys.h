/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/config_keys.h - every key of the configuration, once.
 *
 * From this table come the fields of flx_config, the YAML keys (the name of the field), the flags
 * (--quic-bind for quic_bind), the environment, --print-config, docs/ops/configuration.md and the
 * man page. A new key is one row here and its use.
 *
 *     KEY(field, TYPE, environment, alias, default, min, max, choices, RELOAD, doc)
 *
 * TYPE     BOOL U32 U64 SIZE MS US TEXT PATH ADDRESS CHOICE
 *          SIZE: bytes, or with KiB MiB GiB. MS and US: a number in that unit, or with us ms s m h.
 *          CHOICE: an index into `choices`, words separated by |. PATH, TEXT: "" means unset.
 * RELOAD   LIVE: SIGHUP applies it. RESTART: SIGHUP reports that a restart is needed.
 */
#ifndef FLX_COMMON_CONFIG_KEYS_H
#define FLX_COMMON_CONFIG_KEYS_H

#define FLX_CONFIG_TABLE(KEY, SECTION)                                                             \
    SECTION("Node")                                                                                \
    KEY(node_id, TEXT, "FELIX_NODE_ID", NULL, "", 0, 253, NULL, RESTART,                           \
        "name of this node, in its first log line; empty: the host name")                          \
    KEY(region_id, TEXT, "FELIX_REGION_ID", NULL, "local", 1, 63, NULL, RESTART,                   \
        "the sovereign region this node belongs to")                                               \
    KEY(data_dir, PATH, "FELIX_DATA_DIR", "FELIX_DURABLE_STORAGE_DIR", "", 0, 0, NULL, RESTART,    \
        "directory of catalog, keys, certificates and tokens; felix-broker needs it, felix up "    \
        "has "                                                                                     \
        "$XDG_STATE_HOME/felix")                                                                   \
    KEY(workers, U32, "FELIX_WORKERS", NULL, "0", 0, 64, NULL, RESTART,                            \
        "threads that carry data, one loop each; 0: one a processor")                              \
    KEY(busy_poll_us, US, "FELIX_BUSY_POLL_US", NULL, "0", 0, 1000000, NULL, RESTART,              \
        "how long a worker looks again before it sleeps; buys latency with processor time")        \
    KEY(adaptive_poll, BOOL, "FELIX_ADAPTIVE_POLL", NULL, "true", 0, 0, NULL, RESTART,             \
        "without busy_poll_us: a worker looks again for at most 100us before it sleeps, while "    \
        "its "                                                                                     \
        "last waits say that this costs less than sleeping")                                       \
    KEY(profile, CHOICE, "FELIX_PROFILE", NULL, "balanced", 0, 0,                                  \
        "balanced|low-latency|throughput", RESTART,                                                \
        "named set of values for keys that nothing else sets; docs/ops/tuning.md has what each "   \
        "buys")                                                                                    \
    KEY(worker_cpus, TEXT, "FELIX_WORKER_CPUS", NULL, "", 0, 255, NULL, RESTART,                   \
        "processors the workers are bound to, in turn: 0,2,4-7; empty: the kernel moves them")     \
    SECTION("Listeners")                                                                           \
    KEY(quic_bind, ADDRESS, "FELIX_QUIC_BIND", NULL, "0.0.0.0:5000", 0, 0, NULL, RESTART,          \
        "UDP address for clients")                                                                 \
    KEY(metrics_bind, ADDRESS, "FELIX_BROKER_METRICS_BIND", "FELIX_METRICS_BIND", "0.0.0.0:8080",  \
        0, 0, NULL, RESTART, "TCP address of /live, /ready and /metrics")                          \
    KEY(controlplane_bind, ADDRESS, "FELIX_CONTROLPLANE_BIND", NULL, "127.0.0.1:8443", 0, 0, NULL, \
        RESTART, "TCP address of the REST API when this process serves it")                        \
    KEY(ephemeral_ports, BOOL, "FELIX_EPHEMERAL_PORTS", NULL, "false", 0, 0, NULL, RESTART,        \
        "take a free port where a configured one is busy")                                         \
    SECTION("TLS and tokens")                                                                      \
    KEY(tls_cert, PATH, "FELIX_TLS_CERT", NULL, "", 0, 0, NULL, RESTART,                           \
        "PEM chain of the server, leaf first; new content is served at once. Empty: felix up "     \
        "makes one")                                                                               \
    KEY(tls_key, PATH, "FELIX_TLS_KEY", NULL, "", 0, 0, NULL, RESTART,                             \
        "PEM private key of tls_cert; new content counts at once")                                 \
    KEY(tls_client_ca, PATH, "FELIX_TLS_CLIENT_CA", NULL, "", 0, 0, NULL, RESTART,                 \
        "PEM file of CAs that client certificates are checked against; new content counts at "     \
        "once")                                                                                    \
    KEY(tls_require_client_cert, BOOL, "FELIX_TLS_REQUIRE_CLIENT_CERT", NULL, "false", 0, 0, NULL, \
        RESTART, "refuse clients without a certificate of tls_client_ca")                          \
    KEY(tls_require_alpn, BOOL, "FELIX_TLS_REQUIRE_ALPN", NULL, "false", 0, 0, NULL, RESTART,      \
        "refuse clients that offer no ALPN; published clients offer none")                         \
    KEY(tls_cert_export, PATH, "FELIX_TLS_CERT_EXPORT", NULL, "", 0, 0, NULL, RESTART,             \
        "where felix up writes the CA certificate clients should trust, at every start")           \
    KEY(jwks_file, PATH, "FELIX_JWKS_FILE", NULL, "", 0, 0, NULL, LIVE,                            \
        "JWKS file with the public keys that tokens are checked against; empty: felix up is its "  \
        "own issuer, felix-broker does not start")                                                 \
    KEY(auth_timeout_ms, MS, "FELIX_AUTH_TIMEOUT_MS", NULL, "30000", 0, 3600000, NULL, RESTART,    \
        "a connection that authenticates no stream for so long is closed; 0: never")               \
    KEY(preauth_max_frame_bytes, SIZE, "FELIX_PREAUTH_MAX_FRAME_BYTES", NULL, "64KiB", 1024,       \
        16777216, NULL, RESTART, "largest frame on a stream that has not authenticated")           \
    KEY(preauth_max_streams_per_conn, U32, "FELIX_PREAUTH_MAX_STREAMS_PER_CONN", NULL, "16", 1,    \
        1024, NULL, RESTART, "streams of a connection that may authenticate at once")              \
    SECTION("Connections")                                                                         \
    KEY(max_client_connections, U32, "FELIX_MAX_CLIENT_CONNECTIONS", NULL, "8192", 1, 10000000,    \
        NULL, RESTART, "connections at once; the next is refused in its handshake")                \
    KEY(max_connections_per_ip, U32, "FELIX_MAX_CONNECTIONS_PER_IP", NULL, "512", 0, 10000000,     \
        NULL, RESTART, "connections at once from one address; 0: no bound")                        \
    KEY(max_idle_timeout_ms, MS, "FELIX_MAX_IDLE_TIMEOUT_MS", NULL, "30000", 1000, 3600000, NULL,  \
        RESTART, "a silent connection ends after this; the smaller of both sides' counts")         \
    KEY(keepalive_ms, MS, "FELIX_KEEPALIVE_MS", NULL, "5000", 0, 3600000, NULL, RESTART,           \
        "a connection silent for so long is sent a PING; 0: never")                                \
    KEY(pub_conn_recv_window, SIZE, "FELIX_BROKER_PUB_CONN_RECV_WINDOW", NULL, "16MiB", 65536,     \
        4294967296, NULL, RESTART, "bytes a connection may send ahead of us")                      \
    KEY(pub_stream_recv_window, SIZE, "FELIX_BROKER_PUB_STREAM_RECV_WINDOW", NULL, "16MiB", 65536, \
        4294967296, NULL, RESTART, "bytes one QUIC stream may send ahead of us")                   \
    KEY(cache_send_window, SIZE, "FELIX_CACHE_SEND_WINDOW", NULL, "256MiB", 65536, 4294967295,     \
        NULL, RESTART, "bytes sent to a connection that wait for its acknowledgement")             \
    KEY(udp_recv_buffer, SIZE, "FELIX_UDP_RECV_BUFFER", NULL, "8MiB", 65536, 1073741824, NULL,     \
        RESTART, "receive buffer of a UDP socket, halved until the kernel takes it")               \
    KEY(udp_send_buffer, SIZE, "FELIX_UDP_SEND_BUFFER", NULL, "8MiB", 65536, 1073741824, NULL,     \
        RESTART, "send buffer of a UDP socket, halved until the kernel takes it")                  \
    KEY(udp_payload_max, U32, "FELIX_UDP_PAYLOAD_MAX", "FELIX_MTU_UPPER_BOUND", "0", 0, 65000,     \
        NULL, RESTART,                                                                             \
        "bytes of a full packet on networks known to carry them (1200 or more); 0: found out")     \
    KEY(congestion_control, CHOICE, "FELIX_CONGESTION_CONTROL", NULL, "cubic", 0, 0, "cubic|bbr",  \
        RESTART, "how fast a connection may send")                                                 \
    SECTION("Publishing")                                                                          \
    KEY(max_frame_bytes, SIZE, "FELIX_MAX_FRAME_BYTES", NULL, "16MiB", 65536, 1073741824, NULL,    \
        RESTART, "largest frame; published clients know 16 MiB")                                   \
    KEY(publish_window, U32, "FELIX_BROKER_PUBLISH_WINDOW", NULL, "256", 0, 65535, NULL, RESTART,  \
        "unanswered publishes a stream is told it may have; 0: not told")                          \
    KEY(operation_window, U32, "FELIX_BROKER_OPERATION_WINDOW", NULL, "1024", 0, 65535, NULL,      \
        RESTART,                                                                                   \
        "cache requests a client may have under way on one stream, as operation frames; 0: not "   \
        "offered")                                                                                 \
    KEY(pub_inflight_bytes, SIZE, "FELIX_BROKER_PUBLISH_INFLIGHT_BYTES", NULL, "64MiB", 65536,     \
        1099511627776, NULL, RESTART, "payload bytes of unfinished publishes, whole node")         \
    KEY(pub_conn_inflight_bytes, SIZE, "FELIX_BROKER_PUBLISH_CONN_INFLIGHT_BYTES", NULL, "16MiB",  \
        65536, 1099511627776, NULL, RESTART, "the same for one identity on one connection")        \
    KEY(pub_conn_total_inflight_bytes, SIZE, "FELIX_BROKER_PUBLISH_CONN_TOTAL_INFLIGHT_BYTES",     \
        NULL, "0", 0, 1099511627776, NULL, RESTART,                                                \
        "the same for one connection; 0: four times pub_conn_inflight_bytes, 64 MiB at most")      \
    KEY(tenant_publish_bytes_per_sec, SIZE, "FELIX_TENANT_PUBLISH_BYTES_PER_SEC", NULL, "0", 0,    \
        1099511627776, NULL, RESTART, "what each tenant may publish; 0: no bound")                 \
    KEY(tenant_publish_msgs_per_sec, U64, "FELIX_TENANT_PUBLISH_MSGS_PER_SEC", NULL, "0", 0,       \
        1000000000000, NULL, RESTART, "records each tenant may publish; 0: no bound")              \
    KEY(tenant_publish_burst_ms, MS, "FELIX_TENANT_PUBLISH_BURST_MS", NULL, "1000", 1, 60000,      \
        NULL, RESTART, "how much of the rate may come at once")                                    \
    SECTION("Delivery")                                                                            \
    KEY(event_batch_max_events, U32, "FELIX_EVENT_BATCH_MAX_EVENTS", NULL, "64", 1, 65536, NULL,   \
        RESTART, "records that are joined into one event frame at the most")                       \
    KEY(event_batch_max_bytes, SIZE, "FELIX_EVENT_BATCH_MAX_BYTES", NULL, "64KiB", 1024,           \
        1073741824, NULL, RESTART, "bytes that are joined into one event frame at the most")       \
    KEY(subscriber_queue_capacity_max, U32, "FELIX_SUBSCRIBER_QUEUE_CAPACITY_MAX", NULL, "4096",   \
        1, 1048576, NULL, RESTART,                                                                 \
        "frames a subscriber may ask to be behind at the most before its policy applies")          \
    KEY(shard_ring_frames, U32, "FELIX_SHARD_RING_FRAMES", NULL, "16384", 16, 16777216, NULL,      \
        RESTART, "recent event frames a shard keeps for its subscribers and for replay")           \
    KEY(shard_ring_bytes, SIZE, "FELIX_SHARD_RING_BYTES", NULL, "64MiB", 65536, 1099511627776,     \
        NULL, RESTART, "bytes of recent records a shard keeps for its subscribers and for replay") \
    KEY(subscriber_block_ms, MS, "FELIX_SUBSCRIBER_BLOCK_MS", NULL, "2000", 1, 60000, NULL,        \
        RESTART, "how long publishers wait for a slow subscriber under the policy block")          \
    KEY(max_subscriptions_per_conn, U32, "FELIX_MAX_SUBSCRIPTIONS_PER_CONN", NULL, "4096", 1,      \
        1000000, NULL, RESTART, "subscriptions on one connection")                                 \
    SECTION("Memory")                                                                              \
    KEY(ring_bytes, SIZE, "FELIX_RING_BYTES", NULL, "512MiB", 1048576, 1099511627776, NULL,        \
        RESTART, "bytes of recent records all shards keep together; each worker has its share")    \
    KEY(cache_memory_bytes, SIZE, "FELIX_CACHE_MEMORY_BYTES", NULL, "1GiB", 1048576,               \
        17592186044416, NULL, RESTART, "memory of all in-memory caches of the node")               \
    KEY(counter_memory_bytes, SIZE, "FELIX_COUNTER_MEMORY_BYTES", NULL, "64MiB", 65536,            \
        17592186044416, NULL, RESTART,                                                             \
        "memory of all counters of the node; they are never evicted")                              \
    SECTION("Durable streams")                                                                     \
    KEY(log_segment_bytes, SIZE, "FELIX_LOG_SEGMENT_BYTES", "FELIX_DURABLE_SEGMENT_BYTES",         \
        "256MiB", 1048576, 17179869184, NULL, RESTART,                                             \
        "bytes of one file of a shard's log; retention takes away whole files")                    \
    KEY(log_pending_bytes, SIZE, "FELIX_LOG_PENDING_BYTES", NULL, "64MiB", 1048576, 17179869184,   \
        NULL, RESTART, "bytes of a shard that may wait for the disk before publishes are refused") \
    KEY(log_read_cache_bytes, SIZE, "FELIX_LOG_READ_CACHE_BYTES", NULL, "64MiB", 1048576,          \
        1099511627776, NULL, RESTART,                                                              \
        "memory of blocks read from logs, which all who read the same history share")              \
    KEY(log_producer_memory_bytes, SIZE, "FELIX_LOG_PRODUCER_MEMORY_BYTES", NULL, "64MiB",         \
        1048576, 1099511627776, NULL, RESTART,                                                     \
        "after a start: how much of a log's end is searched for idempotent producers")             \
    KEY(log_io_threads, U32, "FELIX_LOG_IO_THREADS", NULL, "2", 1, 64, NULL, RESTART,              \
        "threads of each worker that open and remove logs, and write them without io_uring")       \
    KEY(log_io_uring, BOOL, "FELIX_LOG_IO_URING", "FELIX_STORAGE_IO_URING", "true", 0, 0, NULL,    \
        RESTART, "write logs by io_uring where the kernel allows it")                              \
    SECTION("Operation")                                                                           \
    KEY(log_level, CHOICE, "FELIX_LOG_LEVEL", NULL, "info", 0, 0, "debug|info|warn|error", LIVE,   \
        "the least important line that is written")                                                \
    KEY(log_format, CHOICE, "FELIX_LOG_FORMAT", NULL, "auto", 0, 0, "auto|text|json", RESTART,     \
        "auto: text on a terminal, JSON lines otherwise")                                          \
    KEY(shutdown_predrain_ms, MS, "FELIX_SHUTDOWN_PREDRAIN_MS", NULL, "0", 0, 600000, NULL, LIVE,  \
        "after SIGTERM: time with /ready off before work is refused")                              \
    KEY(shutdown_drain_timeout_ms, MS, "FELIX_SHUTDOWN_DRAIN_TIMEOUT_MS", NULL, "25000", 0,        \
        3600000, NULL, LIVE, "after SIGTERM: time for open work to end")

/*
 * What a profile sets where neither program, file, environment nor flag did. `balanced` is the
 * defaults above. A row is in docs/ops/tuning.md with what it was measured to buy.
 *
 *     SET(profile's word, field, value as one would write it)
 */
#define FLX_CONFIG_PROFILE_TABLE(SET)                                                              \
    SET("low-latency", busy_poll_us, "200us")                                                      \
    SET("throughput", event_batch_max_events, "1024")                                              \
    SET("throughput", event_batch_max_bytes, "256KiB")

#endif /* FLX_COMMON_CONFIG_KEYS_H */
