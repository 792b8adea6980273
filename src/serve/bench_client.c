/* bench_client.c - how a running server answers under load (sella/serve.h).
 *
 * One thread, non-blocking connections. Closed loop: every connection sends its next request when
 * it has its answer. Open loop: requests are due at fixed moments, whether the server keeps up or
 * not; a request that finds no free connection waits, and its latency counts from the moment it was
 * due (no coordinated omission). Latencies are all kept: percentiles are exact.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "sella/serve.h"
#include "serve/bench_sets.h"
#include "serve/credential.h"

/* bytes of an answer's head; seconds waited for late answers */
enum { HEAD = 8192, PATIENCE = 30 };

typedef enum phase { PHASE_IDLE, PHASE_SENDING, PHASE_READING } phase;

typedef struct wire {
    int fd; /* -1: to be opened */
    phase phase;
    const sella_text *request;
    size_t sent;
    char head[HEAD]; /* of the answer, zero-terminated */
    size_t used;
    int64_t left;    /* bytes of the body to come; -1: the head is not complete */
    int status;
    double due, began;
} wire;

typedef struct series {
    double *value_n;
    size_t count, room;
} series;

typedef struct bench {
    const sella_serve_bench_options *options;
    struct sockaddr_storage address;
    socklen_t address_bytes;
    sella_text request;    /* the one request, unless there are sets */
    sella_bench_sets sets;
    wire *wire_n;
    struct pollfd *poll_n;
    series latency, service; /* seconds: from due, from sending */
    int64_t errors, sent;
    double start, end;
} bench;

static sella_status series_add(series *s, double value, sella_err *err)
{
    if (s->count == s->room) {
        const size_t room = s->room == 0 ? 65536 : 2 * s->room;
        double *grown = realloc(s->value_n, room * sizeof *grown);
        if (grown == NULL) {
            return sella_err_memory(err, "latencies", room * sizeof *grown);
        }
        s->value_n = grown;
        s->room = room;
    }
    s->value_n[s->count++] = value;
    return SELLA_OK;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest value that at least `share` of all do not exceed, of sorted values, in ms. */
static double percentile(const series *s, double share)
{
    if (s->count == 0) {
        return NAN;
    }
    const size_t rank = (size_t)ceil(share * (double)s->count);
    return 1e3 * s->value_n[rank > 0 ? rank - 1 : 0];
}

/* "http://ADDRESS:PORT", the scheme optional; ADDRESS numeric or localhost. */
static sella_status parse_url(const char *url, bench *b, sella_err *err)
{
    char host[64];
    int64_t port;
    const char *at = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    const char *colon = strrchr(at, ':');
    const size_t bytes = colon != NULL ? (size_t)(colon - at) : 0,
                 digits = colon != NULL ? strcspn(colon + 1, "/") : 0;
    if (strncmp(url, "https:", 6) == 0) {
        return sella_err_set(err, SELLA_UNSUPPORTED, "%s: the bench speaks plain HTTP only", url);
    }
    if (colon == NULL || bytes == 0 || bytes >= sizeof host ||
        (colon[1 + digits] == '/' && colon[2 + digits] != '\0') ||
        sella_parse_int(colon + 1, digits, 1, 65535, "port", &port, NULL) != SELLA_OK) {
        return sella_err_set(err, SELLA_ARG, "'%s' names no server; expected http://ADDRESS:PORT",
                             url);
    }
    const bool bracket = at[0] == '[' && at[bytes - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)bytes - 2 * bracket, at + bracket);
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    struct sockaddr_in *four = (struct sockaddr_in *)&b->address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&b->address;
    if (inet_pton(AF_INET, name, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        b->address_bytes = sizeof *four;
    } else if (inet_pton(AF_INET6, name, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)port);
        b->address_bytes = sizeof *six;
    } else {
        return sella_err_set(err, SELLA_ARG, "'%s': the address must be numeric or localhost", url);
    }
    return SELLA_OK;
}

static sella_status make_request(bench *b, sella_err *err)
{
    const sella_serve_bench_options *o = b->options;
    sella_status status = SELLA_OK;
    char *key = NULL;
    if (o->path[0] != '/' || strpbrk(o->path, " \r\n") != NULL) {
        return sella_err_set(err, SELLA_ARG, "'%s' is no path; expected one like /v1/recommend",
                             o->path);
    }
    if (o->api_key_file != NULL) {
        SELLA_TRY(sella_credential_read(o->api_key_file, &key, err));
    }
    if (o->candidates > 0) {
        SELLA_TRY(
            sella_bench_sets_make(o, &b->address, b->address_bytes, key, &b->sets, err));
    } else {
        SELLA_TRY(sella_bench_request(&b->request, o->path, o->body, key, err));
    }
done:
    free(key);
    return status;
}

static bool open_wire(const bench *b, wire *l)
{
    const int on = 1;
    l->fd = socket(b->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0) {
        return false;
    }
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(l->fd, (const struct sockaddr *)&b->address, b->address_bytes) != 0 ||
        fcntl(l->fd, F_SETFL, O_NONBLOCK) != 0) {
        const int reason = errno;
        close(l->fd);
        l->fd = -1;
        errno = reason;
        return false;
    }
    return true;
}

static void lose(bench *b, wire *l)
{
    close(l->fd);
    l->fd = -1;
    if (l->phase != PHASE_IDLE) {
        b->errors++;
    }
    l->phase = PHASE_IDLE;
}

static void begin(bench *b, wire *l, double due)
{
    b->sent++;
    if (l->fd < 0 && !open_wire(b, l)) {
        b->errors++;
        return;
    }
    l->phase = PHASE_SENDING;
    l->request = b->sets.count > 0 ? &b->sets.request_n[(b->sent - 1) % b->sets.count]
                                   : &b->request;
    l->sent = l->used = 0;
    l->left = -1;
    l->due = due;
    l->began = sella_now();
}

static void go_on_sending(bench *b, wire *l)
{
    const ssize_t n =
        send(l->fd, l->request->data + l->sent, l->request->size - l->sent, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN) {
            lose(b, l);
        }
        return;
    }
    l->sent += (size_t)n;
    l->phase = l->sent == l->request->size ? PHASE_READING : PHASE_SENDING;
}

/* Status and length from a complete head. */
static bool read_head(wire *l)
{
    const char *length = strcasestr(l->head, "\r\nContent-Length:");
    const char *end = strstr(l->head, "\r\n\r\n");
    int64_t bytes = 0;
    if (length == NULL || length > end || strncmp(l->head, "HTTP/1.1 ", 9) != 0) {
        return false;
    }
    length += 17 + strspn(length + 17, " ");
    if (sella_parse_int(length, strcspn(length, "\r"), 0, INT64_MAX / 2, "length", &bytes, NULL) !=
        SELLA_OK) {
        return false;
    }
    l->status = (l->head[9] - '0') * 100 + (l->head[10] - '0') * 10 + (l->head[11] - '0');
    l->left = bytes - (int64_t)(l->used - (size_t)(end + 4 - l->head));
    return true;
}

/* True when the answer is whole. */
static bool go_on_reading(bench *b, wire *l)
{
    char scrap[65536];
    const bool in_head = l->left < 0;
    const ssize_t n = in_head ? recv(l->fd, l->head + l->used, HEAD - 1 - l->used, 0)
                              : recv(l->fd, scrap, sizeof scrap, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            lose(b, l);
        }
        return false;
    }
    if (in_head) {
        l->used += (size_t)n;
        l->head[l->used] = '\0';
        if (strstr(l->head, "\r\n\r\n") == NULL) {
            if (l->used == HEAD - 1) {
                lose(b, l);
            }
            return false;
        }
        if (!read_head(l)) {
            lose(b, l);
            return false;
        }
    } else {
        l->left -= n;
    }
    return l->left <= 0;
}

static sella_status finish(bench *b, wire *l, sella_err *err)
{
    const double now = sella_now();
    const bool last = strcasestr(l->head, "\r\nConnection: close") != NULL;
    sella_status status = SELLA_OK;
    l->phase = PHASE_IDLE;
    if (l->status < 200 || l->status > 299) {
        b->errors++;
    }
    SELLA_TRY(series_add(&b->latency, now - l->due, err));
    SELLA_TRY(series_add(&b->service, now - l->began, err));
    if (last) {
        lose(b, l);
    }
done:
    return status;
}

/* How many requests are due by now: request i of an open loop at start + i / rate, none after the
 * end. */
static int64_t due_by(const bench *b, double now)
{
    const double seconds = (now < b->end ? now : b->end) - b->start;
    return b->options->rate > 0 ? (int64_t)ceil(seconds * b->options->rate) : INT64_MAX;
}

/* Give idle connections what is due; returns seconds until something more is. */
static double hand_out(bench *b, double now)
{
    const double rate = b->options->rate;
    const int64_t due = due_by(b, now);
    for (int i = 0; i < b->options->connections && (rate > 0 || now < b->end); i++) {
        if (b->wire_n[i].phase == PHASE_IDLE && b->sent < due) {
            begin(b, &b->wire_n[i], rate > 0 ? b->start + (double)b->sent / rate : sella_now());
        }
    }
    const double next = rate > 0 ? b->start + (double)b->sent / rate : b->end;
    return next > now ? next - now : 0.001;
}

static sella_status turn(bench *b, double wait, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int n = b->options->connections;
    wait = wait < 0.1 ? wait : 0.1;
    const struct timespec limit = {.tv_nsec = (long)(wait * 1e9)};
    for (int i = 0; i < n; i++) {
        const wire *l = &b->wire_n[i];
        b->poll_n[i] = (struct pollfd){.fd = l->phase == PHASE_IDLE ? -1 : l->fd,
                                       .events = l->phase == PHASE_SENDING ? POLLOUT : POLLIN};
    }
    if (ppoll(b->poll_n, (nfds_t)n, &limit, NULL) < 0 && errno != EINTR) {
        return sella_err_errno(err, "the connections", "waited for", errno);
    }
    for (int i = 0; i < n; i++) {
        wire *l = &b->wire_n[i];
        if (b->poll_n[i].fd < 0 || b->poll_n[i].revents == 0) {
            continue;
        }
        if (l->phase == PHASE_SENDING) {
            go_on_sending(b, l);
        } else if (go_on_reading(b, l)) {
            SELLA_TRY(finish(b, l, err));
        }
    }
done:
    return status;
}

/* Is an answer still to come, or a request overdue? */
static bool unfinished(const bench *b)
{
    if (b->options->rate > 0 && b->sent < due_by(b, b->end)) {
        return true;
    }
    for (int i = 0; i < b->options->connections; i++) {
        if (b->wire_n[i].phase != PHASE_IDLE) {
            return true;
        }
    }
    return false;
}

static sella_status measure(bench *b, sella_err *err)
{
    const sella_serve_bench_options *o = b->options;
    sella_status status = SELLA_OK;
    for (int i = 0; i < o->connections; i++) {
        b->wire_n[i].fd = -1;
    }
    for (int i = 0; i < o->connections; i++) {
        if (!open_wire(b, &b->wire_n[i])) {
            SELLA_TRY(sella_err_errno(err, o->url, "connected to", errno));
        }
    }
    b->start = sella_now();
    b->end = b->start + o->seconds;
    for (double now = b->start;
         now < b->end || (unfinished(b) && now < b->end + o->seconds + PATIENCE);
         now = sella_now()) {
        if (sella_stop_wanted(o->talk)) {
            SELLA_TRY(sella_err_set(err, SELLA_INTERRUPTED, "interrupted"));
        }
        SELLA_TRY(turn(b, hand_out(b, now), err));
    }
    if (o->rate > 0 && b->sent < due_by(b, b->end)) {
        b->errors += due_by(b, b->end) - b->sent; // never sent: the server was too slow for them
    }
done:
    return status;
}

static sella_status check(const sella_serve_bench_options *o, sella_err *err)
{
    if (o->url == NULL || o->path == NULL || o->connections < 1 || o->connections > 10000 ||
        !(o->seconds > 0) || !(o->rate >= 0)) {
        return sella_err_set(err, SELLA_ARG,
                             "a bench needs a server's address, a path, 1 to 10000 connections, a "
                             "time above 0 and a rate of 0 or more");
    }
    if (o->candidates < 0 || o->candidates > 200 || (o->candidates > 0) != (o->user != NULL) ||
        (o->candidates > 0 && (o->body != NULL || o->user[0] == '\0'))) {
        return sella_err_set(err, SELLA_ARG,
                             "a bench of candidates needs their number, 1 to 200, a user, and no "
                             "body of a request");
    }
    return SELLA_OK;
}

sella_status sella_serve_bench(const sella_serve_bench_options *options, sella_serve_figures *out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    bench b = {.options = options};
    SELLA_TRY(check(options, err));
    SELLA_TRY(parse_url(options->url, &b, err));
    SELLA_TRY(make_request(&b, err));
    b.wire_n = sella_alloc((size_t)options->connections, sizeof *b.wire_n, "connections", err);
    b.poll_n = sella_alloc((size_t)options->connections, sizeof *b.poll_n, "connections", err);
    if (b.wire_n == NULL || b.poll_n == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(measure(&b, err));
    const double seconds = sella_now() - b.start;
    qsort(b.latency.value_n, b.latency.count, sizeof *b.latency.value_n, by_value);
    qsort(b.service.value_n, b.service.count, sizeof *b.service.value_n, by_value);
    *out = (sella_serve_figures){.seconds = seconds,
                                 .requests = (int64_t)b.latency.count,
                                 .errors = b.errors,
                                 .rate = (double)b.latency.count / seconds,
                                 .p50_ms = percentile(&b.latency, .5),
                                 .p90_ms = percentile(&b.latency, .9),
                                 .p99_ms = percentile(&b.latency, .99),
                                 .p999_ms = percentile(&b.latency, .999),
                                 .max_ms = percentile(&b.latency, 1),
                                 .titles = b.sets.titles,
                                 .warm_ms = b.sets.count > 0 ? b.sets.warm_ms : NAN,
                                 .service_p50_ms = percentile(&b.service, .5),
                                 .service_p99_ms = percentile(&b.service, .99)};
done:
    for (int i = 0; b.wire_n != NULL && i < options->connections; i++) {
        if (b.wire_n[i].fd > 0) {
            close(b.wire_n[i].fd);
        }
    }
    free(b.wire_n);
    free(b.poll_n);
    free(b.latency.value_n);
    free(b.service.value_n);
    sella_text_release(&b.request);
    sella_bench_sets_release(&b.sets);
    return status;
}
