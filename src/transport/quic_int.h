/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport/quic_int.h - what the files of this module share. Nobody else includes it.
 *
 * All of ngtcp2 0.12.1 and GnuTLS stays behind these structs; a newer ngtcp2 means new bodies in
 * conn.c, flush.c, accept.c and tls.c, and no change above transport/.
 */
#ifndef FLX_TRANSPORT_QUIC_INT_H
#define FLX_TRANSPORT_QUIC_INT_H

#include "common/assert.h"
#include "transport/quic.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define CID_LEN             8                    /* of every connection id we issue */
#define UDP_RX_MESSAGES     8                    /* received in one call */
#define UDP_RX_BYTES        65536                /* room of one received message */
#define UDP_TX_MESSAGES     64                   /* sent in one call */
#define UDP_TX_ARENA        ((size_t)256 * 1024) /* packets built before one call */
#define GSO_BYTES_MAX       65000                /* README rule 4 */
#define GSO_SEGMENTS_MAX    64                   /* README rule 4 */
#define CONTROL_BYTES       128                  /* ancillary data of one message */
#define FLUSH_BATCHES_MAX   2                    /* per connection and pass; README rule 3 */
#define PULL_LOW_BYTES      ((size_t)64 * 1024)  /* a queue below this is pulled */
#define PACKET_SLACK        64                   /* a packet with so much room left out nothing */
#define ACK_PACKETS_MIN     5                    /* README rule 24 */
#define ACK_PACKETS_SPREAD  5
#define ACK_SLEEP_MIN_NS    20000 /* README rule 24 */
#define GATHER_MAX          64    /* ranges given to ngtcp2 at once (it takes 256) */
#define LINGER_MAX          1024  /* closed connections remembered by an endpoint */
#define RESETS_PER_SECOND   1000  /* stateless resets an endpoint sends */
#define RETRY_TOKEN_SECONDS 10    /* how long a Retry token is good */
#define UNI_GHOSTS_MAX      16384 /* then the peer gets no more one-way streams on the connection */
#define STRAY_CHUNK_BYTES   ((size_t)16 * 1024) /* strays of one receive pass for one worker */

typedef struct cid {
    uint8_t len;
    uint8_t bytes[NGTCP2_MAX_CIDLEN];
} cid;

/* --- cidmap.c: connection id -> connection ------------------------------------------------- */

typedef struct cidmap_entry {
    cid id;
    flx_quic_conn *conn; /* NULL: free */
} cidmap_entry;

typedef struct cidmap {
    cidmap_entry *entries;
    uint32_t cap; /* power of two, or 0 */
    uint32_t count;
    uint64_t seed;
} cidmap;

void flx_cidmap_init(cidmap *map, uint64_t seed);
void flx_cidmap_done(cidmap *map);
/* False: out of memory. An id that is there is moved to `conn`. */
bool flx_cidmap_put(cidmap *map, const uint8_t *bytes, size_t len, flx_quic_conn *conn);
flx_quic_conn *flx_cidmap_get(const cidmap *map, const uint8_t *bytes, size_t len);
void flx_cidmap_remove(cidmap *map, const uint8_t *bytes, size_t len);
/* Forgets every id of a connection; walks the table, so only for ends without a list of ids. */
void flx_cidmap_remove_conn(cidmap *map, const flx_quic_conn *conn);

/* --- group.c: what the endpoints of one server port share ----------------------------------- */

typedef struct source_count {
    uint8_t source[16];
    uint32_t count; /* 0: free */
} source_count;

struct flx_quic_group {
    uint32_t count; /* endpoints */
    flx_quic_options options;
    uint8_t secret[32];
    _Atomic uint32_t connections;
    _Atomic uint32_t half_open;
    _Atomic uint32_t endpoints; /* open ones; freeing asserts 0 */
    pthread_mutex_t lock;       /* of `sources`; taken at accept and at the end of a connection */
    source_count *sources;
    uint32_t sources_cap;
    uint32_t sources_count;
};

typedef enum admission { ADMIT_OK, ADMIT_TOTAL, ADMIT_SOURCE, ADMIT_NOMEM } admission;

flx_quic_options flx_quic_options_resolve(const flx_quic_options *options);
admission flx_group_admit(flx_quic_group *group, const uint8_t source[16]);
void flx_group_leave(flx_quic_group *group, const uint8_t source[16]);
void flx_source_of(const struct sockaddr *address, uint8_t ret_source[16]);

/* --- udp.c: sockets, receive with GRO, send with GSO ---------------------------------------- */

typedef struct udp_socket {
    flx_quic_endpoint *endpoint;
    int fd; /* -1: not open */
    flx_watch watch;
    struct sockaddr_storage local;
    socklen_t local_len;
    bool wildcard; /* bound to any address: packets carry theirs (IP_PKTINFO) */
    bool gso;
} udp_socket;

typedef struct udp_rx {
    int used; /* messages of the last receive: what the kernel changed in them is set anew */
    struct mmsghdr messages[UDP_RX_MESSAGES];
    struct iovec iov[UDP_RX_MESSAGES];
    struct sockaddr_storage from[UDP_RX_MESSAGES];
    _Alignas(8) uint8_t control[UDP_RX_MESSAGES][CONTROL_BYTES];
    uint8_t bytes[UDP_RX_MESSAGES][UDP_RX_BYTES];
} udp_rx;

typedef struct udp_tx {
    struct mmsghdr messages[UDP_TX_MESSAGES];
    struct iovec iov[UDP_TX_MESSAGES];
    struct sockaddr_storage to[UDP_TX_MESSAGES];
    _Alignas(8) uint8_t control[UDP_TX_MESSAGES][CONTROL_BYTES];
    uint16_t segment[UDP_TX_MESSAGES];
    bool has_segment[UDP_TX_MESSAGES]; /* its control data ends with UDP_SEGMENT */
    udp_socket *socket;                /* of all messages that wait */
    uint32_t count;                    /* messages that wait, from `first` */
    uint32_t first;
    size_t used;  /* of the arena */
    bool blocked; /* the socket takes no more now: EPOLLOUT is watched */
    uint8_t arena[UDP_TX_ARENA];
} udp_tx;

/*
 * How a socket shares its port. With SO_REUSEPORT set before the bind, a second node of the same user
 * would get half of our packets without a word. So the first socket of a group binds alone, which
 * fails when anybody has the port, and opens it to the others of the group afterwards.
 */
typedef enum flx_udp_share { FLX_UDP_ALONE, FLX_UDP_FIRST, FLX_UDP_JOIN } flx_udp_share;

flx_status flx_udp_open(udp_socket *socket, const struct sockaddr *address, socklen_t len,
                        uint32_t buffer_bytes, flx_udp_share share, flx_error *reterr);
void flx_udp_close(udp_socket *socket);
/* Points the messages at their buffers, once. */
void flx_udp_rx_init(udp_rx *rx);
/* Receives once; returns messages, 0 when there are none. */
int flx_udp_receive(udp_socket *socket, udp_rx *rx);
/* What message `index` of the last receive says: segment size and the local address it came to. */
size_t flx_udp_message(const udp_socket *socket, udp_rx *rx, int index,
                       struct sockaddr_storage *ret_local, socklen_t *ret_local_len);
/* Room for one batch (GSO_BYTES_MAX) of `socket`, or NULL while the socket is blocked. */
uint8_t *flx_udp_tx_room(flx_quic_endpoint *endpoint, udp_socket *socket);
/* Queues `len` bytes that were built at the room: packets of `segment` bytes, the last may be less. */
void flx_udp_tx_commit(flx_quic_endpoint *endpoint, const struct sockaddr *local,
                       const struct sockaddr *to, socklen_t to_len, size_t len, size_t segment);
/* Sends what waits. False: blocked, the rest waits for EPOLLOUT. */
bool flx_udp_tx_send(flx_quic_endpoint *endpoint);

/* --- steer.c -------------------------------------------------------------------------------- */

/* Makes the kernel give a packet to socket number (first byte of its connection id) mod `count`. */
flx_status flx_steer_attach(int fd, uint32_t count, flx_error *reterr);
/* Where a packet belongs by the same rule; `count` 1 is always 0. False: too short. */
bool flx_steer_index(const uint8_t *packet, size_t len, uint32_t count, uint32_t *ret_index);
/* A first byte for an id that goes to worker `index` of `count`. */
uint8_t flx_steer_byte(uint8_t random, uint32_t count, uint32_t index);

/* --- aead.c: packet protection -------------------------------------------------------------- */

typedef struct packet_key packet_key;
TAILQ_HEAD(packet_keys, packet_key);

/* Whether this processor has the fast path at all; tests may turn it off. */
bool flx_aead_available(void);
void flx_aead_disable_for_tests(bool off);
bool flx_aead_serves(gnutls_cipher_algorithm_t cipher);
/* A key of 16 or 32 bytes; NULL: out of memory. */
packet_key *flx_aead_key_new(const uint8_t *key, size_t key_len);
/* Makes its tables unless they are there; needed before seal and open. False: out of memory. */
bool flx_aead_key_ready(packet_key *key);
packet_key *flx_aead_hp_new(const uint8_t *key, size_t key_len);
packet_key *flx_aead_key_free(packet_key *key);
void flx_aead_seal(const packet_key *key, uint8_t *dest, const uint8_t *plain, size_t len,
                   const uint8_t *nonce, const uint8_t *aad, size_t aad_len);
bool flx_aead_open(const packet_key *key, uint8_t *dest, const uint8_t *sealed, size_t len,
                   const uint8_t *nonce, const uint8_t *aad, size_t aad_len);
void flx_aead_hp_mask(const packet_key *key, uint8_t ret_mask[16], const uint8_t sample[16]);
/* Fills the crypto callbacks of ngtcp2. */
void flx_aead_callbacks(ngtcp2_callbacks *callbacks);
/* GnuTLS's secret function of a session whose pointer is the connection's conn_ref. */
int flx_aead_install_secret(gnutls_session_t session, gnutls_record_encryption_level_t level,
                            const void *rx_secret, const void *tx_secret, size_t secret_len);

/* --- credentials.c, tls.c ------------------------------------------------------------------- */

/* One set of certificate, key and CAs. Counted; never changes. */
typedef struct credential_set credential_set;
credential_set *flx_credentials_current(flx_credentials *credentials); /* a reference */
credential_set *flx_credential_set_unref(credential_set *set);
gnutls_certificate_credentials_t flx_credential_set_gnutls(credential_set *set);
bool flx_credentials_client_required(const flx_credentials *credentials);

flx_status flx_tls_init(flx_error *reterr); /* once a process; cheap again */
bool flx_tls_start(flx_quic_conn *conn, const char *server_name, const char *alpn);
void flx_tls_release(flx_quic_conn *conn); /* what only the handshake needed */
void flx_tls_alert_text(uint8_t alert, char *text, size_t cap);

/* --- streams -------------------------------------------------------------------------------- */

struct flx_quic_stream {
    flx_quic_conn *conn;
    void *context;
    int64_t id;
    TAILQ_ENTRY(flx_quic_stream) all_link;
    TAILQ_ENTRY(flx_quic_stream) ready_link;
    TAILQ_ENTRY(flx_quic_stream) pull_link;
    TAILQ_ENTRY(flx_quic_stream) op_link;

    /* A ring of ranges: [0, send) are in packets and wait for the acknowledgement (range `send` up
     * to send_skip too), the rest is queued. ranges[first] starts at stream offset `base`. */
    flx_range *ranges;
    uint32_t cap; /* power of two, or 0 */
    uint32_t first;
    uint32_t count;
    uint32_t send;
    uint32_t send_skip;
    uint64_t base;
    uint64_t acked; /* stream offsets: acked <= sent <= end */
    uint64_t sent;
    uint64_t end;

    uint64_t sendable; /* its share of the connection's */
    uint64_t delivered;
    uint64_t consumed;
    uint64_t reset_code;
    uint64_t stop_code;
    bool local : 1;
    bool writable : 1; /* has a send side that takes bytes */
    bool fin : 1;      /* asked for */
    bool fin_sent : 1;
    bool reset : 1; /* asked for, see `op` */
    bool stop : 1;
    bool stop_done : 1;
    bool read_done : 1; /* the peer's one-way stream is over, see stream.c */
    bool stopped : 1;   /* the peer's STOP_SENDING; to be told */
    bool told_stopped : 1;
    bool blocked : 1; /* the peer's stream window is full */
    bool want_pull : 1;
    bool in_ready : 1;
    bool in_pull : 1;
    bool in_ops : 1;
    bool closed : 1; /* ngtcp2 forgot it, or the connection ends */
};

TAILQ_HEAD(stream_list, flx_quic_stream);

flx_quic_stream *flx_stream_new(flx_quic_conn *conn, int64_t id, bool local);
void flx_stream_free(flx_quic_stream *stream);
void flx_stream_acked(flx_quic_stream *stream, uint64_t offset);
/* Up to `bytes_max` queued bytes as vectors; *ret_all: nothing is queued behind them. */
size_t flx_stream_gather(const flx_quic_stream *stream, ngtcp2_vec *vec, size_t bytes_max,
                         bool *ret_all);
void flx_stream_sent(flx_quic_stream *stream, size_t len);
/* Puts the stream where the flush pass looks for it, or takes it away. */
void flx_stream_schedule(flx_quic_stream *stream);
/* Tells the owner that it is over and takes it out of the connection; freed with the tick. */
void flx_stream_end(flx_quic_stream *stream);
void flx_stream_apply_ops(flx_quic_conn *conn);
void flx_stream_stopped(flx_quic_stream *stream, uint64_t code); /* tells it now */
void flx_stream_stop_seen(flx_quic_stream *stream);              /* tells it in the next pass */
void flx_stream_read_done(flx_quic_stream *stream);
/* For tests: as if ngtcp2's own close were not linked in. */
void flx_stream_soft_close_for_tests(bool on);

/* --- connections ---------------------------------------------------------------------------- */

typedef enum conn_state {
    CONN_HANDSHAKE,
    CONN_OPEN,
    CONN_LINGER /* ended: only its ids and its last packet are kept for a while */
} conn_state;

struct flx_quic_conn {
    flx_quic_endpoint *endpoint;
    ngtcp2_conn *qc;
    gnutls_session_t tls; /* NULL once the handshake needs it no more */
    ngtcp2_crypto_conn_ref ref;
    credential_set *credentials;
    void *context;
    udp_socket *socket;
    flx_timer timer;
    TAILQ_ENTRY(flx_quic_conn) all_link;
    TAILQ_ENTRY(flx_quic_conn) dirty_link;
    struct stream_list streams;
    struct stream_list ready; /* have bytes or a FIN to send */
    struct stream_list pull;  /* want to be asked for more */
    struct stream_list ops;   /* a RESET_STREAM or STOP_SENDING to hand to ngtcp2 */
    struct stream_list dead;  /* freed at the end of the tick */
    uint32_t pull_count;
    uint32_t ghosts;   /* one-way streams of the peer that only ngtcp2 remembers */
    uint64_t queued;   /* bytes handed to us, not yet in a packet */
    uint64_t sendable; /* those of streams that are not blocked */
    uint64_t unacked;  /* bytes in packets, not acknowledged */
    uint64_t
        ack_due_ns; /* when an acknowledgement that waits for company must go; UINT64_MAX: none */
    struct packet_keys keys;
    conn_state state;
    uint8_t source[16];
    cid initial_dcid; /* server: what the client made up; mapped until the handshake is over */
    bool server : 1;
    bool counted : 1;   /* in the group's caps */
    bool half_open : 1; /* in the group's half-open count */
    bool dirty : 1;
    bool told_connected : 1;
    bool completed : 1; /* the handshake is; `connected` is to be told */
    bool drop_tls : 1;  /* at the end of the tick */
    bool ending : 1;    /* `why` holds the end; the hook finishes it */
    bool send_close : 1;
    bool got_reset : 1;
    bool wants_retry : 1; /* ended at once: a Retry is the answer to its first packet */
    bool want_streams : 1;
    bool streams_came : 1;
    bool confirmed : 1;
    bool ids_unsure : 1; /* ngtcp2 ran out of memory: the tables may know more ids than it does */
    flx_quic_close why;
    const char *cipher;
    char *server_name; /* client: until the handshake is over */
    uint8_t *peer_certificate;
    uint32_t peer_certificate_len;
    char *tls_reason;      /* what is wrong with the peer's certificate */
    uint8_t *close_packet; /* while lingering */
    uint16_t close_packet_len;
    uint32_t linger_hits;
    cid *linger_cids;
    uint32_t linger_cid_count;
    uint64_t lost; /* packets with bytes of streams that are closed */
};

TAILQ_HEAD(conn_list, flx_quic_conn);

flx_status flx_conn_accept(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                           const ngtcp2_pkt_hd *hd, const ngtcp2_cid *original_dcid,
                           const uint8_t source[16], flx_quic_conn **ret_conn);
void flx_conn_read(flx_quic_conn *conn, const ngtcp2_path *path, const uint8_t *packet, size_t len,
                   uint64_t now_ns);
void flx_conn_mark_dirty(flx_quic_conn *conn);
/* Notes how it ended; the first note counts. */
void flx_conn_end(flx_quic_conn *conn, flx_quic_close_kind kind, bool application, uint64_t code,
                  bool send_close, const char *reason);
void flx_conn_end_liberr(flx_quic_conn *conn, int liberr);
void flx_conn_half_open_done(flx_quic_conn *conn);
/* The last steps, in the tick hook: last packet, events, memory. */
void flx_conn_finish(flx_quic_conn *conn, uint64_t now_ns);
void flx_conn_free(flx_quic_conn *conn); /* without a word to anybody */
void flx_conn_forget_linger(flx_quic_conn *conn);
void flx_conn_linger_hit(flx_quic_conn *conn, udp_socket *socket, const ngtcp2_path *path);
void flx_conn_after_tick(flx_quic_conn *conn);
/* For tests: asks for a key update now. */
flx_status flx_quic_conn_update_keys(flx_quic_conn *conn);

/* --- acks.c: when acknowledgements leave ----------------------------------------------------- */

/* How many packets that want an acknowledgement a connection waits for. */
size_t flx_acks_packets(const ngtcp2_cid *id);
/* Around the packets of a pass. `due`: whatever is to be acknowledged goes into the first of them. */
void flx_acks_begin(flx_quic_conn *conn, bool due);
void flx_acks_end(flx_quic_conn *conn, uint64_t now_ns);
/* Whether one would need a tick of its own in a moment, and cannot be held. */
bool flx_acks_are_near(const flx_quic_conn *conn, uint64_t now_ns);
/* When the connection must be looked at next. */
uint64_t flx_conn_expiry_ns(const flx_quic_conn *conn);

/* --- flush.c -------------------------------------------------------------------------------- */

/* Builds and queues what the connection may send. False: the socket is blocked, or the pass used its
 * share: come back next tick. */
bool flx_conn_flush(flx_quic_conn *conn, uint64_t now_ns);
void flx_conn_arm(flx_quic_conn *conn, uint64_t expiry_ns);

/* --- nodes.c: pools of ngtcp2 that are one for the endpoint ------------------------------------ */

enum { FLX_NODES_PACKET, FLX_NODES_STREAM, FLX_NODE_KINDS };

struct free_node;
typedef struct node_pool {
    struct free_node *free;
    void *slabs;
    uint32_t free_count;
    uint32_t used_count;
    uint32_t node_bytes;
    bool is_shared; /* false: the linker did not put us in between, and nobody takes of it */
} node_pool;

typedef struct flx_nodes {
    ngtcp2_mem mem; /* what the endpoint's connections allocate with; leads back here */
    node_pool pools[FLX_NODE_KINDS];
} flx_nodes;

void flx_nodes_init(flx_nodes *nodes);
void flx_nodes_done(flx_nodes *nodes); /* when all connections are freed */
/* Whether the next call of ngtcp2 finds nodes for what it sends: README rule 22. */
bool flx_nodes_ready(flx_nodes *nodes);
/* Makes a pool that asked for `asked` bytes a shared one, if it is of such a kind. */
struct ngtcp2_balloc;
void flx_nodes_join(struct ngtcp2_balloc *blocks, size_t asked, const ngtcp2_mem *mem);

/* --- endpoints ------------------------------------------------------------------------------ */

typedef struct endpoint_stats {
    _Atomic uint64_t packets_in, packets_out, bytes_in, bytes_out;
    _Atomic uint64_t send_calls, receive_calls;
    _Atomic uint64_t handshakes, handshake_failures, refused_total_limit, refused_source_limit;
    _Atomic uint64_t retries_sent, resets_sent, strays, packets_lost, dropped;
    _Atomic uint32_t connections;
} endpoint_stats;

/* One writer, so a load and a store are enough and cost what a plain add does. */
#define STAT_ADD(endpoint, field, n)                                                               \
    atomic_store_explicit(&(endpoint)->stats.field,                                                \
                          atomic_load_explicit(&(endpoint)->stats.field, memory_order_relaxed) +   \
                              (n),                                                                 \
                          memory_order_relaxed)

struct flx_quic_endpoint {
    flx_loop *loop;
    flx_quic_group *group; /* NULL: a client */
    uint32_t index;
    uint32_t count; /* endpoints that share the port; 1 for a client */
    flx_quic_options options;
    flx_credentials *credentials;
    flx_quic_events events;
    void *arg;
    udp_socket sockets[2]; /* a server uses the first; a client one a family, opened when needed */
    flx_tick_hook hook;
    flx_timer again; /* keeps the loop from sleeping while connections are dirty */
    bool again_set;
    uint32_t tick_packets; /* received and built in this tick */
    bool in_tick;          /* work of ours comes before the hook of this tick */
    bool refusing;
    bool freeing;
    cidmap cids;
    cidmap tokens; /* stateless reset tokens of our peers */
    struct conn_list conns;
    struct conn_list dirty;
    struct conn_list linger; /* oldest first */
    uint32_t linger_count;
    uint8_t reset_secret[32];
    uint64_t reset_window_ns;
    uint32_t reset_window_count;
    bool (*post)(void *arg, uint32_t index, flx_chunk *packets);
    void *post_arg;
    flx_chunk **strays; /* one a worker, NULL: none collected; NULL until the first */
    endpoint_stats stats;
    flx_nodes nodes;
    udp_rx *rx;
    udp_tx *tx;
};

/* One datagram (GRO already split) that came to `socket`. Also the door of the fuzz target. */
void flx_endpoint_datagram(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                           const uint8_t *packet, size_t len, uint64_t now_ns);
void flx_endpoint_dirty(flx_quic_endpoint *endpoint);
flx_status flx_endpoint_watch(flx_quic_endpoint *endpoint, udp_socket *socket, flx_error *reterr);
/* accept.c: a packet that belongs to no connection. */
void flx_endpoint_unknown(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                          const uint8_t *packet, size_t len, const ngtcp2_version_cid *vc,
                          uint64_t now_ns);
void flx_endpoint_post_strays(flx_quic_endpoint *endpoint);
/* A connection id of ours: steered to this endpoint, random otherwise. */
void flx_endpoint_new_cid(const flx_quic_endpoint *endpoint, ngtcp2_cid *ret_cid);

/* --- mem.c ---------------------------------------------------------------------------------- */

extern const ngtcp2_mem flx_ngtcp2_mem;
/* What a pool of ngtcp2 that asks for blocks of `asked` bytes gets; an eighth where that is safe. */
size_t flx_pool_block_bytes(size_t asked);
/* Whether ngtcp2 got memory of the reserve since the last question: end the connection. This thread. */
bool flx_mem_starved(void);

/* Whether the ngtcp2 that runs is the one whose internals we know (README rules 12, 21). */
static inline bool flx_ngtcp2_known(void)
{
    return ngtcp2_version(0)->version_num == 0x000c01;
}

#endif /* FLX_TRANSPORT_QUIC_INT_H */
