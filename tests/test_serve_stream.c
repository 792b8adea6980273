/* test_serve_stream.c - recommendations as JSON lines: what arrives and when, and clients that
 * leave, do not read, or come all at once. The model is tests/ref/tiny_llama. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>

#include "serve/stream.h"
#include "serve_model_fixture.h"

enum { ITEMS = 1500, USERS = 8, CLIENTS = 64, TRIES = 20 };
#define LINES "Accept: application/x-ndjson\r\n"

static int setup(void **state)
{
    const fixture_shape shape = {
        .users = USERS, .items = ITEMS, .train = 60, .valid = 20, .seed = 5};
    served *f = served_make(&shape);
    served_start(f, (sella_serve_options){.weights = "stored"});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    served_remove(*state);
    return 0;
}

static void knows_who_wants_lines(void **state)
{
    static const struct {
        const char *accept;
        bool lines;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"*/*", false},
        {"application/json", false},
        {"application/x-ndjson", true},
        {"Application/X-NDJSON ; q=0.5", true},
        {"text/html,application/x-ndjson;q=0.1", true},
        {"application/json, application/x-ndjson", true},
        {"application/json;q=0.4, application/x-ndjson;q=0.5", true},
        {"application/json, application/x-ndjson;q=0.5", false},
        {"application/x-ndjson;q=0", false},
        {"application/x-ndjsons", false},
        {"application/x-ndjson;q=nan", false},
        {",,;q=,application/x-ndjson;q=", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (sella_stream_asked(cases[i].accept) != cases[i].lines) {
            fail_msg("'%s'", cases[i].accept);
        }
    }
}

/* Lines of a streamed answer as an array; the body must be made of whole ones. */
static json_t *lines_of(const http_reply *reply)
{
    json_t *lines = json_array();
    for (const char *at = reply->body; *at != '\0';) {
        const size_t bytes = strcspn(at, "\n");
        json_t *line = json_loadb(at, bytes, 0, NULL);
        if (line == NULL || at[bytes] != '\n') {
            fail_msg("'%.*s' is no line of JSON", (int)bytes, at);
        }
        json_array_append_new(lines, line);
        at += bytes + 1;
    }
    return lines;
}

static const char *event_of(const json_t *line)
{
    const char *event = json_string_value(json_object_get(line, "event"));
    return event != NULL ? event : "";
}

/* Items [i].item equal, scores within rounding. */
static void expect_same(const json_t *a, const json_t *b)
{
    assert_int_equal(json_array_size(a), json_array_size(b));
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *one = json_array_get(a, i), *other = json_array_get(b, i);
        assert_string_equal(json_string_value(json_object_get(one, "item")),
                            json_string_value(json_object_get(other, "item")));
        assert_true(json_equal(json_object_get(one, "title"), json_object_get(other, "title")));
        assert_true(
            json_equal(json_object_get(one, "rescored"), json_object_get(other, "rescored")));
        assert_true(fabs(json_number_value(json_object_get(one, "score")) -
                         json_number_value(json_object_get(other, "score"))) < 1e-5);
        assert_true(
            json_equal(json_object_get(one, "retrieved"), json_object_get(other, "retrieved")));
    }
}

static void streams_what_it_answers(void **state)
{
    const served *f = *state;
    static const char body[] = "{\"user\":\"u1\",\"k\":10,\"retrieve_k\":40}";
    char type[64];
    http_reply plain, reply;
    http_ask(f->port, "POST", "/v1/recommend", body, &plain);
    http_ask_with(f->port, "POST", "/v1/recommend", LINES, body, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(http_header(&reply, "Content-Type", type, sizeof type));
    assert_string_equal(type, "application/x-ndjson");
    json_t *lines = lines_of(&reply);
    const size_t count = json_array_size(lines);
    assert_int_equal(count, 1 + 5 + 1); // 40 candidates, eight at a time
    const json_t *first = json_array_get(lines, 0), *last = json_array_get(lines, count - 1);
    assert_string_equal(event_of(first), "retrieved");
    assert_int_equal(json_array_size(json_object_get(first, "items")), 10);
    for (size_t i = 0; i < 10; i++) {
        const json_t *entry = json_array_get(json_object_get(first, "items"), i);
        assert_true(json_is_false(json_object_get(entry, "rescored")));
        assert_true(
            json_equal(json_object_get(entry, "score"), json_object_get(entry, "retrieved")));
    }
    json_t *rescored = json_object(); // item: score
    for (size_t n = 1; n + 1 < count; n++) {
        const json_t *line = json_array_get(lines, n), *items = json_object_get(line, "items");
        assert_string_equal(event_of(line), "rescored");
        for (size_t i = 0; i < json_array_size(items); i++) {
            const json_t *entry = json_array_get(items, i);
            assert_true(json_is_true(json_object_get(entry, "rescored")));
            json_object_set(rescored, json_string_value(json_object_get(entry, "item")),
                            json_object_get(entry, "score"));
        }
    }
    assert_int_equal(json_object_size(rescored), 40);
    assert_string_equal(event_of(last), "answer");
    assert_true(json_equal(json_object_get(last, "user"), json_object_get(plain.json, "user")));
    expect_same(json_object_get(last, "items"), json_object_get(plain.json, "items"));
    for (size_t i = 0; i < 10; i++) { // what came on the way is what the answer says
        const json_t *entry = json_array_get(json_object_get(last, "items"), i);
        assert_true(json_equal(
            json_object_get(entry, "score"),
            json_object_get(rescored, json_string_value(json_object_get(entry, "item")))));
    }
    json_decref(rescored);
    json_decref(lines);
    http_reply_release(&plain);
    http_reply_release(&reply);
}

static void streams_reasons_last(void **state)
{
    const served *f = *state;
    http_reply reply;
    http_ask_with(f->port, "POST", "/v1/recommend", LINES,
                  "{\"history\":[\"i3\",\"i4\"],\"k\":2,\"retrieve_k\":2,\"explain\":true}",
                  &reply);
    assert_int_equal(reply.status, 200);
    const json_t *items = json_object_get(reply.json, "items");
    assert_string_equal(event_of(reply.json), "answer");
    assert_int_equal(json_array_size(items), 2);
    assert_int_equal(json_array_size(json_object_get(
                         json_object_get(json_array_get(items, 1), "why"), "without")),
                     2);
    http_reply_release(&reply);
}

/* A time that is over leaves the first step's list; one that is short holds. */
static void keeps_the_time_limit(void **state)
{
    const served *f = *state;
    http_reply reply;
    http_ask_with(f->port, "POST", "/v1/recommend", LINES,
                  "{\"user\":\"u2\",\"k\":5,\"budget_ms\":0.001}", &reply);
    json_t *lines = lines_of(&reply);
    assert_int_equal(json_array_size(lines), 2);
    assert_true(json_equal(json_object_get(json_array_get(lines, 0), "items"),
                           json_object_get(json_array_get(lines, 1), "items")));
    json_decref(lines);
    http_reply_release(&reply);
    const double start = sella_now();
    http_ask_with(f->port, "POST", "/v1/recommend", LINES,
                  "{\"user\":\"u2\",\"k\":1500,\"budget_ms\":20}", &reply);
    assert_true(sella_now() - start < 2);
    size_t rescored = 0;
    const json_t *items = json_object_get(reply.json, "items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const bool is = json_is_true(json_object_get(json_array_get(items, i), "rescored"));
        assert_true(!is || rescored == i);
        rescored += is;
    }
    assert_true(rescored < json_array_size(items));
    http_reply_release(&reply);
}

/* Nothing has been said yet: a problem document with its own status. */
static void refuses_before_the_head(void **state)
{
    const served *f = *state;
    static const struct {
        const char *body;
        int status;
    } cases[] = {{"{\"user\":\"u1\",\"k\":0}", 400},
                 {"{\"user\":\"u1\",\"candidates\":[\"none\"]}", 422},
                 {"{\"user\":", 400},
                 {"{\"history\":[\"none\"]}", 422}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_reply reply;
        http_ask_with(f->port, "POST", "/v1/recommend", LINES, cases[i].body, &reply);
        http_expect_problem(&reply, cases[i].status);
        http_reply_release(&reply);
    }
}

static int begin(const served *f, const char *body, int seconds)
{
    const int fd = http_open(f->port, seconds);
    assert_true(fd >= 0);
    assert_true(http_write(fd, "POST", "/v1/recommend", LINES, body));
    return fd;
}

/* Whoever leaves after the first line stops the work: not everything is rescored. reset: with a
 * reset instead of a closed connection. */
static void expect_stop(const served *f, bool reset)
{
    int stopped = 0;
    /* now and then all is done before the server hears of it */
    for (int i = 0; i < TRIES && stopped == 0; i++) {
        http_reply reply;
        const double before = http_metric(f->port, "\nsella_model_rows_total ");
        const int fd = begin(f, "{\"user\":\"u3\",\"k\":5,\"retrieve_k\":1500}", 20);
        assert_true(http_read_head(fd, &reply));
        assert_true(http_read_chunk(fd, &reply) > 0);
        if (reset) {
            const struct linger now = {.l_onoff = 1, .l_linger = 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        close(fd);
        http_reply_release(&reply);
        served_wait(f);
        stopped += http_metric(f->port, "\nsella_model_rows_total ") - before < ITEMS - 200;
    }
    assert_true(stopped > 0);
}

static void stops_when_the_client_leaves(void **state)
{
    const served *f = *state;
    assert_true(http_metric(f->port, "\nsella_model_rows_total ") >= 0);
    expect_stop(f, true);
    expect_stop(f, false);
    assert_true(
        http_metric(f->port,
                    "\nsella_requests_total{route=\"/v1/recommend\",code=\"closed\"} ") > 0);
}

/* Who does not read its stream keeps nobody waiting, and is closed when the connection's time is
 * over. */
static void waits_for_no_reader(void **state)
{
    const served *f = *state;
    enum { SLOW = 4 };
    int fd_n[SLOW];
    char byte;
    const int small = 2048;
    for (int i = 0; i < SLOW; i++) {
        fd_n[i] = http_open(f->port, 20);
        if (i > 0) { // these fill up at once
            setsockopt(fd_n[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        }
        assert_true(http_write(fd_n[i], "POST", "/v1/recommend", LINES,
                               "{\"user\":\"u4\",\"k\":1500,\"include_seen\":true}"));
    }
    for (int i = 0; i < 3; i++) {
        http_reply reply;
        http_ask(f->port, "POST", "/v1/recommend", "{\"user\":\"u5\",\"k\":5}", &reply);
        assert_int_equal(reply.status, 200);
        http_reply_release(&reply);
    }
    http_reply late;
    http_read(fd_n[0], false, &late); // slow, but in the end it reads
    assert_int_equal(late.status, 200);
    assert_int_equal(json_array_size(json_object_get(late.json, "items")), ITEMS);
    http_reply_release(&late);
    assert_int_equal(recv(fd_n[1], &byte, 1, 0), 1);
    for (int i = 0; i < SLOW; i++) {
        close(fd_n[i]);
    }
    served_wait(f);
}

typedef struct asker {
    const served *f;
    int number, wrong;
    const json_t *want_u; /* [USERS] plain answers' items */
} asker;

static void *ask_lines(void *user)
{
    asker *a = user;
    char body[64];
    http_reply reply;
    snprintf(body, sizeof body, "{\"user\":\"u%d\",\"k\":10}", a->number % USERS);
    if (a->number % 5 == 4) { // some leave at once
        const int fd = http_open(a->f->port, 20);
        http_write(fd, "POST", "/v1/recommend", LINES, body);
        close(fd);
        return NULL;
    }
    http_ask_with(a->f->port, "POST", "/v1/recommend", LINES, body, &reply);
    const json_t *items = json_object_get(reply.json, "items"),
                 *want = json_array_get(a->want_u, (size_t)(a->number % USERS));
    a->wrong = reply.status != 200 || strcmp(event_of(reply.json), "answer") != 0 ||
               json_array_size(items) != json_array_size(want);
    for (size_t i = 0; i < json_array_size(items) && !a->wrong; i++) {
        a->wrong =
            fabs(json_number_value(json_object_get(json_array_get(items, i), "score")) -
                 json_number_value(json_object_get(json_array_get(want, i), "score"))) > 1e-5;
    }
    http_reply_release(&reply);
    return NULL;
}

static void streams_to_many_at_once(void **state)
{
    const served *f = *state;
    pthread_t thread[CLIENTS];
    asker asker_n[CLIENTS];
    json_t *want = json_array();
    for (int u = 0; u < USERS; u++) {
        char body[64];
        http_reply reply;
        snprintf(body, sizeof body, "{\"user\":\"u%d\",\"k\":10}", u);
        http_ask(f->port, "POST", "/v1/recommend", body, &reply);
        assert_int_equal(reply.status, 200);
        json_array_append(want, json_object_get(reply.json, "items"));
        http_reply_release(&reply);
    }
    for (int i = 0; i < CLIENTS; i++) {
        asker_n[i] = (asker){.f = f, .number = i, .want_u = want};
        assert_int_equal(pthread_create(&thread[i], NULL, ask_lines, &asker_n[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(asker_n[i].wrong, 0);
    }
    json_decref(want);
    served_wait(f);
    assert_true(http_metric(f->port, "\nsella_queue_depth ") == 0);
}

/* One connection carries stream after stream; HTTP/1.0 gets lines until the end of the
 * connection. */
static void keeps_the_connection(void **state)
{
    const served *f = *state;
    http_reply reply;
    const int fd = http_open(f->port, 20);
    for (int i = 0; i < 3; i++) {
        assert_true(http_write(fd, "POST", "/v1/recommend", i == 1 ? "" : LINES,
                               "{\"history\":[],\"k\":3}"));
        http_read(fd, false, &reply);
        assert_int_equal(reply.status, 200);
        assert_int_equal(json_array_size(json_object_get(reply.json, "items")), 3);
        http_reply_release(&reply);
    }
    close(fd);
    char text[65536];
    size_t used = 0;
    const int old = http_open(f->port, 20);
    assert_true(http_send_text(
        old,
        "POST /v1/recommend HTTP/1.0\r\n" LINES
        "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"history\":[],\"k\":3}"));
    for (ssize_t n;
         used + 1 < sizeof text && (n = recv(old, text + used, sizeof text - 1 - used, 0)) > 0;) {
        used += (size_t)n;
    }
    text[used] = '\0';
    assert_null(strstr(text, "chunked"));
    assert_non_null(strstr(text, "{\"event\":\"retrieved\""));
    assert_non_null(strstr(text, "\"event\":\"answer\""));
    close(old);
}

/* Stopping finishes the streams that it accepted. */
static void finishes_streams(void **state)
{
    served *f = *state;
    http_reply reply;
    const int fd = begin(f, "{\"user\":\"u6\",\"k\":5,\"retrieve_k\":400}", 20);
    assert_true(http_read_head(fd, &reply));
    served_stop(f);
    while (http_read_chunk(fd, &reply) > 0) {
    }
    reply.json = http_last_line(&reply);
    assert_string_equal(event_of(reply.json), "answer");
    http_reply_release(&reply);
    close(fd);
}

/* A model that breaks under the server: the head is out, so the last line is the problem. Last of
 * all: the model is not mended. */
static void fails_in_the_last_line(void **state)
{
    served *f = *state;
    served_start(f, (sella_serve_options){.weights = "stored"});
    char *path = sella_path_join(f->model, "model.safetensors", NULL);
    static char bad[100000];
    memset(bad, 0xff, sizeof bad); // NaN in each type
    const int file = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, bad, sizeof bad, 40000), sizeof bad);
    close(file);
    free(path);
    http_reply reply;
    http_ask_with(f->port, "POST", "/v1/recommend", LINES, "{\"user\":\"u7\",\"k\":5}", &reply);
    assert_int_equal(reply.status, 200);
    json_t *lines = lines_of(&reply);
    assert_string_equal(event_of(json_array_get(lines, 0)), "retrieved");
    assert_string_equal(event_of(reply.json), "problem");
    assert_int_equal(json_integer_value(json_object_get(reply.json, "status")), 500);
    assert_non_null(strstr(json_string_value(json_object_get(reply.json, "detail")), "not finite"));
    assert_null(strstr(reply.body, f->folder)); // no path of the server
    json_decref(lines);
    http_reply_release(&reply);
    http_ask(f->port, "GET", "/v1/items?query=red", NULL, &reply);
    assert_int_equal(reply.status, 200);
    http_reply_release(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_who_wants_lines),   cmocka_unit_test(streams_what_it_answers),
        cmocka_unit_test(streams_reasons_last),    cmocka_unit_test(keeps_the_time_limit),
        cmocka_unit_test(refuses_before_the_head), cmocka_unit_test(stops_when_the_client_leaves),
        cmocka_unit_test(waits_for_no_reader),     cmocka_unit_test(streams_to_many_at_once),
        cmocka_unit_test(keeps_the_connection),    cmocka_unit_test(finishes_streams),
        cmocka_unit_test(fails_in_the_last_line),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
