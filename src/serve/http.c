/* http.c - requests on libmicrohttpd (serve/http.h).
 *
 * Easy to get wrong: a reply that is queued in the first call of the handler, before the (maybe
 * empty) body is read, makes libmicrohttpd close the connection: replies go out in a later call,
 * except to a body that had better not be sent or whose end is in doubt (at_once). A connection is
 * suspended before its request is queued, since the worker may answer at once. Every suspended
 * connection must be resumed before the daemon is stopped.
 */
#include "serve/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "serve/credential.h"
#include "serve/problem.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/stream.h"
#include "serve/watch.h"

/* Bytes of a connection's buffers; of a body that is read to be thrown away; that are asked of a
 * stream at once. */
enum { HEADERS_MAX = 32 << 10, DISCARD_MAX = 64 << 20, PORTION = 16 << 10 };

struct sella_http {
    struct MHD_Daemon *daemon;
    char *cert, *key;
};

/* What the watch holds of a connection; NULL: nothing. */
static sella_watched *watched_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/* --- one request ------------------------------------------------------------ */

static void *on_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
    sella_server *server = cls;
    sella_exchange *x = calloc(1, sizeof *x);
    sella_err err = {0};
    if (x == NULL) {
        return NULL;
    }
    x->server = server;
    x->connection = connection;
    x->arrived = sella_now();
    x->tail = "";
    x->counted = true;
    atomic_fetch_add(&server->under_way, 1);
    sella_status status = sella_target_parse(uri, &x->target, &err);
    if (status != SELLA_OK) {
        sella_problem_status(x, status, &err);
    }
    return x;
}

/* The client's name: the peer's address, or the last entry of the header that a trusted proxy
 * sets. */
static void name_client(sella_exchange *x)
{
    const char *header =
        x->server->client_header != NULL
            ? MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, x->server->client_header)
            : NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *peer = info != NULL ? info->client_addr : NULL;
    memcpy(x->client, "unknown", 8);
    if (header != NULL) {
        const char *last = strrchr(header, ',');
        last = last != NULL ? last + 1 : header;
        last += strspn(last, " \t");
        if (sella_utf8_valid(last, strlen(last)) == strlen(last)) {
            memset(x->client, 0, sizeof x->client);
            snprintf(x->client, sizeof x->client, "%.40s", last);
        }
    } else if (peer != NULL && peer->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, x->client,
                  sizeof x->client);
    } else if (peer != NULL && peer->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)peer)->sin6_addr, x->client,
                  sizeof x->client);
    }
    /* cut within a character */
    if (sella_utf8_valid(x->client, strlen(x->client)) != strlen(x->client)) {
        memcpy(x->client, "unknown", 8);
    }
}

static const char *header_of(const sella_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

static bool says_json(const char *type)
{
    static const char json[] = "application/json";
    const size_t bytes = sizeof json - 1;
    return type != NULL && strncasecmp(type, json, bytes) == 0 &&
           (type[bytes] == '\0' || type[bytes] == ';' || type[bytes] == ' ');
}

static enum MHD_Result count_length(void *cls, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    int *count = cls;
    (void)kind;
    (void)value;
    *count += strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 ||
              strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
    return MHD_YES;
}

/* The body's length is told once, so that a proxy and this server agree where the next request
 * begins (RFC 9112, 6.3), and is within the limit. */
static void check_length(sella_exchange *x)
{
    const char *length = header_of(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const size_t limit = x->server->options.body_limit;
    int64_t announced = 0;
    int told = 0;
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, count_length, &told);
    if (told > 1) {
        sella_problem(x, 400, "the head tells the body's length %d times; expected once", told);
        x->at_once = true;
    } else if (length != NULL && (sella_parse_int(length, strlen(length), 0, INT64_MAX,
                                                  "Content-Length", &announced, NULL) != SELLA_OK ||
                                  announced > (int64_t)limit)) {
        sella_problem(x, 413, "the body is announced with %.20s bytes; expected at most %zu",
                      length, limit);
        x->at_once = announced > (int64_t)limit + DISCARD_MAX;
    }
}

/* What can be said before the body: route, key and type. Fills a problem in x when something is
 * wrong. */
static void check_head(sella_exchange *x)
{
    sella_server *server = x->server;
    const int code = sella_route_find(x->method, x->target.path, &x->route, &x->tail, &x->allow);
    const bool open = server->key == NULL || (x->route != NULL && x->route->open);
    if (!open && !sella_credential_right(server->key, header_of(x, "Authorization"),
                                         header_of(x, "X-API-Key"))) {
        x->challenge = "Bearer realm=\"sella\"";
        x->allow = NULL;
        sella_problem(x, 401,
                      "a key is needed: Authorization: Bearer KEY, X-API-Key: KEY, or Basic with "
                      "the key as password");
    } else if (code == 404) {
        sella_problem(x, 404, "there is nothing at this path; /openapi.json lists what there is");
    } else if (code == 405) {
        sella_problem(x, 405, "this path is asked with %s", x->allow);
    } else if (atomic_load(&server->stopping)) {
        x->retry_after = 1;
        x->close = true;
        sella_problem(x, 503, "the server is stopping");
    } else if (!x->route->early && !atomic_load(&server->ready)) {
        x->retry_after = 1;
        sella_problem(x, 503, "the run is being loaded");
    } else if (strcmp(x->route->method, "POST") == 0 &&
               !says_json(header_of(x, MHD_HTTP_HEADER_CONTENT_TYPE))) {
        sella_problem(x, 415, "expected a body with Content-Type: application/json");
    }
    x->lines = sella_stream_asked(header_of(x, "Accept"));
}

static enum MHD_Result take_body(sella_exchange *x, const char *data, size_t bytes)
{
    const size_t limit = x->server->options.body_limit;
    x->body_bytes += bytes;
    if (x->body_bytes > limit + DISCARD_MAX ||
        sella_now() - x->arrived > x->server->options.timeout) {
        /* closes the connection: whoever sends so much, or so slowly, does not wait for an
         * answer */
        return MHD_NO;
    }
    if (x->code != 0) {
        return MHD_YES;
    }
    if (x->body_bytes > limit) {
        sella_text_release(&x->body);
        sella_problem(x, 413, "the body has more than %zu bytes", limit);
        return MHD_YES;
    }
    return sella_text_append(&x->body, data, bytes, NULL) == SELLA_OK ? MHD_YES : MHD_NO;
}

static ssize_t more_of_stream(void *cls, uint64_t position, char *out, size_t room)
{
    const ssize_t got = sella_stream_read(cls, out, room);
    (void)position;
    return got == -1   ? MHD_CONTENT_READER_END_OF_STREAM
           : got == -2 ? MHD_CONTENT_READER_END_WITH_ERROR
                       : got;
}

static enum MHD_Result send_reply(sella_exchange *x)
{
    struct MHD_Response *response;
    if (x->code == 0) {
        return MHD_NO; // no memory for a reply
    }
    if (x->stream != NULL) {
        response =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PORTION, more_of_stream, x, NULL);
    } else if (x->reply != NULL) {
        response = MHD_create_response_from_buffer(x->bytes, x->reply, MHD_RESPMEM_MUST_FREE);
        x->reply = response != NULL ? NULL : x->reply;
    } else {
        static const char nothing[1] = "";
        /* libmicrohttpd only reads it */
        void *fixed = (void *)(uintptr_t)(x->fixed != NULL ? x->fixed : nothing);
        response = MHD_create_response_from_buffer(x->bytes, fixed, MHD_RESPMEM_PERSISTENT);
    }
    if (response == NULL) {
        return MHD_NO;
    }
    char retry[16];
    snprintf(retry, sizeof retry, "%d", x->retry_after);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, x->type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (strncmp(x->type, "text/html", 9) == 0) {
        MHD_add_response_header(response, "Content-Security-Policy",
                                "default-src 'none'; script-src 'unsafe-inline'; style-src "
                                "'unsafe-inline'; img-src data:; connect-src 'self'; base-uri "
                                "'none'; form-action 'none'; frame-ancestors 'none'");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    if (x->stream != NULL) {
        /* nginx passes each line on as it comes */
        MHD_add_response_header(response, "X-Accel-Buffering", "no");
    }
    if (x->allow != NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, x->allow);
    }
    if (x->challenge != NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, x->challenge);
    }
    if (x->retry_after > 0) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, retry);
    }
    if (x->close || x->at_once || atomic_load(&x->server->stopping)) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned int)x->code, response);
    MHD_destroy_response(response);
    return result;
}

/* The body is complete: work here, or suspend the connection and queue. */
static enum MHD_Result go(sella_exchange *x)
{
    if (x->code == 0 && x->route->parse != NULL) {
        x->route->parse(x);
    }
    if (x->code == 0 && x->route->place != SELLA_PLACE_HERE) {
        x->queued = true;
        MHD_suspend_connection(x->connection);
        /* x may be answered, but not gone: only this thread frees it */
        sella_server_dispatch(x->server, x);
        return MHD_YES;
    }
    if (x->code == 0) {
        sella_loaded *loaded = sella_server_loaded(x->server);
        x->route->work(x, loaded);
        sella_loaded_drop(loaded);
    }
    return send_reply(x);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *bytes, void **state)
{
    sella_exchange *x = *state;
    (void)cls;
    (void)url;
    (void)version;
    if (x == NULL) {
        return MHD_NO;
    }
    if (!x->began) {
        x->began = true;
        sella_watch_begun(x->server->watch, watched_of(connection));
        snprintf(x->method, sizeof x->method, "%.15s",
                 sella_utf8_valid(method, strlen(method)) == strlen(method) ? method : "?");
        name_client(x);
        if (x->code == 0) {
            check_head(x);
        }
        check_length(x);
        x->at_once = x->at_once || (x->code != 0 && header_of(x, MHD_HTTP_HEADER_EXPECT) != NULL);
        return x->at_once ? send_reply(x) : MHD_YES;
    }
    if (*bytes > 0) {
        const size_t size = *bytes;
        *bytes = 0;
        return take_body(x, data, size);
    }
    return x->queued ? send_reply(x) : go(x);
}

/* The reply has gone out, or never will: count it, log it, free x. */
static void finish(sella_exchange *x)
{
    sella_server *server = x->server;
    const double now = sella_now();
    if (x->began) { // not for what was no request at all
        sella_metrics_answered(server->metrics, x, now);
        if (server->log != NULL) {
            sella_access_log_line(server->log, x, now);
        }
    }
    const bool counted = x->counted;
    sella_exchange_free(x);
    if (counted) {
        atomic_fetch_sub(&server->under_way, 1);
    }
}

void sella_exchange_answer(sella_exchange *x)
{
    if (x->stream == NULL) {
        MHD_resume_connection(x->connection);
    } else if (sella_stream_end(x)) {
        finish(x);
    }
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how)
{
    sella_server *server = cls;
    sella_exchange *x = *state;
    if (x == NULL) {
        return;
    }
    *state = NULL;
    if (x->stream != NULL) {
        if (sella_stream_sent(x, how == MHD_REQUEST_TERMINATED_COMPLETED_OK)) {
            finish(x);
        } // else its worker will
    } else {
        x->code = how == MHD_REQUEST_TERMINATED_COMPLETED_OK ? x->code : 0;
        finish(x);
    }
    sella_watch_waits(server->watch, watched_of(connection));
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    sella_server *server = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *state = info != NULL ? sella_watch_opened(server->watch, info->connect_fd) : NULL;
        sella_metrics_connection(server->metrics, 1);
    } else { // before its socket is closed
        sella_watch_closed(server->watch, *state);
        *state = NULL;
        sella_metrics_connection(server->metrics, -1);
    }
}

/* --- the daemon ------------------------------------------------------------ */

/* host (numeric) and port as a socket address. */
static sella_status address_of(const char *host, int port, struct sockaddr_storage *out,
                               socklen_t *bytes, sella_err *err)
{
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, name, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        *bytes = sizeof *four;
    } else if (inet_pton(AF_INET6, name, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)port);
        *bytes = sizeof *six;
    } else {
        return sella_err_set(
            err, SELLA_ARG,
            "'%s' is not an address to listen on; expected one like 127.0.0.1, 0.0.0.0 or ::1",
            host);
    }
    return SELLA_OK;
}

static sella_status listen_at(const char *host, int port, int *out, int *got, sella_err *err)
{
    struct sockaddr_storage address;
    socklen_t bytes;
    const int on = 1;
    sella_status status = address_of(host, port, &address, &bytes, err);
    if (status != SELLA_OK) {
        return status;
    }
    const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, bytes) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0) {
        char place[96];
        snprintf(place, sizeof place, "%.60s port %d", host, port);
        status = sella_err_errno(err, place, "listened on", errno);
        status = status == SELLA_MISSING ? SELLA_IO : status;
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    *got = ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                              : ((struct sockaddr_in6 *)&address)->sin6_port);
    *out = fd;
    return SELLA_OK;
}

static sella_status read_pem(const char *path, char **out, sella_err *err)
{
    sella_map map = {0};
    sella_status status = sella_map_open(path, &map, err);
    if (status == SELLA_OK) {
        *out = strndup(map.size > 0 ? (const char *)map.data : "", map.size);
        status = *out != NULL ? SELLA_OK : sella_err_memory(err, path, map.size);
    }
    sella_map_close(&map);
    return status;
}

static sella_status start_daemon(sella_server *server, sella_http *http, int fd, sella_err *err)
{
    const bool tls = http->cert != NULL;
    /* poll, not epoll: libmicrohttpd 0.9.75 misses the end of a connection whose last bytes came
     * with it, and keeps it until its timeout */
    const unsigned int flags =
        MHD_USE_POLL_INTERNALLY | MHD_ALLOW_SUSPEND_RESUME | (tls ? MHD_USE_TLS : 0u);
    struct MHD_OptionItem more[] = {
        {tls ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, http->cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, http->key},
        {MHD_OPTION_END, 0, NULL},
    };
    errno = 0;
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned int)server->options.connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned int)(server->options.timeout + 0.999), MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    if (http->daemon == NULL) {
        return sella_err_set(err, SELLA_IO, "the HTTP server could not be started%s",
                             tls ? ": are certificate and key PEM files that belong together?"
                                 : "");
    }
    return SELLA_OK;
}

sella_status sella_http_start(sella_server *server, const char *tls_cert, const char *tls_key,
                              sella_http **out, int *port, sella_err *err)
{
    sella_status status = SELLA_OK;
    int fd = -1;
    sella_http *http = sella_alloc(1, sizeof *http, "the HTTP server", err);
    *out = NULL;
    if (http == NULL) {
        return SELLA_MEMORY;
    }
    if (tls_cert != NULL) {
        if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
            SELLA_TRY(sella_err_set(err, SELLA_UNSUPPORTED, "this libmicrohttpd has no TLS"));
        }
        SELLA_TRY(read_pem(tls_cert, &http->cert, err));
        SELLA_TRY(read_pem(tls_key, &http->key, err));
    }
    SELLA_TRY(listen_at(server->host, server->options.port, &fd, port, err));
    SELLA_TRY(start_daemon(server, http, fd, err));
    fd = -1;
    *out = http;
    http = NULL;
done:
    if (fd >= 0) {
        close(fd);
    }
    sella_http_stop(http);
    return status;
}

void sella_http_quiesce(sella_http *http)
{
    const int fd = MHD_quiesce_daemon(http->daemon);
    if (fd >= 0) {
        close(fd);
    }
}

void sella_http_stop(sella_http *http)
{
    if (http == NULL) {
        return;
    }
    if (http->daemon != NULL) {
        MHD_stop_daemon(http->daemon);
    }
    if (http->key != NULL) {
        explicit_bzero(http->key, strlen(http->key));
    }
    free(http->cert);
    free(http->key);
    free(http);
}
