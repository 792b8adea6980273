/* test_serve_openapi.c - openapi.json and the server say the same: routes, request keys, answers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

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

/* --- as much of JSON Schema as the document uses ---------------------------------------------------------------------- */

static bool valid(const json_t *document, const json_t *schema, const json_t *value);

static const json_t *followed(const json_t *document, const json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    if (ref == NULL) {
        return schema;
    }
    const json_t *found = json_object_get(json_object_get(json_object_get(document, "components"), "schemas"), strrchr(ref, '/') + 1);
    if (found == NULL) {
        fail_msg("%s leads nowhere", ref);
    }
    return found;
}

static bool is_type(const char *type, const json_t *value)
{
    return (strcmp(type, "object") == 0 && json_is_object(value)) || (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) || (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "number") == 0 && json_is_number(value)) || (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "null") == 0 && json_is_null(value));
}

static bool type_fits(const json_t *type, const json_t *value)
{
    size_t index;
    const json_t *one;
    bool fits = type == NULL || (json_is_string(type) && is_type(json_string_value(type), value));
    for (index = 0; index < json_array_size(type); index++) {
        one = json_array_get(type, index);
        fits = fits || is_type(json_string_value(one), value);
    }
    return fits;
}

static bool object_fits(const json_t *document, const json_t *schema, const json_t *value)
{
    const json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
    const char *key;
    json_t *part;
    for (size_t i = 0; i < json_array_size(required); i++) {
        if (json_object_get(value, json_string_value(json_array_get(required, i))) == NULL) {
            return false;
        }
    }
    json_object_foreach ((json_t *)(uintptr_t)value, key, part) {
        const json_t *of = json_object_get(properties, key);
        if (of == NULL ? json_is_false(json_object_get(schema, "additionalProperties")) : !valid(document, of, part)) {
            return false;
        }
    }
    return true;
}

static bool valid(const json_t *document, const json_t *schema, const json_t *value)
{
    schema = followed(document, schema);
    const json_t *choices = json_object_get(schema, "oneOf"), *limit;
    if (choices != NULL) {
        int fitting = 0;
        for (size_t i = 0; i < json_array_size(choices); i++) {
            fitting += valid(document, json_array_get(choices, i), value);
        }
        return fitting == 1;
    }
    if (!type_fits(json_object_get(schema, "type"), value) || (json_is_object(value) && !object_fits(document, schema, value))) {
        return false;
    }
    const json_t *words = json_object_get(schema, "enum");
    bool among = words == NULL;
    for (size_t i = 0; i < json_array_size(words); i++) {
        among = among || json_equal(json_array_get(words, i), value);
    }
    if (!among) {
        return false;
    }
    if ((limit = json_object_get(schema, "minimum")) != NULL && json_is_number(value) && json_number_value(value) < json_number_value(limit)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!valid(document, json_object_get(schema, "items"), json_array_get(value, i))) {
            return false;
        }
    }
    return true;
}

/* --- the tests --------------------------------------------------------------------------------------------------------- */

static const json_t *operation(const fixture *f, const char *path, const char *verb)
{
    const json_t *found = json_object_get(json_object_get(json_object_get(f->document, "paths"), path), verb);
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
        const json_t *op = operation(f, route->path, strcmp(route->method, "GET") == 0 ? "get" : "post");
        assert_true((json_object_get(op, "requestBody") != NULL) == (strcmp(route->method, "POST") == 0));
        assert_true(json_object_get(json_object_get(op, "responses"), "200") != NULL);
        assert_true((json_object_get(json_object_get(op, "responses"), "401") != NULL) == !route->open);
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
        {"/v1/feedback", "/v1/feedback", "{\"user\":\"u1\",\"item\":2,\"label\":0,\"time\":7,\"id\":7}", 200},
        {"/v1/feedback", "/v1/feedback", "[{\"user\":\"u1\",\"item\":3,\"label\":true}]", 200},
        {"/v1/feedback", "/v1/feedback", "[]", 400},
        {"/v1/users/{id}", "/v1/users/u1", NULL, 200},
        {"/v1/users/{id}", "/v1/users/%F0%9F%8E%AC/%2f", NULL, 200},
        {"/v1/score", "/v1/score", "{\"user\":\"u1\",\"items\":[1,\"2\"]}", 200},
        {"/v1/score", "/v1/score", "{\"history\":[\"nothing\"],\"items\":[1]}", 422},
        {"/v1/recommend", "/v1/recommend", "{\"user\":\"u1\",\"k\":3,\"budget_ms\":50,\"retrieve_k\":5}", 200},
        {"/v1/recommend", "/v1/recommend", "{\"user\":\"u1\",\"k\":0}", 400},
        {"/v1/recommend", "/v1/recommend", "{\"user\":\"u1\",\"k\":2,\"explain\":true}", 200},
        {"/v1/recommend", "/v1/recommend", "{\"user\":\"u1\",\"k\":21,\"explain\":true}", 400},
        {"/v1/explain", "/v1/explain", "{\"user\":\"u1\",\"item\":3}", 200},
        {"/v1/explain", "/v1/explain", "{\"history\":[\"Alpha (1990)\"],\"item\":3,\"attention\":true}", 200},
        {"/v1/explain", "/v1/explain", "{\"user\":\"u1\",\"item\":\"none\"}", 422},
        {"/v1/explain", "/v1/explain", "{\"user\":\"u1\"}", 400},
    };
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        char code[8];
        http_reply reply;
        const json_t *op = operation(f, asks[i].path, asks[i].body != NULL ? "post" : "get");
        snprintf(code, sizeof code, "%d", asks[i].status);
        const json_t *content = json_object_get(json_object_get(op, "responses"), code);
        const json_t *schema = schema_of(content, asks[i].status == 200 ? "application/json" : "application/problem+json");
        if (schema == NULL) {
            fail_msg("%s: openapi.json does not say what a %s looks like", asks[i].path, code);
        }
        http_ask(f->serve->port, asks[i].body != NULL ? "POST" : "GET", asks[i].target, asks[i].body, &reply);
        if (reply.status != asks[i].status || !valid(f->document, schema, reply.json)) {
            fail_msg("%s %s: %d %s is not what openapi.json describes", asks[i].target, asks[i].body != NULL ? asks[i].body : "", reply.status, reply.body);
        }
        if (asks[i].body != NULL && asks[i].status == 200) { // what the server takes is what the document allows
            json_t *body = json_loads(asks[i].body, 0, NULL);
            assert_true(valid(f->document, schema_of(json_object_get(op, "requestBody"), "application/json"), body));
            json_decref(body);
        }
        http_reply_release(&reply);
    }
}

/* The lines of a streamed answer. */
static void streams_as_described(void **state)
{
    const fixture *f = *state;
    http_reply reply;
    int count = 0;
    const json_t *content = json_object_get(json_object_get(operation(f, "/v1/recommend", "post"), "responses"), "200");
    const json_t *schema = schema_of(content, "application/x-ndjson");
    http_ask_with(f->serve->port, "POST", "/v1/recommend", "Accept: application/x-ndjson\r\n", "{\"user\":\"u1\",\"k\":3,\"explain\":true}", &reply);
    assert_int_equal(reply.status, 200);
    for (const char *at = reply.body; *at != '\0'; count++) {
        const size_t bytes = strcspn(at, "\n");
        json_t *line = json_loadb(at, bytes, 0, NULL);
        if (line == NULL || !valid(f->document, schema, line)) {
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
    const bool said = strstr(json_string_value(json_object_get(reply.json, "detail")), "unknown key") != NULL;
    http_reply_release(&reply);
    return said;
}

static void knows_the_same_keys(void **state)
{
    const fixture *f = *state;
    static const char *const every[] = {"user",    "history",      "items",     "item",       "k",     "candidates", "exclude", "include_seen", "free_titles", "budget_ms",
                                        "retrieve_k", "label", "time",       "id",      "attention", "explain", "body"};
    for (int i = 0; i < sella_route_count(); i++) {
        const sella_route *route = sella_route_at(i);
        if (strcmp(route->method, "POST") != 0) {
            continue;
        }
        const json_t *schema = followed(f->document, schema_of(json_object_get(operation(f, route->path, "post"), "requestBody"), "application/json"));
        if (json_object_get(schema, "oneOf") != NULL) {
            schema = followed(f->document, json_array_get(json_object_get(schema, "oneOf"), 0));
        }
        const json_t *properties = json_object_get(schema, "properties");
        size_t found = 0;
        for (size_t k = 0; k < sizeof every / sizeof *every; k++) {
            const bool described = json_object_get(properties, every[k]) != NULL;
            if (described == unknown(f, route->path, every[k])) {
                fail_msg("%s: '%s' is %s", route->path, every[k], described ? "described, but unknown to the server" : "known, but not described");
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
        cmocka_unit_test(streams_as_described),
        cmocka_unit_test(knows_the_same_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
