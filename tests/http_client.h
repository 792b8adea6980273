/* http_client.h - a small HTTP/1.1 client for the tests of serve: plain sockets, nothing of the code under test.
 *
 * Does:     http_ask(port, "POST", "/v1/score", headers, body) -> status, headers, body; http_open, http_send, http_read for anything stranger.
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
    json_t *json;    /* of the body, or NULL */
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

/* Read one reply; status 0 when the connection ended or the time was over before it was whole. no_body: to a HEAD. */
static inline void http_read(int fd, bool no_body, http_reply *out)
{
    size_t used = 0, want = 0;
    char length[32];
    memset(out, 0, sizeof *out);
    while (strstr(out->head, "\r\n\r\n") == NULL) { // byte by byte: nothing of a next reply is taken
        if (used + 1 >= sizeof out->head || recv(fd, out->head + used, 1, 0) != 1) {
            return;
        }
        out->head[++used] = '\0';
    }
    if (http_header(out, "Content-Length", length, sizeof length)) {
        want = no_body ? 0 : strtoul(length, NULL, 10);
    }
    out->body = calloc(want + 1, 1);
    while (out->bytes < want) {
        ssize_t n = recv(fd, out->body + out->bytes, want - out->bytes, 0);
        if (n <= 0) {
            return;
        }
        out->bytes += (size_t)n;
    }
    out->status = (int)strtol(out->head + 9, NULL, 10);
    out->json = json_loads(out->body, 0, NULL);
}

/* headers: lines ended by \r\n, or "". */
static inline bool http_write(int fd, const char *method, const char *target, const char *headers, const char *body)
{
    char head[4096];
    const size_t bytes = body != NULL ? strlen(body) : 0;
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, target, headers);
    n += body != NULL ? snprintf(head + n, sizeof head - (size_t)n, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", bytes)
                      : snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    return http_send(fd, head, (size_t)n) && http_send(fd, body != NULL ? body : "", bytes);
}

static inline void http_ask_with(int port, const char *method, const char *target, const char *headers, const char *body, http_reply *out)
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

static inline void http_ask(int port, const char *method, const char *target, const char *body, http_reply *out)
{
    http_ask_with(port, method, target, "", body, out);
}

/* An RFC 9457 document with this status, its detail in out->json. */
static inline void http_expect_problem(const http_reply *reply, int status)
{
    char type[64] = "";
    if (reply->status != status) {
        fail_msg("status %d, expected %d: %s%s", reply->status, status, reply->head, reply->body != NULL ? reply->body : "");
    }
    assert_true(http_header(reply, "Content-Type", type, sizeof type));
    assert_string_equal(type, "application/problem+json");
    assert_int_equal(json_integer_value(json_object_get(reply->json, "status")), status);
    assert_true(json_is_string(json_object_get(reply->json, "title")));
    assert_true(json_string_length(json_object_get(reply->json, "detail")) > 0);
    assert_string_equal(json_string_value(json_object_get(reply->json, "type")), "about:blank");
}

#endif
