/* test_serve_conform.c - requests made from openapi.json: for every path and verb valid and invalid
 * ones. What comes back has a documented status and a body of the documented schema; what the
 * document allows is taken, what it does not is refused with 400. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "openapi_schema.h"
#include "serve_fixture.h"

enum { ROUNDS = 40, TEXT = 1 << 14 };

typedef struct maker {
    const json_t *document;
    unsigned state;
} maker;

static unsigned draw(maker *m, unsigned n)
{
    m->state = m->state * 1664525u + 1013904223u;
    return (m->state >> 8) % n;
}

/* --- values that a schema allows ------------------------------------------------------------ */

static json_t *make(maker *m, const json_t *schema);

static json_t *make_text(maker *m, const json_t *schema)
{
    static const char *const texts[] = {"1",
                                        "u1",
                                        "3",
                                        "\xc3\x89psilon (1994)",
                                        "\xf0\x9f\x8e\xac",
                                        "a b",
                                        "/../etc",
                                        "%2f\"\\",
                                        "<b>",
                                        "\xe2\x80\x8b;",
                                        "0",
                                        "\x7f\x1b"};
    const json_t *max = json_object_get(schema, "maxLength");
    if (max != NULL && draw(m, 12) == 0) { // as long as may be, of four bytes each
        const size_t count = (size_t)json_integer_value(max);
        char *text = malloc(4 * count + 1);
        for (size_t i = 0; i < count; i++) {
            memcpy(text + 4 * i, "\xf0\x9f\x8e\xac", 5);
        }
        json_t *value = json_string(text);
        free(text);
        return value;
    }
    return json_string(texts[draw(m, sizeof texts / sizeof *texts)]);
}

static json_t *make_integer(maker *m, const json_t *schema)
{
    const json_t *min = json_object_get(schema, "minimum"),
                 *max = json_object_get(schema, "maximum");
    const json_int_t low = min != NULL ? json_integer_value(min) : -5;
    const json_int_t high = max != NULL ? json_integer_value(max) : 5;
    switch (draw(m, 6)) {
    case 0: return json_integer(low);
    case 1: return json_integer(high);
    case 2: return json_real((double)(low > 0 ? low : 1)); // 1.0 is a whole number too
    default:
        return json_integer(low > 0     ? low + draw(m, 5)
                            : low <= -5 ? (json_int_t)draw(m, 6)
                                        : draw(m, 2));
    }
}

static json_t *make_object(maker *m, const json_t *schema)
{
    json_t *object = json_object();
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required"),
                 *any = json_object_get(schema, "anyOf");
    const char *key;
    json_t *part;
    json_object_foreach ((json_t *)(uintptr_t)properties, key, part) {
        bool wanted = draw(m, 3) == 0;
        for (size_t i = 0; i < json_array_size(required); i++) {
            wanted = wanted || strcmp(json_string_value(json_array_get(required, i)), key) == 0;
        }
        if (wanted) {
            json_object_set_new(object, key, make(m, part));
        }
    }
    if (any != NULL) { // one of the lists of required keys
        const json_t *one = json_array_get(any, draw(m, (unsigned)json_array_size(any)));
        key = json_string_value(json_array_get(json_object_get(one, "required"), 0));
        json_object_set_new(object, key, make(m, json_object_get(properties, key)));
    }
    return object;
}

static json_t *make(maker *m, const json_t *schema)
{
    schema = schema_followed(m->document, schema);
    const json_t *one = json_object_get(schema, "oneOf"), *words = json_object_get(schema, "enum");
    if (one != NULL) {
        return make(m, json_array_get(one, draw(m, (unsigned)json_array_size(one))));
    }
    if (words != NULL) {
        return json_deep_copy(json_array_get(words, draw(m, (unsigned)json_array_size(words))));
    }
    const char *type = json_string_value(json_object_get(schema, "type"));
    assert_non_null(type);
    if (strcmp(type, "object") == 0) {
        return make_object(m, schema);
    }
    if (strcmp(type, "array") == 0) {
        json_t *array = json_array();
        const json_t *min = json_object_get(schema, "minItems");
        for (unsigned n = (unsigned)json_integer_value(min) + draw(m, 4); n > 0; n--) {
            json_array_append_new(array, make(m, json_object_get(schema, "items")));
        }
        return array;
    }
    return strcmp(type, "string") == 0    ? make_text(m, schema)
           : strcmp(type, "boolean") == 0 ? json_boolean(draw(m, 2))
           : strcmp(type, "integer") == 0 ? make_integer(m, schema)
                                          : json_real(0.001 + draw(m, 1000));
}

/* --- values that no schema here allows: something small is changed --- */

static json_t *strange(maker *m)
{
    switch (draw(m, 7)) {
    case 0: return json_null();
    case 1: return json_string("");
    case 2: return json_object();
    case 3: return json_real(0.5);
    case 4: return json_integer(-1);
    case 5: return json_pack("[[]]");
    default: return json_real(1e300);
    }
}

static void damage(maker *m, json_t *value)
{
    const char *key = "";
    json_t *part = NULL;
    if (json_is_array(value)) {
        if (json_array_size(value) == 0 || draw(m, 2) == 0) {
            json_array_append_new(value, strange(m));
        } else {
            damage(m, json_array_get(value, draw(m, (unsigned)json_array_size(value))));
        }
        return;
    }
    unsigned at = json_object_size(value) > 0 ? draw(m, (unsigned)json_object_size(value)) : 0;
    json_object_foreach (value, key, part) {
        if (at-- == 0) {
            break;
        }
    }
    switch (json_object_size(value) > 0 ? draw(m, 4) : 3) {
    case 0: json_object_del(value, key); break;
    case 1: json_object_set_new(value, key, strange(m)); break;
    case 2:
        if (json_is_array(part)) {
            damage(m, part);
            break;
        } // fall through
    default: json_object_set_new(value, "unheard_of", strange(m)); break;
    }
}

/* --- asking ------------------------------------------------------------ */

typedef struct asked {
    const char *path, *verb; /* as documented */
    const json_t *operation;
    char target[TEXT];
    char *body; /* NULL: none */
} asked;

/* The status is documented for this operation, and the body is of its schema. */
static void expect_documented(const maker *m, const asked *a, const http_reply *reply)
{
    char code[8], type[96] = "";
    snprintf(code, sizeof code, "%d", reply->status);
    const json_t *said = json_object_get(json_object_get(a->operation, "responses"), code);
    http_header(reply, "Content-Type", type, sizeof type);
    type[strcspn(type, ";")] = '\0';
    const json_t *content = json_object_get(json_object_get(said, "content"), type);
    const json_t *schema = json_object_get(content, "schema");
    const bool text = strncmp(type, "text/", 5) == 0;
    if (schema == NULL ||
        (!text && (reply->json == NULL || !schema_valid(m->document, schema, reply->json)))) {
        fail_msg("%s %s %s: %d %s %.300s is not what openapi.json describes", a->verb, a->target,
                 a->body != NULL ? a->body : "", reply->status, type, reply->body);
    }
}

static int ask(int port, const maker *m, const asked *a)
{
    http_reply reply;
    http_ask(port, strcmp(a->verb, "get") == 0 ? "GET" : "POST", a->target, a->body, &reply);
    const int status = reply.status;
    expect_documented(m, a, &reply);
    http_reply_release(&reply);
    return status;
}

static void append_encoded(char *target, const char *text)
{
    size_t used = strlen(target);
    for (const char *at = text; *at != '\0' && used + 4 < TEXT; at++) {
        used += (size_t)snprintf(target + used, TEXT - used, "%%%02X", (unsigned char)*at);
    }
}

static void append_value(char *target, const char *name, const json_t *value)
{
    char text[32];
    snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, (json_int_t)json_number_value(value));
    const size_t used = strlen(target);
    snprintf(target + used, TEXT - used, "%c%s=", strchr(target, '?') != NULL ? '&' : '?', name);
    append_encoded(target, json_is_string(value) ? json_string_value(value) : text);
}

/* The target with parameters as documented. left: a query parameter that is left out, or NULL. */
static void make_target(maker *m, asked *a, const char *left)
{
    const json_t *parameters = json_object_get(a->operation, "parameters");
    snprintf(a->target, sizeof a->target, "%.*s", (int)strcspn(a->path, "{"), a->path);
    for (size_t i = 0; i < json_array_size(parameters); i++) {
        const json_t *parameter = json_array_get(parameters, i);
        const char *name = json_string_value(json_object_get(parameter, "name"));
        json_t *value = make(m, json_object_get(parameter, "schema"));
        if (strcmp(json_string_value(json_object_get(parameter, "in")), "path") == 0) {
            append_encoded(a->target, json_string_value(value));
        } else if (left == NULL || strstr(left, name) == NULL) {
            for (size_t k = 0; k < json_array_size(value); k++) {
                append_value(a->target, name, json_array_get(value, k));
            }
            if (!json_is_array(value)) {
                append_value(a->target, name, value);
            }
        }
        json_decref(value);
    }
}

/* What the server cannot refuse for its form: valid bodies, of which ids may be unknown. */
static void ask_with_body(int port, maker *m, asked *a, const json_t *schema, int *right,
                          int *wrong)
{
    json_t *body = make(m, schema);
    const bool spoiled = draw(m, 2) == 1;
    if (spoiled) {
        damage(m, body);
    }
    const bool fits = schema_valid(m->document, schema, body);
    a->body = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    const int status = ask(port, m, a);
    if (fits ? status != 200 && status != 422 : status != 400) {
        fail_msg("%s %s: %d, but by openapi.json it is %s", a->path, a->body, status,
                 fits ? "valid" : "not");
    }
    *right += status == 200;
    *wrong += status == 400;
    free(a->body);
    a->body = NULL;
    json_decref(body);
}

/* Bodies that are no JSON, of another type, or too large. */
static void ask_with_nonsense(int port, const maker *m, asked *a)
{
    static const char *const bodies[] = {"",
                                         "{",
                                         "[1",
                                         "null",
                                         "true",
                                         "7",
                                         "\"x\"",
                                         "{\"user\":\"\xff\"}",
                                         "{\"user\":1,\"user\":2}",
                                         "{\"user\":\"\\u0000\"}",
                                         "{\"user\":1e999}",
                                         "{\"user\":123456789012345678901234567890}"};
    http_reply reply;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        a->body = (char *)(uintptr_t)bodies[i];
        assert_int_equal(ask(port, m, a), 400);
    }
    a->body = NULL;
    http_ask_with(port, "POST", a->target, "Content-Type: text/plain\r\nContent-Length: 0\r\n",
                  NULL, &reply);
    assert_int_equal(reply.status, 415);
    expect_documented(m, a, &reply);
    http_reply_release(&reply);
    http_ask_with(port, "POST", a->target,
                  "Content-Type: application/json\r\nContent-Length: 500000000\r\n", NULL, &reply);
    assert_int_equal(reply.status, 413);
    expect_documented(m, a, &reply);
    http_reply_release(&reply);
}

/* Verbs that the document does not name for a path. */
static void ask_with_other_verbs(int port, const char *target, const json_t *methods)
{
    static const char *const verbs[] = {"GET",   "POST",    "PUT",   "DELETE",
                                        "PATCH", "OPTIONS", "TRACE", "QUERY"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char low[16] = "", allow[32];
        http_reply reply;
        for (size_t k = 0; verbs[i][k] != '\0'; k++) {
            low[k] = (char)(verbs[i][k] | 0x20);
        }
        if (json_object_get(methods, low) != NULL) {
            continue;
        }
        http_ask(port, verbs[i], target, strcmp(verbs[i], "GET") == 0 ? NULL : "{}", &reply);
        http_expect_problem(&reply, 405);
        assert_true(http_header(&reply, "Allow", allow, sizeof allow));
        http_reply_release(&reply);
    }
}

static void does_what_the_document_says(void **state)
{
    (void)state;
    serve_fixture *serve = serve_make();
    serve_start(serve, (sella_serve_options){0});
    const int port = serve->port;
    http_reply document;
    http_ask(port, "GET", "/openapi.json", NULL, &document);
    maker m = {.document = document.json, .state = 7};
    const char *path, *verb;
    json_t *methods, *operation;
    json_object_foreach (json_object_get(document.json, "paths"), path, methods) {
        asked a = {.path = path};
        json_object_foreach (methods, verb, operation) {
            const json_t *content =
                json_object_get(json_object_get(operation, "requestBody"), "content");
            const json_t *body =
                json_object_get(json_object_get(content, "application/json"), "schema");
            int right = 0, wrong = 0;
            a.verb = verb;
            a.operation = operation;
            for (int i = 0; i < ROUNDS; i++) {
                make_target(&m, &a, i % 2 == 0 ? "id" : "query limit");
                if (body != NULL) {
                    ask_with_body(port, &m, &a, body, &right, &wrong);
                } else {
                    assert_int_equal(ask(port, &m, &a), 200);
                }
            }
            if (body != NULL) {
                assert_true(right > 0 && wrong > 0);
                ask_with_nonsense(port, &m, &a);
            } else if (json_object_get(operation, "parameters") != NULL) {
                static const char *const bad[] = {"?query=%ff", "?id=%00", "?limit=%zz&id=1"};
                for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                    snprintf(a.target, sizeof a.target, "%.*s%s%s", (int)strcspn(path, "{"), path,
                             strchr(path, '{') != NULL ? "x" : "", bad[i]);
                    assert_int_equal(ask(port, &m, &a), 400);
                }
            }
        }
        make_target(&m, &a, "id query limit");
        ask_with_other_verbs(port, a.target, methods);
    }
    http_reply_release(&document);
    serve_remove(serve);
}

/* With a key every operation but the open ones says 401 as documented, whatever is asked. */
static void asks_for_the_key(void **state)
{
    (void)state;
    serve_fixture *serve = serve_make();
    char *key = sella_path_join(serve->folder, "key", NULL);
    put(serve->folder, "key", "a-key-that-is-long-enough\n");
    serve_start(serve, (sella_serve_options){.api_key_file = key});
    http_reply document;
    const char *path, *verb;
    json_t *methods, *operation;
    http_ask_with(serve->port, "GET", "/openapi.json", "X-API-Key: a-key-that-is-long-enough\r\n",
                  NULL, &document);
    maker m = {.document = document.json, .state = 8};
    json_object_foreach (json_object_get(document.json, "paths"), path, methods) {
        json_object_foreach (methods, verb, operation) {
            asked a = {.path = path, .verb = verb, .operation = operation};
            make_target(&m, &a, "query limit");
            a.body = (char *)(uintptr_t)(strcmp(verb, "post") == 0 ? "{}" : NULL);
            const json_t *security = json_object_get(operation, "security");
            const bool open = json_is_array(security) && json_array_size(security) == 0;
            assert_int_equal(ask(serve->port, &m, &a), open ? 200 : 401);
        }
    }
    http_reply_release(&document);
    serve_remove(serve);
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_what_the_document_says),
        cmocka_unit_test(asks_for_the_key),
    };
    scratch_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
