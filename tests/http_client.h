/* http_client.h - a small HTTP/1.1 client for the tests of serve: plain sockets, nothing of the
 * code under test.
 *
 * Does:     http_ask(port, "POST", "/v1/score", headers, body) -> status, headers, body; http_open,
 *           http_send, http_read for anything stranger.
 * Memory:   http_reply_release. Include after <cmocka.h>. */
#ifndef SELLA_TESTS_HTTP_CLIENT_H
#define SELLA_TESTS_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

typedef struct http_reply {
    int status;      /* 0: no answer */
    char head[4096]; /* status line and headers */
    char *body;      /* zero-terminated */
    size_t bytes;
    json_t *json;    /* of the body, or NULL; of JSON lines: the last one */
} http_reply;

static inline void http_reply_release(http_reply *reply)
{
    free(reply->body);
    json_decref(reply->json);
    memset(reply, 0, sizeof *reply);
}

/* A connection with a time limit on reading; -1 when refused. */
static inline int http_open(int port, int seconds)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = seconds};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline bool http_send(int fd, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = send(fd, (const char *)data + done, bytes - done, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

static inline bool http_send_text(int fd, const char *text)
{
    return http_send(fd, text, strlen(text));
}

/* The value of a header into out; false when it is not there. */
static inline bool http_header(const http_reply *reply, const char *name, char *out, size_t room)
{
    const size_t bytes = strlen(name);
    for (const char *line = reply->head; (line = strstr(line, "\r\n")) != NULL;) {
        line += 2;
        if (strncasecmp(line, name, bytes) == 0 && line[bytes] == ':') {
            const char *value = line + bytes + 1 + strspn(line + bytes + 1, " ");
            snprintf(out, room, "%.*s", (int)strcspn(value, "\r\n"), value);
            return true;
        }
    }
    return false;
}

/* Status line and headers; false when the connection ended or the time was over before they were
 * whole. Sets no status. */
static inline bool http_read_head(int fd, http_reply *out)
{
    size_t used = 0;
    memset(out, 0, sizeof *out);
    /* byte by byte: nothing of a next reply is taken */
    while (strstr(out->head, "\r\n\r\n") == NULL) {
        if (used + 1 >= sizeof out->head || recv(fd, out->head + used, 1, 0) != 1) {
            return false;
        }
        out->head[++used] = '\0';
    }
    return true;
}

/* Append `want` bytes to the body. */
static inline bool http_read_bytes(int fd, size_t want, http_reply *out)
{
    out->body = realloc(out->body, out->bytes + want + 1);
    for (const size_t end = out->bytes + want; out->bytes < end;) {
        ssize_t n = recv(fd, out->body + out->bytes, end - out->bytes, 0);
        if (n <= 0) {
            break;
        }
        out->bytes += (size_t)n;
        want -= (size_t)n;
    }
    out->body[out->bytes] = '\0';
    return want == 0;
}

/* Append the next chunk of a chunked body. Returns: its bytes, 0 for the last one; -1 when it is
 * broken off. */
static inline long http_read_chunk(int fd, http_reply *out)
{
    char size[32] = "", end[2];
    for (size_t used = 0; used < sizeof size - 1 && strstr(size, "\r\n") == NULL;) {
        if (recv(fd, size + used++, 1, 0) != 1) {
            return -1;
        }
    }
    const long bytes = strtol(size, NULL, 16);
    if (!http_read_bytes(fd, (size_t)bytes, out) || recv(fd, end, 2, MSG_WAITALL) != 2 ||
        memcmp(end, "\r\n", 2) != 0) {
        return -1;
    }
    return bytes;
}

/* The last of the body's JSON lines; NULL when one of them is no JSON. */
static inline json_t *http_last_line(const http_reply *reply)
{
    json_t *last = NULL;
    for (const char *at = reply->body; at != NULL && *at != '\0';) {
        const size_t bytes = strcspn(at, "\n");
        json_decref(last);
        last = at[bytes] == '\n' ? json_loadb(at, bytes, 0, NULL) : NULL;
        if (last == NULL) {
            return NULL;
        }
        at += bytes + 1;
    }
    return last;
}

/* Read one reply; status 0 when the connection ended or the time was over before it was whole.
 * no_body: to a HEAD. */
static inline void http_read(int fd, bool no_body, http_reply *out)
{
    char value[64];
    long chunk = 0;
    if (!http_read_head(fd, out)) {
        return;
    }
    if (http_header(out, "Transfer-Encoding", value, sizeof value)) {
        while (!no_body && (chunk = http_read_chunk(fd, out)) > 0) {
        }
    } else if (!http_read_bytes(fd,
                                !no_body && http_header(out, "Content-Length", value, sizeof value)
                                    ? strtoul(value, NULL, 10)
                                    : 0,
                                out)) {
        return;
    }
    if (chunk < 0) {
        return;
    }
    out->status = (int)strtol(out->head + 9, NULL, 10);
    const bool lines = http_header(out, "Content-Type", value, sizeof value) &&
                       strcmp(value, "application/x-ndjson") == 0;
    out->json = lines ? http_last_line(out) : json_loads(out->body, 0, NULL);
}

/* headers: lines ended by \r\n, or "". */
static inline bool http_write(int fd, const char *method, const char *target, const char *headers,
                              const char *body)
{
    static _Thread_local char head[32768];
    const size_t bytes = body != NULL ? strlen(body) : 0;
    int n =
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, target, headers);
    n += body != NULL
             ? snprintf(head + n, sizeof head - (size_t)n,
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", bytes)
             : snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    return http_send(fd, head, (size_t)n) && http_send(fd, body != NULL ? body : "", bytes);
}

static inline void http_ask_with(int port, const char *method, const char *target,
                                 const char *headers, const char *body, http_reply *out)
{
    int fd = http_open(port, 20);
    memset(out, 0, sizeof *out);
    if (fd >= 0) {
        if (http_write(fd, method, target, headers, body)) {
            http_read(fd, strcmp(method, "HEAD") == 0, out);
        }
        close(fd);
    }
}

static inline void http_ask(int port, const char *method, const char *target, const char *body,
                            http_reply *out)
{
    http_ask_with(port, method, target, "", body, out);
}

/* A number of /metrics: the one behind `series`, its name and labels with a blank behind them; -1
 * when it is not there. */
static inline double http_metric(int port, const char *series)
{
    http_reply reply;
    http_ask(port, "GET", "/metrics", NULL, &reply);
    const char *at = reply.body != NULL ? strstr(reply.body, series) : NULL;
    const double value = at != NULL ? strtod(at + strlen(series), NULL) : -1;
    http_reply_release(&reply);
    return value;
}

/* An RFC 9457 document with this status, its detail in out->json. */
static inline void http_expect_problem(const http_reply *reply, int status)
{
    char type[64] = "";
    if (reply->status != status) {
        fail_msg("status %d, expected %d: %s%s", reply->status, status, reply->head,
                 reply->body != NULL ? reply->body : "");
    }
    assert_true(http_header(reply, "Content-Type", type, sizeof type));
    assert_string_equal(type, "application/problem+json");
    assert_int_equal(json_integer_value(json_object_get(reply->json, "status")), status);
    assert_true(json_is_string(json_object_get(reply->json, "title")));
    assert_true(json_string_length(json_object_get(reply->json, "detail")) > 0);
    assert_string_equal(json_string_value(json_object_get(reply->json, "type")), "about:blank");
}

#endif
