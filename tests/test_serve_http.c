/* test_serve_http.c - a server in process, asked over a socket: what each route answers, and what
 * it refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/log.h"
#include "sella/engine.h"
#include "serve_fixture.h"

static int setup(void **state)
{
    scratch_in_memory();
    serve_fixture *f = serve_make();
    serve_start(f, (sella_serve_options){.body_limit = 4096, .timeout = 5});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    serve_remove(*state);
    return 0;
}

static void near_to(const json_t *value, double want)
{
    if (!json_is_real(value) || fabs(json_real_value(value) - want) > 1e-6) {
        fail_msg("got %.9f, want %.9f", json_number_value(value), want);
    }
}

/* POST a body and expect a status; the reply is in *out. */
static void post(const serve_fixture *f, const char *target, const char *body, int status,
                 http_reply *out)
{
    http_ask(f->port, "POST", target, body, out);
    if (status >= 400) {
        http_expect_problem(out, status);
    } else if (out->status != status || out->json == NULL) {
        fail_msg("%s: status %d, expected %d: %s", body, out->status, status,
                 out->body != NULL ? out->body : "");
    }
}

static void tells_about_itself(void **state)
{
    const serve_fixture *f = *state;
    http_reply reply;
    http_ask(f->port, "GET", "/health", NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{\"status\":\"ok\"}");
    http_reply_release(&reply);
    http_ask(f->port, "GET", "/ready?x=1", NULL, &reply);
    assert_string_equal(reply.body, "{\"status\":\"ready\"}");
    http_reply_release(&reply);
    http_ask(f->port, "HEAD", "/health", NULL, &reply);
    assert_int_equal(reply.status, 200);
    http_reply_release(&reply);
    http_ask(f->port, "GET", "/v1/model", NULL, &reply);
    assert_string_equal(json_string_value(json_object_get(reply.json, "method")), "itembias");
    assert_int_equal(json_integer_value(json_object_get(reply.json, "items")), 5);
    assert_null(strstr(reply.body, f->folder));
    http_reply_release(&reply);
    http_ask(f->port, "GET", "/", NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.head, "text/html"));
    assert_non_null(strstr(reply.head, "Content-Security-Policy"));
    assert_non_null(strstr(reply.body, "<!doctype html>"));
    http_reply_release(&reply);
}

static void scores_by_hand(void **state)
{
    const serve_fixture *f = *state;
    http_reply reply;
    post(f, "/v1/score", "{\"user\":\"u1\",\"items\":[5,\"4\",1,2]}", 200, &reply);
    const json_t *scores = json_object_get(reply.json, "scores");
    static const double want[] = {SERVE_MEAN, SERVE_BETA, SERVE_ALPHA, SERVE_BETA};
    assert_int_equal(json_array_size(scores), 4);
    for (size_t i = 0; i < 4; i++) {
        near_to(json_object_get(json_array_get(scores, i), "score"), want[i]);
    }
    assert_string_equal(json_string_value(json_object_get(json_array_get(scores, 0), "item")), "5");
    http_reply_release(&reply);
    post(f, "/v1/score", "{\"history\":[],\"items\":[\"1\"]}", 200, &reply); // nobody in particular
    assert_true(json_is_null(json_object_get(reply.json, "user")));
    http_reply_release(&reply);
    post(f, "/v1/score", "{\"user\":17,\"history\":[\"alpha (1990)\",2],\"items\":[\"1\"]}", 200,
         &reply);
    assert_string_equal(json_string_value(json_object_get(reply.json, "user")), "17");
    http_reply_release(&reply);
}

static void recommends_as_the_engine_does(void **state)
{
    const serve_fixture *f = *state;
    http_reply reply;
    post(f, "/v1/recommend", "{\"user\":\"u1\",\"k\":2}", 200, &reply);
    const json_t *items = json_object_get(reply.json, "items");
    /* likes of train and valid (1, 4) are left out; 3 and 5 tie: catalogue order */
    assert_int_equal(json_array_size(items), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "item")), "3");
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 1), "item")), "5");
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "title")),
                        "Gamma; <script>alert(1)</script> (1992)");
    near_to(json_object_get(json_array_get(items, 0), "score"), SERVE_MEAN);
    http_reply_release(&reply);
    post(f, "/v1/recommend", "{\"user\":\"nobody\",\"candidates\":[4,\"1\",4],\"k\":9}", 200,
         &reply);
    items = json_object_get(reply.json, "items");
    assert_int_equal(json_array_size(items), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "item")), "1");
    http_reply_release(&reply);
}

static void refuses_with_a_sentence(void **state)
{
    const serve_fixture *f = *state;
    static const struct {
        const char *target, *body;
        int status;
        const char *says;
    } cases[] = {
        {"/v1/score", "", 400, "JSON"},
        {"/v1/score", "{", 400, "JSON"},
        {"/v1/score", "[]", 400, "object"},
        {"/v1/score", "{\"user\":\"a\",\"user\":\"b\",\"items\":[1]}", 400, "duplicate"},
        {"/v1/score", "{\"user\":\"\xff\",\"items\":[1]}", 400, "0xff"},
        {"/v1/score", "{\"user\":\"a\\u0000b\",\"items\":[1]}", 400, "U+0000"},
        {"/v1/score", "{\"user\":\"u1\"}", 400, "'items' is missing"},
        {"/v1/score", "{\"items\":[1]}", 400, "for whom"},
        {"/v1/score", "{\"user\":\"u1\",\"items\":[]}", 400, "items: expected a list"},
        {"/v1/score", "{\"user\":\"u1\",\"items\":[1,\"\"]}", 400, "items[1]: expected an id"},
        {"/v1/score", "{\"user\":\"u1\",\"items\":[1.5]}", 400, "items[0]"},
        {"/v1/score", "{\"user\":null,\"items\":[1]}", 400, "user: expected an id"},
        {"/v1/score", "{\"user\":\"u1\",\"itms\":[1]}", 400, "did you mean 'items'"},
        {"/v1/score", "{\"user\":\"u1\",\"items\":[\"99\"]}", 422,
         "item '99' is not in the catalogue of the run"},
        {"/v1/score", "{\"history\":[\"Alpa (1990)\"],\"items\":[1]}", 422,
         "nearest title is 'Alpha (1990)'"},
        {"/v1/recommend", "{\"user\":\"u1\",\"k\":0}", 400, "k: expected"},
        {"/v1/recommend", "{\"user\":\"u1\",\"k\":-3}", 400, "k: expected"},
        {"/v1/recommend", "{\"user\":\"u1\",\"k\":1.5e0}", 400, "k: expected"},
        {"/v1/recommend", "{\"user\":\"u1\",\"k\":99999999999999999999}", 400, "integer"},
        {"/v1/recommend", "{\"user\":\"u1\",\"k\":NaN}", 400, "JSON"},
        {"/v1/recommend", "{\"user\":\"u1\",\"include_seen\":1}", 400, "true or false"},
        {"/nothing", "{}", 404, "openapi.json"},
        {"/v1/score/", "{}", 404, "openapi.json"},
        {"/v1/%00", "{}", 400, "zero byte"},
        {"/v1/%f", "{}", 400, "hexadecimal"},
        {"/%ff", "{}", 400, "UTF-8"},
        {"/../../etc/passwd", "{}", 404, "openapi.json"},
        {"/health", "{}", 405, "GET"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_reply reply;
        post(f, cases[i].target, cases[i].body, cases[i].status, &reply);
        const char *detail = json_string_value(json_object_get(reply.json, "detail"));
        if (strstr(detail, cases[i].says) == NULL || strstr(detail, f->folder) != NULL) {
            fail_msg("%s %s: '%s' should say '%s'", cases[i].target, cases[i].body, detail,
                     cases[i].says);
        }
        http_reply_release(&reply);
    }
}

static void refuses_by_the_head(void **state)
{
    const serve_fixture *f = *state;
    http_reply reply;
    char text[64];
    http_ask(f->port, "GET", "/v1/score", NULL, &reply);
    http_expect_problem(&reply, 405);
    assert_true(http_header(&reply, "Allow", text, sizeof text));
    assert_string_equal(text, "POST");
    http_reply_release(&reply);
    http_ask(f->port, "DELETE", "/health", NULL, &reply);
    http_expect_problem(&reply, 405);
    assert_true(http_header(&reply, "Allow", text, sizeof text));
    assert_string_equal(text, "GET, HEAD");
    http_reply_release(&reply);
    int fd = http_open(f->port, 20);
    assert_true(http_send_text(fd, "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: "
                                   "text/plain\r\nContent-Length: 2\r\n\r\n{}"));
    http_read(fd, false, &reply);
    http_expect_problem(&reply, 415);
    http_reply_release(&reply);
    close(fd);
}

static void limits_sizes(void **state)
{
    const serve_fixture *f = *state;
    http_reply reply;
    char *body = malloc(9000);
    memset(body, ' ', 8999);
    body[8999] = '\0';
    post(f, "/v1/score", body, 413, &reply); // announced
    http_reply_release(&reply);
    int fd = http_open(f->port, 20); // in chunks, announced by nothing; the connection goes on
    char chunk[1100];
    assert_true(http_write(fd, "POST", "/v1/score",
                           "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
                           NULL));
    int head = snprintf(chunk, sizeof chunk, "400\r\n");
    memset(chunk + head, ' ', 1024);
    memcpy(chunk + head + 1024, "\r\n", 2);
    for (int i = 0; i < 6; i++) {
        assert_true(http_send(fd, chunk, (size_t)head + 1026));
    }
    assert_true(http_send_text(fd, "0\r\n\r\n"));
    http_read(fd, false, &reply);
    http_expect_problem(&reply, 413);
    http_reply_release(&reply);
    assert_true(http_write(fd, "GET", "/health", "", NULL));
    http_read(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    http_reply_release(&reply);
    close(fd);
    const size_t large = 10 << 20; // read to be thrown away, so that the answer gets through
    char *much = calloc(1, large);
    fd = http_open(f->port, 20);
    assert_true(http_send_text(fd, "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: "
                                   "application/json\r\nContent-Length: 10485760\r\n\r\n"));
    assert_true(http_send(fd, much, large));
    http_read(fd, false, &reply);
    http_expect_problem(&reply, 413);
    http_reply_release(&reply);
    close(fd);
    free(much);
    fd = http_open(f->port, 20); // a body nobody would read
    assert_true(http_send_text(fd, "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: "
                                   "application/json\r\nContent-Length: 99999999999\r\n\r\n"));
    http_read(fd, false, &reply);
    http_expect_problem(&reply, 413);
    http_reply_release(&reply);
    close(fd);
    free(body);
}

/* Answered without the body, and the connection ends: what follows is not taken for a request. */
static void expect_end(const serve_fixture *f, const char *request, int status)
{
    http_reply reply;
    char byte;
    const int fd = http_open(f->port, 20);
    assert_true(http_send_text(fd, request));
    http_read(fd, false, &reply);
    http_expect_problem(&reply, status);
    http_reply_release(&reply);
    assert_int_equal(recv(fd, &byte, 1, 0) <= 0, 1);
    close(fd);
}

#define HEAD "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

static void ends_where_bodies_are_in_doubt(void **state)
{
    const serve_fixture *f = *state;
    expect_end(f,
               HEAD "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}GET /health "
                    "HTTP/1.1\r\nHost: x\r\n\r\n",
               400);
    expect_end(f,
               HEAD "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET "
                    "/health HTTP/1.1\r\nHost: x\r\n\r\n",
               400);
    expect_end(f,
               "POST /%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: "
               "2\r\n\r\n{}",
               400);
    /* who asks before sending hears of it before sending */
    expect_end(f, HEAD "Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n", 413);
    expect_end(f,
               "POST /none HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
               "5\r\n\r\n",
               404);
}

static void takes_absolute_targets(void **state)
{
    const serve_fixture *f = *state;
    http_reply reply;
    http_ask(f->port, "GET", "http://example.org:80/v1/items?id=1", NULL, &reply);
    assert_int_equal(reply.status, 200);
    http_reply_release(&reply);
    http_ask(f->port, "GET", "ftp://example.org/health", NULL, &reply);
    http_expect_problem(&reply, 400);
    http_reply_release(&reply);
}

static void keeps_connections(void **state)
{
    const serve_fixture *f = *state;
    int fd = http_open(f->port, 20);
    for (int i = 0; i < 50; i++) {
        http_reply reply;
        assert_true(i % 2 ? http_write(fd, "GET", "/health", "", NULL)
                          : http_write(fd, "POST", "/v1/score", "", "{\"user\":1,\"items\":[1]}"));
        http_read(fd, false, &reply);
        assert_int_equal(reply.status, 200);
        assert_null(strstr(reply.head, "close"));
        http_reply_release(&reply);
    }
    close(fd);
}

static double metric(const char *text, const char *series)
{
    const char *at = strstr(text, series);
    return at != NULL ? strtod(at + strlen(series), NULL) : -1;
}

static void counts_what_it_does(void **state)
{
    const serve_fixture *f = *state;
    http_reply reply;
    http_ask(f->port, "GET", "/metrics", NULL, &reply);
    const double before =
        metric(reply.body, "sella_requests_total{route=\"/v1/score\",code=\"400\"} ");
    http_reply_release(&reply);
    http_reply bad;
    post(f, "/v1/score", "{", 400, &bad);
    http_reply_release(&bad);
    http_ask(f->port, "GET", "/metrics", NULL, &reply);
    assert_true(metric(reply.body, "sella_requests_total{route=\"/v1/score\",code=\"400\"} ") ==
                (before > 0 ? before : 0) + 1);
    assert_true(metric(reply.body, "sella_request_seconds_count{route=\"/v1/score\"} ") >= 1);
    assert_true(
        metric(reply.body, "sella_request_seconds_bucket{route=\"/v1/score\",le=\"+Inf\"} ") ==
        metric(reply.body, "sella_request_seconds_count{route=\"/v1/score\"} "));
    assert_true(metric(reply.body, "\nsella_queue_depth ") == 0);
    assert_true(metric(reply.body, "\nsella_ready ") == 1);
    assert_true(metric(reply.body, "\nprocess_resident_memory_bytes ") > 1e6);
    for (const char *line = reply.body; *line != '\0';) { // "# ..." or "name{labels} number"
        const size_t bytes = strcspn(line, "\n");
        const char *blank = memrchr(line, ' ', bytes);
        assert_true(line[bytes] == '\n' && blank != NULL);
        if (*line != '#') {
            char *end;
            strtod(blank + 1, &end);
            assert_ptr_equal(end, line + bytes);
        }
        line += bytes + 1;
    }
    http_reply_release(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_about_itself),
        cmocka_unit_test(scores_by_hand),
        cmocka_unit_test(recommends_as_the_engine_does),
        cmocka_unit_test(refuses_with_a_sentence),
        cmocka_unit_test(refuses_by_the_head),
        cmocka_unit_test(limits_sizes),
        cmocka_unit_test(ends_where_bodies_are_in_doubt),
        cmocka_unit_test(takes_absolute_targets),
        cmocka_unit_test(keeps_connections),
        cmocka_unit_test(counts_what_it_does),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
