/* test_serve_openapi.c - openapi.json and the server say the same: routes, request keys,
 * answers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "openapi_schema.h"
#include "serve/routes.h"
#include "serve_fixture.h"

typedef struct fixture {
    serve_fixture *serve;
    json_t *document;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    http_reply reply;
    scratch_in_memory();
    f->serve = serve_make();
    serve_start(f->serve, (sella_serve_options){0});
    http_ask(f->serve->port, "GET", "/openapi.json", NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(reply.json);
    f->document = json_incref(reply.json);
    http_reply_release(&reply);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    json_decref(f->document);
    serve_remove(f->serve);
    free(f);
    return 0;
}

/* --- the tests ------------------------------------------------------------ */

static const json_t *operation(const fixture *f, const char *path, const char *verb)
{
    const json_t *found =
        json_object_get(json_object_get(json_object_get(f->document, "paths"), path), verb);
    if (found == NULL) {
        fail_msg("openapi.json lacks %s %s", verb, path);
    }
    return found;
}

static const json_t *schema_of(const json_t *content, const char *type)
{
    return json_object_get(json_object_get(json_object_get(content, "content"), type), "schema");
}

static void has_the_same_routes(void **state)
{
    const fixture *f = *state;
    size_t listed = 0;
    const char *path;
    json_t *methods;
    for (int i = 0; i < sella_route_count(); i++) {
        const sella_route *route = sella_route_at(i);
        const json_t *op =
            operation(f, route->path, strcmp(route->method, "GET") == 0 ? "get" : "post");
        assert_true((json_object_get(op, "requestBody") != NULL) ==
                    (strcmp(route->method, "POST") == 0));
        assert_true(json_object_get(json_object_get(op, "responses"), "200") != NULL);
        assert_true((json_object_get(json_object_get(op, "responses"), "401") != NULL) ==
                    !route->open);
    }
    json_object_foreach (json_object_get(f->document, "paths"), path, methods) {
        listed += json_object_size(methods);
    }
    assert_int_equal(listed, sella_route_count());
}

/* One request of each route that the answer's schema must fit. */
static void answers_as_described(void **state)
{
    const fixture *f = *state;
    static const struct {
        const char *path, *target, *body;
        int status;
    } asks[] = {
        {"/health", "/health", NULL, 200},
        {"/ready", "/ready", NULL, 200},
        {"/openapi.json", "/openapi.json", NULL, 200},
        {"/v1/model", "/v1/model", NULL, 200},
        {"/v1/items", "/v1/items?query=a&limit=2", NULL, 200},
        {"/v1/items", "/v1/items?query=", NULL, 400},
        {"/v1/items", "/v1/items", NULL, 400},
        {"/v1/items", "/v1/items?query=a&limit=0", NULL, 400},
        {"/v1/items", "/v1/items?id=2&id=none&id=1", NULL, 200},
        {"/v1/items", "/v1/items?id=2&query=a", NULL, 400},
        {"/v1/items", "/v1/items?id=2&limit=1", NULL, 400},
        {"/v1/feedback", "/v1/feedback",
         "{\"user\":\"u1\",\"item\":2,\"label\":0,\"time\":7,\"id\":7}", 200},
        {"/v1/feedback", "/v1/feedback", "[{\"user\":\"u1\",\"item\":3,\"label\":true}]", 200},
        {"/v1/feedback", "/v1/feedback", "[]", 400},
        {"/v1/users/{id}", "/v1/users/u1", NULL, 200},
        {"/v1/users/{id}", "/v1/users/%F0%9F%8E%AC/%2f", NULL, 200},
        {"/v1/score", "/v1/score", "{\"user\":\"u1\",\"items\":[1,\"2\"]}", 200},
        {"/v1/score", "/v1/score", "{\"history\":[\"nothing\"],\"items\":[1]}", 422},
        {"/v1/recommend", "/v1/recommend",
         "{\"user\":\"u1\",\"k\":3,\"budget_ms\":50,\"retrieve_k\":5}", 200},
        {"/v1/recommend", "/v1/recommend", "{\"user\":\"u1\",\"k\":0}", 400},
        {"/v1/recommend", "/v1/recommend", "{\"user\":\"u1\",\"k\":2,\"explain\":true}", 200},
        {"/v1/recommend", "/v1/recommend", "{\"user\":\"u1\",\"k\":21,\"explain\":true}", 400},
        {"/v1/explain", "/v1/explain", "{\"user\":\"u1\",\"item\":3}", 200},
        {"/v1/explain", "/v1/explain",
         "{\"history\":[\"Alpha (1990)\"],\"item\":3,\"attention\":true}", 200},
        {"/v1/explain", "/v1/explain", "{\"user\":\"u1\",\"item\":\"none\"}", 422},
        {"/v1/explain", "/v1/explain", "{\"user\":\"u1\"}", 400},
    };
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        char code[8];
        http_reply reply;
        const json_t *op = operation(f, asks[i].path, asks[i].body != NULL ? "post" : "get");
        snprintf(code, sizeof code, "%d", asks[i].status);
        const json_t *content = json_object_get(json_object_get(op, "responses"), code);
        const json_t *schema = schema_of(
            content, asks[i].status == 200 ? "application/json" : "application/problem+json");
        if (schema == NULL) {
            fail_msg("%s: openapi.json does not say what a %s looks like", asks[i].path, code);
        }
        http_ask(f->serve->port, asks[i].body != NULL ? "POST" : "GET", asks[i].target,
                 asks[i].body, &reply);
        if (reply.status != asks[i].status || !schema_valid(f->document, schema, reply.json)) {
            fail_msg("%s %s: %d %s is not what openapi.json describes", asks[i].target,
                     asks[i].body != NULL ? asks[i].body : "", reply.status, reply.body);
        }
        /* what the server takes is what the document allows */
        if (asks[i].body != NULL && asks[i].status == 200) {
            json_t *body = json_loads(asks[i].body, 0, NULL);
            assert_true(schema_valid(
                f->document, schema_of(json_object_get(op, "requestBody"), "application/json"),
                body));
            json_decref(body);
        }
        http_reply_release(&reply);
    }
}

/* Items in the order of the ids that were asked, and what the catalogue lacks. */
static void looks_items_up(void **state)
{
    const fixture *f = *state;
    http_reply reply;
    http_ask(f->serve->port, "GET", "/v1/items?id=2&id=no+ne&id=1&id=2", NULL, &reply);
    json_t *want = json_loads(
        "{\"items\":[{\"item\":\"2\",\"title\":\"Beta (1991)\"},{\"item\":\"1\",\"title\":\"Alpha "
        "(1990)\"},{\"item\":\"2\",\"title\":\"Beta (1991)\"}],\"missing\":[\"no ne\"]}",
        0, NULL);
    assert_true(json_equal(reply.json, want));
    json_decref(want);
    http_reply_release(&reply);
}

/* The lines of a streamed answer. */
static void streams_as_described(void **state)
{
    const fixture *f = *state;
    http_reply reply;
    int count = 0;
    const json_t *content =
        json_object_get(json_object_get(operation(f, "/v1/recommend", "post"), "responses"), "200");
    const json_t *schema = schema_of(content, "application/x-ndjson");
    http_ask_with(f->serve->port, "POST", "/v1/recommend", "Accept: application/x-ndjson\r\n",
                  "{\"user\":\"u1\",\"k\":3,\"explain\":true}", &reply);
    assert_int_equal(reply.status, 200);
    for (const char *at = reply.body; *at != '\0'; count++) {
        const size_t bytes = strcspn(at, "\n");
        json_t *line = json_loadb(at, bytes, 0, NULL);
        if (line == NULL || !schema_valid(f->document, schema, line)) {
            fail_msg("%.*s is not what openapi.json describes", (int)bytes, at);
        }
        json_decref(line);
        at += bytes + 1;
    }
    assert_int_equal(count, 2); // nothing is rescored without a language model
    http_reply_release(&reply);
}

/* Does the server call `key` unknown in a request body of this path? */
static bool unknown(const fixture *f, const char *path, const char *key)
{
    char body[200];
    http_reply reply;
    snprintf(body, sizeof body, "{\"%s\":{}}", key);
    http_ask(f->serve->port, "POST", path, body, &reply);
    http_expect_problem(&reply, 400); // no key takes an object
    const bool said =
        strstr(json_string_value(json_object_get(reply.json, "detail")), "unknown key") != NULL;
    http_reply_release(&reply);
    return said;
}

static void knows_the_same_keys(void **state)
{
    const fixture *f = *state;
    static const char *const every[] = {
        "user",    "history",      "items",       "item",      "k",          "candidates",
        "exclude", "include_seen", "free_titles", "budget_ms", "retrieve_k", "label",
        "time",    "id",           "attention",   "without",   "explain",    "body"};
    for (int i = 0; i < sella_route_count(); i++) {
        const sella_route *route = sella_route_at(i);
        if (strcmp(route->method, "POST") != 0) {
            continue;
        }
        const json_t *schema = schema_followed(
            f->document,
            schema_of(json_object_get(operation(f, route->path, "post"), "requestBody"),
                      "application/json"));
        if (json_object_get(schema, "oneOf") != NULL) {
            schema =
                schema_followed(f->document, json_array_get(json_object_get(schema, "oneOf"), 0));
        }
        const json_t *properties = json_object_get(schema, "properties");
        size_t found = 0;
        for (size_t k = 0; k < sizeof every / sizeof *every; k++) {
            const bool described = json_object_get(properties, every[k]) != NULL;
            if (described == unknown(f, route->path, every[k])) {
                fail_msg("%s: '%s' is %s", route->path, every[k],
                         described ? "described, but unknown to the server"
                                   : "known, but not described");
            }
            found += described;
        }
        assert_int_equal(found, json_object_size(properties));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_same_routes),
        cmocka_unit_test(answers_as_described),
        cmocka_unit_test(looks_items_up),
        cmocka_unit_test(streams_as_described),
        cmocka_unit_test(knows_the_same_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
