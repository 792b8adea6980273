/* test_serve_parse.c - what meets the network first, one by one: targets, bodies, keys, the queue;
 * and mutations of all of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fuzz/mutate.h"
#include "scratch.h"
#include "serve/ask.h"
#include "serve/credential.h"
#include "serve/feedback.h"
#include "serve/queue.h"
#include "serve/routes.h"

static void decodes_targets(void **state)
{
    (void)state;
    sella_target target;
    assert_int_equal(sella_target_parse("/v1/items?query=a+b%26c&limit=3&empty&&x=", &target, NULL),
                     SELLA_OK);
    assert_string_equal(target.path, "/v1/items");
    assert_string_equal(sella_target_query(&target, "query"), "a b&c");
    assert_string_equal(sella_target_query(&target, "limit"), "3");
    assert_string_equal(sella_target_query(&target, "empty"), "");
    assert_string_equal(sella_target_query(&target, "x"), "");
    assert_null(sella_target_query(&target, "y"));
    sella_target_release(&target);
    assert_int_equal(sella_target_parse("/v1/users/%C3%A9%2F+?", &target, NULL), SELLA_OK);
    assert_string_equal(target.path, "/v1/users/\xc3\xa9/+"); // + is a blank in queries only
    sella_target_release(&target);
    static const char *const bad[] = {"",     "x",    "*",    "/%",     "/%4",
                                      "/%4g", "/%00", "/%C3", "/a?b=%", "/?a=%ff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sella_err err = {0};
        assert_int_equal(sella_target_parse(bad[i], &target, &err), SELLA_ARG);
        assert_true(err.text[0] != '\0');
        /* a text all the same: the access log reads it */
        assert_true(sella_utf8_valid(target.path, strlen(target.path)) == strlen(target.path));
        sella_target_release(&target);
    }
    char many[4 + 2 * SELLA_QUERY_MAX] = "/?a";
    for (int i = 1; i < SELLA_QUERY_MAX; i++) {
        memcpy(many + 1 + 2 * i, "&a", 3);
    }
    assert_int_equal(sella_target_parse(many, &target, NULL), SELLA_OK);
    assert_int_equal(target.count, SELLA_QUERY_MAX);
    sella_target_release(&target);
    memcpy(many + 1 + 2 * SELLA_QUERY_MAX, "&a", 3);
    assert_int_equal(sella_target_parse(many, &target, NULL), SELLA_ARG);
    sella_target_release(&target);
    char *longest = malloc(SELLA_TARGET_MAX + 2);
    memset(longest, '/', SELLA_TARGET_MAX + 1);
    longest[SELLA_TARGET_MAX + 1] = '\0';
    assert_int_equal(sella_target_parse(longest, &target, NULL), SELLA_ARG);
    sella_target_release(&target);
    assert_int_equal(sella_target_parse(longest + 1, &target, NULL), SELLA_OK);
    sella_target_release(&target);
    free(longest);
}

static void finds_routes(void **state)
{
    (void)state;
    const sella_route *route;
    const char *tail, *allow;
    assert_int_equal(sella_route_find("GET", "/v1/users/a/b", &route, &tail, &allow), 200);
    assert_string_equal(tail, "a/b");
    assert_int_equal(sella_route_find("HEAD", "/health", &route, &tail, &allow), 200);
    assert_int_equal(sella_route_find("GET", "/v1/users/", &route, &tail, &allow), 404);
    assert_int_equal(sella_route_find("GET", "/healt", &route, &tail, &allow), 404);
    assert_int_equal(sella_route_find("GET", "/health/", &route, &tail, &allow), 404);
    assert_int_equal(sella_route_find("get", "/health", &route, &tail, &allow), 405);
    assert_int_equal(sella_route_find("HEAD", "/v1/score", &route, &tail, &allow), 405);
    assert_string_equal(allow, "POST");
}

static void checks_keys(void **state)
{
    (void)state;
    static const char key[] = "0123456789abcdef";
    assert_true(sella_credential_right(key, "Bearer 0123456789abcdef", NULL));
    assert_true(sella_credential_right(key, "bearer 0123456789abcdef", NULL));
    assert_true(sella_credential_right(key, NULL, "0123456789abcdef"));
    /* anyone:0123456789abcdef, by coreutils' base64 */
    assert_true(sella_credential_right(key, "Basic YW55b25lOjAxMjM0NTY3ODlhYmNkZWY=", NULL));
    static const char *const wrong[] = {"",
                                        "Bearer",
                                        "Bearer ",
                                        "Bearer 0123456789abcde",
                                        "Bearer 0123456789abcdef ",
                                        "Bearer 0123456789abcdeF",
                                        "Basic ",
                                        "Basic =",
                                        "Basic !!!!",
                                        "Basic MDEyMzQ1Njc4OWFiY2RlZg==",
                                        "Digest 0123456789abcdef",
                                        "0123456789abcdef"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(sella_credential_right(key, wrong[i], NULL));
    }
    assert_false(sella_credential_right(key, NULL, NULL));
    assert_false(sella_credential_right(key, NULL, ""));
    assert_false(sella_credential_right(key, NULL, "0123456789abcdef0"));
    char *folder = scratch_make(), *text = NULL;
    static const struct {
        const char *file;
        sella_status status;
    } files[] = {{"0123456789abcdef\nmore\n", SELLA_OK},
                 {"0123456789abcdef\r\n", SELLA_OK},
                 {"0123456789abcdef", SELLA_OK},
                 {"short\n", SELLA_FORMAT},
                 {"", SELLA_FORMAT},
                 {"0123456789 abcdef\n", SELLA_FORMAT},
                 {"0123456789abcde\xff\n", SELLA_FORMAT}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = scratch_file(folder, "key", files[i].file, strlen(files[i].file));
        sella_err err = {0};
        assert_int_equal(sella_credential_read(path, &text, &err), files[i].status);
        if (files[i].status == SELLA_OK) {
            assert_string_equal(text, key);
        } else {
            /* the key is not told */
            assert_true(files[i].file[0] == '\0' || strstr(err.text, files[i].file) == NULL);
        }
        free(text);
        free(path);
    }
    scratch_remove(folder);
}

/* --- the queue ------------------------------------------------------------ */

static sella_exchange *from(const char *client, int number)
{
    sella_exchange *x = calloc(1, sizeof *x);
    snprintf(x->client, sizeof x->client, "%s", client);
    x->code = number;
    return x;
}

static void expect_pop(sella_queue *queue, int number)
{
    sella_exchange *x = sella_queue_poll(queue);
    assert_non_null(x);
    assert_int_equal(x->code, number);
    free(x);
}

static void is_fair(void **state)
{
    (void)state;
    sella_queue *queue = NULL;
    sella_exchange *x;
    assert_int_equal(sella_queue_new(5, &queue, NULL), SELLA_OK);
    for (int i = 1; i <= 4; i++) {
        assert_null(sella_queue_push(queue, from("greedy", i)));
    }
    assert_null(sella_queue_push(queue, from("other", 11)));
    x = from("greedy", 5);
    assert_ptr_equal(sella_queue_push(queue, x), x); // full, and the one who comes has most waiting
    free(x);
    x = sella_queue_push(queue, from("third", 21)); // full: the newest of who has most makes room
    assert_int_equal(x->code, 4);
    free(x);
    x = sella_queue_push(queue, from("other", 12));
    assert_int_equal(x->code, 3);
    free(x);
    x = from("third", 22); // 2, 2, 1: nobody has two more than it would have
    assert_ptr_equal(sella_queue_push(queue, x), x);
    free(x);
    assert_int_equal(sella_queue_depth(queue), 5);
    expect_pop(queue, 1); // in turns
    expect_pop(queue, 11);
    expect_pop(queue, 21);
    expect_pop(queue, 2);
    assert_null(sella_queue_push(queue, from("greedy", 6)));
    expect_pop(queue, 12);
    sella_queue_close(queue);
    x = from("late", 1);
    assert_ptr_equal(sella_queue_push(queue, x), x);
    free(x);
    x = sella_queue_pop(queue); // what waits is still handed out
    assert_int_equal(x->code, 6);
    free(x);
    assert_null(sella_queue_pop(queue));
    sella_queue_free(queue);
}

/* --- mutations ------------------------------------------------------------ */

static void parse_mutated(const uint8_t *data, size_t bytes, void *user)
{
    static const sella_ask_kind kinds[] = {SELLA_ASK_SCORE, SELLA_ASK_RECOMMEND, SELLA_ASK_EXPLAIN};
    (void)user;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        sella_ask *ask = NULL;
        sella_err err = {0};
        if (sella_ask_parse(kinds[i], (const char *)data, bytes, &ask, &err) == SELLA_OK) {
            assert_true(ask->user != NULL || ask->history.given);
            assert_true(ask->k >= 1 && ask->k <= SELLA_ASK_K_MAX);
            for (int n = 0; n < ask->items.count; n++) {
                assert_true(ask->items.id_n[n][0] != '\0');
            }
        } else {
            assert_null(ask);
            assert_int_equal(err.code, SELLA_FORMAT);
            assert_true(err.text[0] != '\0');
        }
        sella_ask_free(ask);
    }
    sella_feedback *feedback = NULL;
    sella_err err = {0};
    if (sella_feedback_parse((const char *)data, bytes, 7, &feedback, &err) == SELLA_OK) {
        for (int n = 0; n < feedback->count; n++) {
            assert_true(feedback->event_n[n].user[0] != '\0' &&
                        feedback->event_n[n].item[0] != '\0' &&
                        (feedback->event_n[n].label & ~1) == 0);
        }
    } else {
        assert_null(feedback);
        assert_true(err.text[0] != '\0');
    }
    sella_feedback_free(feedback);
}

static void target_mutated(const uint8_t *data, size_t bytes, void *user)
{
    char *text = strndup((const char *)data, bytes); // as the HTTP library hands it over
    sella_target target;
    sella_err err = {0};
    (void)user;
    if (sella_target_parse(text, &target, &err) == SELLA_OK) {
        const sella_route *route;
        const char *tail, *allow;
        assert_int_equal(target.path[0], '/');
        assert_int_equal(sella_utf8_valid(target.path, strlen(target.path)), strlen(target.path));
        sella_route_find("GET", target.path, &route, &tail, &allow);
    } else {
        assert_true(err.text[0] != '\0');
        assert_true(target.path == NULL ||
                    sella_utf8_valid(target.path, strlen(target.path)) == strlen(target.path));
    }
    sella_target_release(&target);
    sella_credential_right("0123456789abcdef", text, text);
    free(text);
}

static void survives_mutations(void **state)
{
    (void)state;
    static const char score[] =
        "{\"user\":\"u1\",\"history\":[\"Toy Story "
        "(1995)\",2,\"\\u00e9\"],\"items\":[1,\"2\",-3],\"free_titles\":true}";
    static const char recommend[] =
        "{\"user\":17,\"history\":[],\"k\":10,\"candidates\":[1,2],\"exclude\":[\"a\"],\"budget_"
        "ms\":2.5e1,\"retrieve_k\":3,\"include_seen\":false}";
    static const char events[] =
        "[{\"user\":1,\"item\":\"x\",\"label\":1,\"time\":978300000,\"id\":\"e-1\"},{\"user\":"
        "\"\\ud83c\\udfac\",\"item\":2,\"label\":false}]";
    static const char target[] = "/v1/users/a%20b%C3%A9?query=toy+story%21&limit=20&&x=%2f";
    static const char basic[] = "Basic YW55b25lOjAxMjM0NTY3ODlhYmNkZWY=";
    mutate_run(score, sizeof score - 1, mutate_rounds(4000, 400000), parse_mutated, NULL);
    mutate_run(recommend, sizeof recommend - 1, mutate_rounds(4000, 400000), parse_mutated, NULL);
    mutate_run(events, sizeof events - 1, mutate_rounds(4000, 400000), parse_mutated, NULL);
    mutate_run(target, sizeof target - 1, mutate_rounds(4000, 400000), target_mutated, NULL);
    mutate_run(basic, sizeof basic - 1, mutate_rounds(4000, 400000), target_mutated, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_targets),    cmocka_unit_test(finds_routes),
        cmocka_unit_test(checks_keys),        cmocka_unit_test(is_fair),
        cmocka_unit_test(survives_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
