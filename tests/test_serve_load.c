/* test_serve_load.c - a server under mixed load: 64 connections, valid, malformed, slow,
 * half-closed and abandoned requests, reloads meanwhile. A few seconds; under SELLA_FULL=1 five
 * minutes, with sanitizers one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "fuzz/mutate.h"
#include "serve_fixture.h"

enum { CLIENTS = 64, CODES = 600 };

typedef struct load {
    const serve_fixture *serve;
    double until;
    bool strict;           /* valid requests must be answered with 200 */
    atomic_int count[CODES]; /* answers by status; 0: none came */
    atomic_int wrong;      /* answers that must not be */
    char what[1024];       /* the first of them */
    pthread_mutex_t lock;
} load;

typedef struct client {
    load *of;
    unsigned int state;
} client;

static unsigned int draw(client *c, unsigned int n)
{
    c->state = c->state * 1664525u + 1013904223u;
    return (c->state >> 8) % n;
}

typedef struct kind {
    const char *method, *target, *body;
    int status; /* expected; 0: any documented one */
    const char *headers; /* NULL: none */
} kind;

#define LINES "Accept: application/x-ndjson\r\n"

static const kind kinds[] = {
    {"GET", "/health", NULL, 200, NULL},
    {"GET", "/ready", NULL, 200, NULL},
    {"GET", "/v1/model", NULL, 200, NULL},
    {"GET", "/v1/items?query=a", NULL, 200, NULL},
    {"GET", "/v1/users/u2", NULL, 200, NULL},
    {"POST", "/v1/score", "{\"user\":\"u1\",\"items\":[1,2,3,4,5]}", 200, NULL},
    {"POST", "/v1/score", "{\"history\":[1,\"Beta (1991)\"],\"items\":[5]}", 200, NULL},
    {"POST", "/v1/recommend", "{\"user\":\"u2\",\"k\":5}", 200, NULL},
    {"POST", "/v1/recommend", "{\"user\":\"unseen\",\"k\":2}", 200, NULL},
    {"POST", "/v1/recommend", "{\"user\":\"u3\",\"k\":3,\"explain\":true}", 200, LINES},
    {"POST", "/v1/recommend", "{\"history\":[2],\"k\":2}", 200, LINES},
    {"POST", "/v1/recommend", "{\"user\":\"u1\",\"candidates\":[77]}", 422, LINES},
    {"POST", "/v1/explain", "{\"user\":\"u1\",\"item\":2}", 200, NULL},
    {"POST", "/v1/explain", "{\"user\":\"u1\",\"item\":77}", 422, NULL},
    {"GET", "/v1/items?id=1&id=77", NULL, 200, NULL},
    {"POST", "/v1/feedback",
     "{\"user\":\"load\",\"item\":1,\"label\":1,\"time\":5,\"id\":\"once\"}", 200, NULL},
    {"POST", "/v1/score", "{\"user\":\"u1\",\"items\":[1,2,3", 400, NULL},
    {"POST", "/v1/score", "{\"user\":\"u1\",\"items\":[77]}", 422, NULL},
    {"POST", "/v1/recommend", "{\"user\":\"u1\",\"k\":-1}", 400, NULL},
    {"POST", "/v1/feedback", "[{\"user\":1}]", 400, NULL},
    {"GET", "/v1/items", NULL, 400, NULL},
    {"GET", "/%zz", NULL, 400, NULL},
    {"GET", "/v1/none", NULL, 404, NULL},
    {"PUT", "/v1/score", "{}", 405, NULL},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void note(load *of, const kind *k, const http_reply *reply)
{
    static const int documented[] = {200, 400, 404, 405, 422, 503};
    bool right = false;
    for (size_t i = 0; i < sizeof documented / sizeof *documented; i++) {
        right = right || reply->status == documented[i];
    }
    right = right && reply->json != NULL &&
            (reply->status == k->status || (reply->status == 503 && !of->strict));
    if (reply->status == 503) {
        char after[16];
        right = right && http_header(reply, "Retry-After", after, sizeof after);
    }
    if (!right) {
        pthread_mutex_lock(&of->lock);
        if (atomic_fetch_add(&of->wrong, 1) == 0) {
            snprintf(of->what, sizeof of->what, "%s %s: %.200s %.400s", k->method, k->target,
                     reply->head, reply->body != NULL ? reply->body : "no answer");
        }
        pthread_mutex_unlock(&of->lock);
    }
    atomic_fetch_add(&of->count[reply->status >= 0 && reply->status < CODES ? reply->status : 0],
                     1);
}

/* Send a request in bits, with pauses. */
static bool write_slowly(client *c, int fd, const char *text)
{
    const size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes;) {
        size_t n = 1 + draw(c, 40);
        n = n < bytes - at ? n : bytes - at;
        if (!http_send(fd, text + at, n)) {
            return false;
        }
        at += n;
        usleep(draw(c, 3000));
    }
    return true;
}

static void text_of(const kind *k, char *out, size_t room)
{
    if (k->body != NULL) {
        snprintf(out, room,
                 "%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\nContent-Length: "
                 "%zu\r\n\r\n%s",
                 k->method, k->target, k->headers != NULL ? k->headers : "", strlen(k->body),
                 k->body);
    } else {
        snprintf(out, room, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", k->method, k->target);
    }
}

/* One request on a connection of its own that is not as it should be. */
static void misbehave(client *c, const kind *k)
{
    char text[1024];
    http_reply reply = {0};
    int fd = http_open(c->of->serve->port, 20);
    if (fd < 0) {
        return;
    }
    text_of(k, text, sizeof text);
    switch (draw(c, 5)) {
    case 0: // slow
        if (write_slowly(c, fd, text)) {
            http_read(fd, false, &reply);
            note(c->of, k, &reply);
        }
        break;
    case 1: // half-closed: an answer or none
        if (http_send(fd, text, strlen(text)) && shutdown(fd, SHUT_WR) == 0) {
            http_read(fd, false, &reply);
            if (reply.status != 0) {
                note(c->of, k, &reply);
            }
        }
        break;
    case 2: // cut off
        http_send(fd, text, draw(c, (unsigned int)strlen(text)));
        break;
    case 3: // not waiting for the answer
        http_send(fd, text, strlen(text));
        break;
    default: // no HTTP at all
        http_send_text(fd, "\x16\x03\x01 nonsense\r\n\r\n\r\n");
        http_read(fd, false, &reply);
        break;
    }
    http_reply_release(&reply);
    close(fd);
}

static void *one_client(void *user)
{
    client *c = user;
    int fd = -1;
    double used = 0;
    while (sella_now() < c->of->until) {
        const kind *k = &kinds[draw(c, KINDS)];
        if (draw(c, 6) == 0) {
            misbehave(c, k);
            continue;
        }
        /* the server may close what is idle for its 30 s, just when a request comes */
        if (fd >= 0 && sella_now() - used > 5) {
            close(fd);
            fd = -1;
        }
        if (fd < 0) {
            fd = http_open(c->of->serve->port, 20);
        }
        used = sella_now();
        http_reply reply = {0};
        if (fd >= 0 &&
            http_write(fd, k->method, k->target, k->headers != NULL ? k->headers : "", k->body)) {
            http_read(fd, false, &reply);
            note(c->of, k, &reply);
        }
        if (fd >= 0 &&
            (reply.status == 0 || strstr(reply.head, "close") != NULL || draw(c, 50) == 0)) {
            close(fd);
            fd = -1;
        }
        http_reply_release(&reply);
    }
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

static double resident_mb(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return (double)resident * 4096 / 1048576;
}

static void run_load(serve_fixture *f, double seconds, bool strict, bool reload, load *of)
{
    pthread_t thread[CLIENTS];
    client client_n[CLIENTS];
    memset(of, 0, sizeof *of);
    of->serve = f;
    of->strict = strict;
    of->until = sella_now() + seconds;
    pthread_mutex_init(&of->lock, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        client_n[i] = (client){.of = of, .state = (unsigned int)(i * 7919 + 1)};
        assert_int_equal(pthread_create(&thread[i], NULL, one_client, &client_n[i]), 0);
    }
    while (reload && sella_now() < of->until) {
        sella_err err = {0};
        if (sella_serve_reload(f->server, &err) != SELLA_OK) {
            fail_msg("%s", err.text);
        }
        usleep(200000);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(thread[i], NULL);
    }
    pthread_mutex_destroy(&of->lock);
    if (atomic_load(&of->wrong) > 0) {
        fail_msg("%d wrong answers, the first: %s", atomic_load(&of->wrong), of->what);
    }
    assert_true(atomic_load(&of->count[200]) > 100);
}

static void stands_mixed_load(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const double seconds = scratch_full() ? 60 : 2.5;
#else
    const double seconds = scratch_full() ? 300 : 2.5;
#endif
    load *of = malloc(sizeof *of);
    serve_fixture *f = serve_make();
    serve_start(f, (sella_serve_options){0});
    run_load(f, seconds / 3, true, true, of);
    const double before = resident_mb();
    run_load(f, seconds, true, true, of);
    const double after = resident_mb();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (after > before + 16) {
        fail_msg("memory grew from %.1f to %.1f MB", before, after);
    }
#endif
    assert_true(after > 0 && before > 0);
    assert_true(http_metric(f->port, "\nsella_queue_depth ") == 0);
    for (int i = 0; i < 40 && http_metric(f->port, "\nsella_connections ") > 1; i++) {
        usleep(50000);
    }
    /* this one: closed ones are noticed, whatever they left unsaid */
    assert_true(http_metric(f->port, "\nsella_connections ") == 1);
    assert_true(http_metric(f->port, "\nsella_requests_under_way ") == 1);
    assert_true(http_metric(f->port, "\nsella_reloads_total ") >= 2);
    /* its id was sent many times */
    assert_true(http_metric(f->port, "\nsella_feedback_stored_total ") == 1);
    serve_remove(f);
    free(of);
}

/* A queue of one: requests are turned away with 503 and Retry-After, all are answered. */
static void turns_away_what_is_too_much(void **state)
{
    (void)state;
    load *of = malloc(sizeof *of);
    serve_fixture *f = serve_make();
    serve_start(f, (sella_serve_options){.queue = 1});
    run_load(f, scratch_full() ? 20 : 1, false, false, of);
    assert_true(atomic_load(&of->count[503]) > 0);
    assert_true(http_metric(f->port, "\nsella_queue_depth ") == 0);
    serve_remove(f);
    free(of);
}

typedef struct late {
    int fd;
    int status;
} late;

static void *finish_late(void *user)
{
    late *l = user;
    http_reply reply;
    usleep(150000);
    http_send_text(l->fd, "1,2]}");
    http_read(l->fd, false, &reply);
    l->status = reply.status;
    http_reply_release(&reply);
    return NULL;
}

static void finishes_what_it_accepted(void **state)
{
    (void)state;
    static const char begun[] =
        "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
        "27\r\n\r\n{\"user\":\"u1\",\"items\":[";
    enum { LATE = 8 };
    late late_n[LATE];
    pthread_t thread[LATE];
    serve_fixture *f = serve_make();
    serve_start(f, (sella_serve_options){.timeout = 10});
    for (int i = 0; i < LATE; i++) {
        late_n[i].fd = http_open(f->port, 10);
        assert_true(http_send(late_n[i].fd, begun, sizeof begun - 1));
        assert_int_equal(pthread_create(&thread[i], NULL, finish_late, &late_n[i]), 0);
    }
    while (http_metric(f->port, "\nsella_requests_under_way ") < LATE + 1) {
        usleep(1000);
    }
    const int port = f->port;
    serve_stop(f); // returns when all are answered
    for (int i = 0; i < LATE; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(late_n[i].status, 200);
        close(late_n[i].fd);
    }
    assert_int_equal(http_open(port, 1), -1);
    serve_remove(f);
}

/* Who sends a byte now and then does not hold a connection for ever. */
static void closes_what_is_too_slow(void **state)
{
    (void)state;
    serve_fixture *f = serve_make();
    char byte;
    serve_start(f, (sella_serve_options){.timeout = 1});
    const int silent = http_open(f->port, 10), dripping = http_open(f->port, 10),
              endless = http_open(f->port, 10);
    assert_true(http_send_text(endless, "GET /health HTTP/1.1\r\nX-A: ")); // a head that never ends
    assert_true(http_send_text(dripping, "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: "
                                         "application/json\r\nContent-Length: 900\r\n\r\n"));
    const double start = sella_now();
    bool open = true;
    while (open && sella_now() - start < 8) {
        usleep(200000);
        open = http_send_text(dripping, " ") && recv(dripping, &byte, 1, MSG_DONTWAIT) != 0;
    }
    assert_false(open);
    for (open = true; open && sella_now() - start < 8;) {
        usleep(200000);
        open = http_send(endless, "a", 1) && recv(endless, &byte, 1, MSG_DONTWAIT) != 0;
    }
    assert_false(open);
    close(endless);
    assert_int_equal(recv(silent, &byte, 1, 0), 0);
    close(silent);
    close(dripping);
    serve_remove(f);
}

static void send_mutated(const uint8_t *data, size_t bytes, void *user)
{
    const serve_fixture *f = user;
    http_reply reply = {0};
    int fd = http_open(f->port, 20);
    assert_true(fd >= 0);
    if (http_send(fd, data, bytes) && shutdown(fd, SHUT_WR) == 0) {
        http_read(fd, bytes > 4 && memcmp(data, "HEAD", 4) == 0, &reply);
    }
    /* 505: another version of HTTP, said by the HTTP library */
    if (reply.status >= 500 && reply.status != 505) {
        fail_msg("%.*s\n-> %s%s", (int)bytes, (const char *)data, reply.head,
                 reply.body != NULL ? reply.body : "");
    }
    http_reply_release(&reply);
    close(fd);
}

/* Damaged request lines, headers and bodies of every route: answered without a failure of the
 * server, or closed. */
static void takes_mutated_requests(void **state)
{
    (void)state;
    serve_fixture *f = serve_make();
    http_reply reply;
    serve_start(f, (sella_serve_options){0});
    for (int k = 0; k < KINDS; k++) {
        char text[1024];
        text_of(&kinds[k], text, sizeof text);
        mutate_run(text, strlen(text), mutate_rounds(40, 5000), send_mutated, f);
    }
    http_ask(f->port, "POST", "/v1/score", "{\"user\":\"u1\",\"items\":[1]}", &reply);
    assert_int_equal(reply.status, 200);
    http_reply_release(&reply);
    serve_remove(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stands_mixed_load),
        cmocka_unit_test(turns_away_what_is_too_much),
        cmocka_unit_test(finishes_what_it_accepted),
        cmocka_unit_test(closes_what_is_too_slow),
        cmocka_unit_test(takes_mutated_requests),
    };
    scratch_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
