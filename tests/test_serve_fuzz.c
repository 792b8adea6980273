/* test_serve_fuzz.c - mutated requests to a live server: its bytes, targets, headers and bodies.
 *
 * Whatever is sent, the server lives, answers with a documented status and a body that is what its
 * type says, keeps what needs a key behind the key, and has nothing under way in the end. A few
 * hundred requests; under SELLA_FULL=1 many thousand. The model is tests/ref/tiny_llama.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/text.h"
#include "fuzz/mutate.h"
#include "serve_model_fixture.h"

#define KEY "a-key-that-is-long-enough"
#define BASIC "eDphLWtleS10aGF0LWlzLWxvbmctZW5vdWdo" /* x:KEY, by coreutils' base64 */
#define WITH_KEY "Host: test\r\nX-API-Key: " KEY "\r\n"
#define POSTED WITH_KEY "Content-Type: application/json\r\n"

enum { ANSWER_MAX = 1 << 20, SECONDS = 20 };

typedef enum part { WHOLE, TARGET, HEADERS, BODY, PARTS } place;

typedef struct seed {
    const char *method, *target, *headers, *body; /* body NULL: none */
} seed;

static const seed seeds[] = {
    {"GET", "/", WITH_KEY, NULL},
    {"GET", "/health", WITH_KEY "Connection: keep-alive\r\n", NULL},
    {"GET", "/metrics", "Host: test\r\nAuthorization: Bearer " KEY "\r\n", NULL},
    {"GET", "/openapi.json", "Host: test\r\nAuthorization: Basic " BASIC "\r\n", NULL},
    {"GET", "/v1/model?x=1", WITH_KEY "X-Forwarded-For: 10.0.0.1, caf\xc3\xa9\r\n", NULL},
    {"GET", "/v1/items?query=red+night%20%C3%A9&limit=5", WITH_KEY, NULL},
    {"GET", "/v1/items?id=i1&id=i2&id=none", WITH_KEY, NULL},
    {"GET", "/v1/users/u1%2Fx", WITH_KEY, NULL},
    {"POST", "/v1/score", POSTED "Expect: 100-continue\r\n",
     "{\"user\":\"u1\",\"history\":[\"i1\",\"Red Night\"],\"items\":[\"i1\",\"i2\"],"
     "\"free_titles\":true}"},
    {"POST", "/v1/recommend", POSTED,
     "{\"user\":\"u2\",\"k\":3,\"candidates\":[\"i1\",\"i3\",\"i4\"],\"exclude\":[\"i3\"],"
     "\"retrieve_k\":2,\"budget_ms\":50,\"include_seen\":true}"},
    {"POST", "/v1/recommend",
     POSTED "Accept: application/x-ndjson;q=0.9, application/json;q=0.1\r\n",
     "{\"history\":[\"i1\"],\"k\":2,\"explain\":true}"},
    {"POST", "/v1/explain", POSTED, "{\"user\":\"u1\",\"item\":\"i2\",\"attention\":true}"},
    {"POST", "/v1/feedback", POSTED,
     "[{\"user\":\"u1\",\"item\":\"i1\",\"label\":1,\"time\":978300000,\"id\":\"e-1\"},"
     "{\"user\":7,\"item\":\"i2\",\"label\":false}]"},
};
enum { SEEDS = sizeof seeds / sizeof *seeds };

/* --- a request ------------------------------------------------------------ */

typedef struct attack {
    const served *served;
    const seed *seed;
    place part;
    int sent, answered;
} attack;

static void append(sella_text *out, const char *data, size_t bytes)
{
    assert_int_equal(sella_text_append(out, data, bytes, NULL), SELLA_OK);
}

static void append_text(sella_text *out, const char *text)
{
    append(out, text, strlen(text));
}

/* The seed's request with `data` in the place of one part of it (WHOLE: as it is). The length that
 * it announces is right. */
static void build(const seed *s, place part, const char *data, size_t bytes, sella_text *out)
{
    const bool post = s->body != NULL;
    char length[48];
    snprintf(length, sizeof length, "Content-Length: %zu\r\n",
             part == BODY ? bytes
             : post       ? strlen(s->body)
                          : 0);
    append_text(out, s->method);
    append_text(out, " ");
    part == TARGET ? append(out, data, bytes) : append_text(out, s->target);
    append_text(out, " HTTP/1.1\r\n");
    part == HEADERS ? append(out, data, bytes) : append_text(out, s->headers);
    append_text(out, post ? length : "");
    append_text(out, "\r\n");
    part == BODY ? append(out, data, bytes) : append_text(out, post ? s->body : "");
}

/* --- its answers ------------------------------------------------------------ */

static bool among(int code, const int *codes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (codes[i] == code) {
            return true;
        }
    }
    return false;
}

/* The body is what its type says. */
static bool body_fits(const http_reply *reply, const char *type)
{
    if (strcmp(type, "application/x-ndjson") == 0) {
        const char *event = json_string_value(json_object_get(reply->json, "event"));
        return event != NULL && strcmp(event, "answer") == 0;
    }
    if (strcmp(type, "application/problem+json") == 0) {
        return json_integer_value(json_object_get(reply->json, "status")) == reply->status &&
               json_string_length(json_object_get(reply->json, "detail")) > 0;
    }
    return strcmp(type, "application/json") == 0
               ? json_is_object(reply->json)
               : strncmp(type, "text/", 5) == 0 && reply->bytes > 0;
}

/* Is it one that the server gives to everybody? */
static bool is_open(const http_reply *reply)
{
    return strcmp(reply->body, "{\"status\":\"ok\"}") == 0 ||
           strncmp(reply->body, "<!doctype html>", 15) == 0;
}

/* Is it the HTTP library's, to what is no HTTP? All of the handlers' forbid to guess types. */
static bool is_bare(const http_reply *reply)
{
    return strstr(reply->head, "nosniff") == NULL;
}

/* NULL, or what is wrong with an answer. */
static const char *wrong_with(const http_reply *reply, bool keyed)
{
    static const int ours[] = {200, 400, 401, 404, 405, 413, 415, 422};
    /* 501 and 505 name an encoding and a version that the library does not know */
    static const int bare[] = {400, 413, 414, 431, 501, 505};
    char type[64] = "";
    if (is_bare(reply)) {
        return among(reply->status, bare, sizeof bare / sizeof *bare)
                   ? NULL
                   : "a bare status that is not expected";
    }
    if (!among(reply->status, ours, sizeof ours / sizeof *ours)) {
        return "a status that is not documented";
    }
    if (!http_header(reply, "Content-Type", type, sizeof type) || !body_fits(reply, type)) {
        return "a body that is not of its type";
    }
    return reply->status == 200 && !keyed && !is_open(reply) ? "an answer without the key" : NULL;
}

/* Read all answers on a connection; what was sent may hold more than one request. */
static void read_answers(attack *a, int fd, const sella_text *sent)
{
    const bool keyed = memmem(sent->data, sent->size, KEY, strlen(KEY)) != NULL ||
                       /* behind the name */
                       memmem(sent->data, sent->size, BASIC + 4, strlen(BASIC) - 4) != NULL;
    bool last = false;
    http_reply reply;
    for (http_read(fd, false, &reply); !last && reply.status != 0; http_read(fd, false, &reply)) {
        const char *wrong = reply.status == 100 ? NULL : wrong_with(&reply, keyed);
        if (wrong != NULL) {
            fail_msg("%s: %d to\n%.*s\n--- %s%.600s", wrong, reply.status, (int)sent->size,
                     sent->data, reply.head, reply.body != NULL ? reply.body : "");
        }
        a->answered += reply.status != 100;
        /* libmicrohttpd 0.9.75 sends the head of its 400 for a bad Content-Length twice */
        last = is_bare(&reply) && reply.status != 100;
        http_reply_release(&reply);
    }
    /* a head without its body: the server broke off, which it does to streams alone */
    if (!last && reply.head[0] != '\0' && strstr(reply.head, "x-ndjson") == NULL) {
        fail_msg("broken off: %s%s\n--- the answer to\n%.*s", reply.head,
                 reply.body != NULL ? reply.body : "", (int)sent->size, sent->data);
    }
    http_reply_release(&reply);
}

static void strike(const uint8_t *data, size_t bytes, void *user)
{
    attack *a = user;
    sella_text text = {0};
    if (a->part == WHOLE) {
        append(&text, (const char *)data, bytes);
    } else {
        build(a->seed, a->part, (const char *)data, bytes, &text);
    }
    const int fd = http_open(a->served->port, SECONDS);
    assert_true(fd >= 0);
    /* may be closed on us while we send, with an answer before that */
    if (http_send(fd, text.data != NULL ? text.data : "", text.size)) {
        shutdown(fd, SHUT_WR);
    }
    read_answers(a, fd, &text);
    close(fd);
    sella_text_release(&text);
    a->sent++;
}

/* --- the tests ------------------------------------------------------------ */

static int setup(void **state)
{
    const fixture_shape shape = {.users = 8, .items = 12, .train = 60, .valid = 20, .seed = 7};
    served *f = served_make(&shape);
    free(scratch_file(f->folder, "key", KEY "\n", strlen(KEY) + 1));
    char *key = sella_path_join(f->folder, "key", NULL),
         *log = sella_path_join(f->folder, "log.jsonl", NULL);
    served_start(f, (sella_serve_options){.api_key_file = key,
                                          .access_log = log,
                                          .client_header = "X-Forwarded-For",
                                          .body_limit = 1 << 16,
                                          .timeout = 3});
    free(key);
    free(log);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    served_remove(*state);
    return 0;
}

/* The seeds are right as they are: what follows starts from requests that reach the handlers. */
static void answers_the_seeds(void **state)
{
    for (int i = 0; i < SEEDS; i++) {
        sella_text text = {0};
        http_reply reply;
        const served *f = *state;
        build(&seeds[i], PARTS, NULL, 0, &text);
        const int fd = http_open(f->port, SECONDS);
        assert_true(http_send(fd, text.data, text.size));
        for (http_read(fd, false, &reply); reply.status == 100; http_read(fd, false, &reply)) {
            http_reply_release(&reply);
        }
        if (reply.status != 200) {
            fail_msg("%s: %d %s", text.data, reply.status, reply.body);
        }
        http_reply_release(&reply);
        close(fd);
        sella_text_release(&text);
    }
}

static void survives_mutated_requests(void **state)
{
    const served *f = *state;
    const uint64_t rounds = mutate_rounds(20, 2000);
    int sent = 0, answered = 0;
    for (int i = 0; i < SEEDS; i++) {
        const seed *s = &seeds[i];
        for (place p = WHOLE; p < PARTS; p++) {
            const char *original = p == TARGET ? s->target : p == HEADERS ? s->headers : s->body;
            attack a = {.served = f, .seed = s, .part = p};
            sella_text text = {0};
            if (p == WHOLE) {
                build(s, PARTS, NULL, 0, &text);
            } else if (original != NULL) {
                append_text(&text, original);
            } else {
                continue; // no body
            }
            mutate_run(text.data, text.size, rounds, strike, &a);
            sella_text_release(&text);
            sent += a.sent;
            answered += a.answered;
        }
    }
    /* most of them are requests still */
    assert_true(2 * answered > sent);
    served_wait(f);
    http_reply reply;
    http_ask(f->port, "GET", "/health", NULL, &reply);
    assert_int_equal(reply.status, 200);
    http_reply_release(&reply);
}

/* Every line of the access log is one JSON object, whatever the requests were. */
static void logged_them(void **state)
{
    const served *f = *state;
    char *path = sella_path_join(f->folder, "log.jsonl", NULL);
    sella_map map = {0};
    size_t lines = 0;
    CHECK(sella_map_open(path, &map, err));
    const char *at = (const char *)map.data, *end = at + map.size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        assert_non_null(newline);
        json_t *line = json_loadb(at, (size_t)(newline - at), 0, NULL);
        if (line == NULL || json_integer_value(json_object_get(line, "status")) < 0) {
            fail_msg("%.*s", (int)(newline - at), at);
        }
        json_decref(line);
        lines++;
        at = newline + 1;
    }
    assert_true(lines > SEEDS);
    sella_map_close(&map);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_the_seeds),
        cmocka_unit_test(survives_mutated_requests),
        cmocka_unit_test(logged_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
