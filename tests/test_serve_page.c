/* test_serve_page.c - GET /: the page with its headers, nothing in it from elsewhere, no markup
 * made from data. What it does in a browser: tests/cli/serve_page.sh. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "serve/routes.h"
#include "serve_fixture.h"

static serve_fixture *fixture(void **state)
{
    return *state;
}

static int setup(void **state)
{
    scratch_in_memory();
    serve_fixture *f = serve_make();
    serve_start(f, (sella_serve_options){0});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    serve_remove(*state);
    return 0;
}

static void expect_header(const http_reply *reply, const char *name, const char *part)
{
    char value[512] = "";
    if (!http_header(reply, name, value, sizeof value) || strstr(value, part) == NULL) {
        fail_msg("%s: %s; expected it to hold: %s", name, value, part);
    }
}

static void test_headers(void **state)
{
    http_reply reply;
    http_ask(fixture(state)->port, "GET", "/", NULL, &reply);
    assert_int_equal(reply.status, 200);
    expect_header(&reply, "Content-Type", "text/html; charset=utf-8");
    expect_header(&reply, "X-Content-Type-Options", "nosniff");
    expect_header(&reply, "Cache-Control", "no-store");
    expect_header(&reply, "Referrer-Policy", "no-referrer");
    expect_header(&reply, "Content-Security-Policy", "default-src 'none'");
    expect_header(&reply, "Content-Security-Policy", "connect-src 'self'");
    expect_header(&reply, "Content-Security-Policy", "base-uri 'none'");
    expect_header(&reply, "Content-Security-Policy", "frame-ancestors 'none'");
    assert_memory_equal(reply.body, "<!doctype html>", 15);
    assert_non_null(strstr(reply.body, "</html>"));
    http_reply_release(&reply);
}

static void test_nothing_from_elsewhere(void **state)
{
    static const char *const never[] = {"http:",
                                        "https:",
                                        "ws://",
                                        "\"//",
                                        "'//",
                                        "url(",
                                        "@import",
                                        "<script src",
                                        "<link rel=\"style",
                                        "<iframe",
                                        "innerHTML",
                                        "outerHTML",
                                        "insertAdjacentHTML",
                                        "document.write",
                                        "eval(",
                                        "new Function",
                                        "DOMParser",
                                        "localStorage",
                                        "document.cookie"};
    http_reply reply;
    http_ask(fixture(state)->port, "GET", "/", NULL, &reply);
    assert_int_equal(reply.status, 200);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        if (strstr(reply.body, never[i]) != NULL) {
            fail_msg("the page holds %s", never[i]);
        }
    }
    http_reply_release(&reply);
}

/* Every path that the page asks is a route. */
static void test_paths_are_routes(void **state)
{
    http_reply reply;
    int count = 0;
    http_ask(fixture(state)->port, "GET", "/", NULL, &reply);
    assert_int_equal(reply.status, 200);
    for (const char *at = reply.body; (at = strstr(at, "\"/v1/")) != NULL; count++) {
        char path[64];
        const char *tail, *allow;
        const sella_route *route;
        at++;
        const size_t bytes = strcspn(at, "?\"");
        snprintf(path, sizeof path, "%.*s%s", (int)bytes, at, at[bytes - 1] == '/' ? "1" : "");
        if (sella_route_find("GET", path, &route, &tail, &allow) == 404) {
            fail_msg("the page asks %s, which is no route", path);
        }
    }
    assert_true(count >= 6);
    http_reply_release(&reply);
}

/* A label for each field. */
static void test_fields_have_labels(void **state)
{
    http_reply reply;
    int count = 0;
    http_ask(fixture(state)->port, "GET", "/", NULL, &reply);
    assert_int_equal(reply.status, 200);
    for (const char *at = reply.body; (at = strpbrk(at, "<")) != NULL; at++) {
        char id[32], label[64];
        if (sscanf(at, "<input id=\"%31[^\"]\"", id) != 1 &&
            sscanf(at, "<select id=\"%31[^\"]\"", id) != 1) {
            continue;
        }
        snprintf(label, sizeof label, "<label for=\"%s\">", id);
        if (strstr(reply.body, label) == NULL) {
            fail_msg("the field %s has no label", id);
        }
        count++;
    }
    assert_int_equal(count, 5); // key, user, search, k, budget
    http_reply_release(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_nothing_from_elsewhere),
        cmocka_unit_test(test_paths_are_routes),
        cmocka_unit_test(test_fields_have_labels),
    };
    return cmocka_run_group_tests_name("serve_page", tests, setup, teardown);
}
