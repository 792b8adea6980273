/* test_serve_model.c - a served language model: scores are the engine's, alone, cached or beside
 * others; deadlines, prefix cache. The model is tests/ref/tiny_llama. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "sella/engine.h"
#include "serve_model_fixture.h"

enum { ITEMS = 12, USERS = 8, TURNS = 6, THREADS = 4 };

typedef struct fixture {
    served *served;
    sella_talk talk;
    atomic_int warmed, named; /* lines that the server said of warming, of single users */
    atomic_bool enough;
    double want[USERS][ITEMS]; /* the engine's scores */
} fixture;

static void score_all(fixture *f)
{
    sella_engine *engine = NULL;
    const sella_engine_options options = {
        .model = f->served->model, .threads = 1, .cache_bytes = -1};
    CHECK(sella_engine_open(f->served->run, &options, &engine, err));
    for (int u = 0; u < USERS; u++) {
        char user[16], item[ITEMS][16];
        const char *item_n[ITEMS];
        for (int i = 0; i < ITEMS; i++) {
            snprintf(item[i], sizeof item[i], "i%d", i);
            item_n[i] = item[i];
        }
        snprintf(user, sizeof user, "u%d", u);
        const sella_request request = {.user = user, .history_count = -1};
        CHECK(sella_engine_score(engine, &request, item_n, ITEMS, f->want[u], err));
    }
    sella_engine_close(engine);
}

static void hear(void *user, sella_level level, const char *text)
{
    fixture *f = user;
    (void)level;
    atomic_fetch_add(&f->warmed, strstr(text, "warmed") != NULL);
    atomic_fetch_add(&f->named, strstr(text, "user '") != NULL);
}

static int setup(void **state)
{
    static const char users[] = "user\nu0\nu1\n";
    const fixture_shape shape = {
        .users = USERS, .items = ITEMS, .train = 90, .valid = 30, .seed = 3};
    fixture *f = calloc(1, sizeof *f);
    f->served = served_make(&shape);
    score_all(f);
    char *warm = scratch_file(f->served->folder, "warm.csv", users, sizeof users - 1);
    f->talk = (sella_talk){.line = hear, .user = f};
    served_start(f->served, (sella_serve_options){.warm = warm, .talk = &f->talk});
    free(warm);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    served_remove(f->served);
    free(f);
    return 0;
}

/* Largest difference of the served scores of one user to the engine's; 1 when there was no
 * answer. */
static double difference(const fixture *f, int user)
{
    char body[256];
    double worst = 0;
    http_reply reply;
    int n = snprintf(body, sizeof body, "{\"user\":\"u%d\",\"items\":[", user);
    for (int i = 0; i < ITEMS; i++) {
        n += snprintf(body + n, sizeof body - (size_t)n, "%s\"i%d\"", i > 0 ? "," : "", i);
    }
    snprintf(body + n, sizeof body - (size_t)n, "]}");
    http_ask(f->served->port, "POST", "/v1/score", body, &reply);
    const json_t *scores = json_object_get(reply.json, "scores");
    if (json_array_size(scores) != ITEMS) {
        worst = 1;
    }
    for (size_t i = 0; i < json_array_size(scores); i++) {
        worst = fmax(worst,
                     fabs(json_number_value(json_object_get(json_array_get(scores, i), "score")) -
                          f->want[user][i]));
    }
    http_reply_release(&reply);
    return worst;
}

typedef struct asker {
    const fixture *f;
    int first;
    double worst;
} asker;

static void *ask_all(void *user)
{
    asker *a = user;
    for (int t = 0; t < TURNS; t++) {
        a->worst = fmax(a->worst, difference(a->f, (a->first + t * 3) % USERS));
    }
    return NULL;
}

static void serves_the_engines_scores(void **state)
{
    const fixture *f = *state;
    pthread_t thread[THREADS];
    asker asker_n[THREADS];
    assert_true(http_metric(f->served->port, "\nsella_cache_entries ") > 0); // warmed
    assert_true(difference(f, 0) < 1e-5);
    assert_true(difference(f, 0) < 1e-5); // cached
    for (int i = 0; i < THREADS; i++) {
        asker_n[i] = (asker){.f = f, .first = i};
        assert_int_equal(pthread_create(&thread[i], NULL, ask_all, &asker_n[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_true(asker_n[i].worst < 1e-5);
    }
    assert_true(http_metric(f->served->port, "\nsella_model_tokens_total ") > 0);
    assert_true(http_metric(f->served->port, "\nsella_model_tokens_reused_total ") > 0);
    assert_true(http_metric(f->served->port, "\nsella_cache_requests_total{found=\"whole\"} ") > 0);
}

/* How many of an answer's items are rescored; all of them in order of their step, then of their
 * score. */
static int rescored(const fixture *f, const char *body, int want)
{
    http_reply reply;
    int count = 0;
    http_ask(f->served->port, "POST", "/v1/recommend", body, &reply);
    const json_t *items = json_object_get(reply.json, "items");
    if (reply.status != 200 || (int)json_array_size(items) != want) {
        fail_msg("%s: %d %s", body, reply.status, reply.body);
    }
    double last = 2;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *entry = json_array_get(items, i);
        const bool is = json_is_true(json_object_get(entry, "rescored"));
        const double score = json_number_value(json_object_get(entry, "score"));
        assert_true(!is || count == (int)i);
        assert_true((int)i == count || (is ? score <= last : true));
        if (!is) {
            assert_true(score == json_number_value(json_object_get(entry, "retrieved")));
        }
        count += is;
        last = score;
    }
    http_reply_release(&reply);
    return count;
}

static void rescores_what_it_is_told(void **state)
{
    const fixture *f = *state;
    assert_int_equal(rescored(f, "{\"user\":\"nobody\",\"k\":12}", 12), 12);
    assert_int_equal(rescored(f, "{\"user\":\"nobody\",\"k\":5,\"retrieve_k\":3}", 5), 3);
    assert_int_equal(rescored(f,
                              "{\"user\":\"nobody\",\"k\":4,\"candidates\":[\"i3\",\"i4\",\"i5\","
                              "\"i6\"],\"exclude\":[\"i4\"]}",
                              3),
                     3);
    /* over before it began: marked */
    assert_int_equal(rescored(f, "{\"user\":\"nobody\",\"k\":12,\"budget_ms\":0.000001}", 12), 0);
}

/* The explanation is of the score that is served, and takes out what the feedback put into the
 * history. */
static void explains_what_it_serves(void **state)
{
    const fixture *f = *state;
    http_reply reply;
    http_ask(f->served->port, "POST", "/v1/feedback",
             "[{\"user\":\"why\",\"item\":\"i1\",\"label\":1,\"time\":1},{\"user\":\"why\","
             "\"item\":\"i2\",\"label\":1,\"time\":2}]",
             &reply);
    assert_int_equal(reply.status, 200);
    http_reply_release(&reply);
    http_ask(f->served->port, "POST", "/v1/score", "{\"user\":\"why\",\"items\":[\"i5\"]}", &reply);
    const double score = json_number_value(
        json_object_get(json_array_get(json_object_get(reply.json, "scores"), 0), "score"));
    http_reply_release(&reply);
    http_ask(f->served->port, "POST", "/v1/explain", "{\"user\":\"why\",\"item\":\"i5\"}", &reply);
    assert_int_equal(reply.status, 200);
    assert_true(fabs(json_number_value(json_object_get(reply.json, "score")) - score) < 1e-5);
    assert_int_equal(json_array_size(json_object_get(reply.json, "without")), 2);
    assert_null(json_object_get(json_object_get(reply.json, "attention"), "head_mean"));
    assert_non_null(json_object_get(json_object_get(reply.json, "attention"), "from_answer"));
    http_reply_release(&reply);
    http_ask(f->served->port, "POST", "/v1/explain",
             "{\"user\":\"why\",\"item\":\"i5\",\"without\":[]}", &reply);
    assert_true(fabs(json_number_value(json_object_get(reply.json, "score")) - score) < 1e-5);
    assert_int_equal(json_array_size(json_object_get(reply.json, "without")), 0);
    assert_true(json_array_size(json_object_get(reply.json, "terms")) > 0);
    http_reply_release(&reply);
    http_ask(f->served->port, "POST", "/v1/explain",
             "{\"user\":\"why\",\"item\":\"i5\",\"without\":[\"i2\"]}", &reply);
    const json_t *without = json_object_get(reply.json, "without");
    assert_int_equal(json_array_size(without), 1);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(without, 0), "item")), "i2");
    http_reply_release(&reply);
    http_ask(f->served->port, "POST", "/v1/explain",
             "{\"user\":\"why\",\"item\":\"i5\",\"without\":[\"i7\"]}", &reply);
    http_expect_problem(&reply, 422); // not in the history
    http_reply_release(&reply);
    http_ask(f->served->port, "POST", "/v1/recommend",
             "{\"user\":\"why\",\"k\":2,\"explain\":true}", &reply);
    const json_t *items = json_object_get(reply.json, "items");
    assert_int_equal(json_array_size(items), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(json_array_size(json_object_get(
                             json_object_get(json_array_get(items, i), "why"), "without")),
                         2);
    }
    http_reply_release(&reply);
}

static void *ask_for_nobody(void *user)
{
    fixture *f = user;
    while (!atomic_load(&f->enough)) {
        http_reply reply;
        http_ask(f->served->port, "POST", "/v1/score", "{\"user\":\"nobody\",\"items\":[\"i1\"]}",
                 &reply);
        http_reply_release(&reply);
    }
    return NULL;
}

/* What an engine says while it is opened is told, what requests make it say is not: also not by the
 * old one while a reload opens the new one beside it. */
static void tells_nothing_of_requests(void **state)
{
    fixture *f = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ask_for_nobody, f), 0);
    for (int i = 0; i < 10; i++) {
        CHECK(sella_serve_reload(f->served->server, err));
    }
    atomic_store(&f->enough, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&f->warmed), 11);
    assert_int_equal(atomic_load(&f->named), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_the_engines_scores),
        cmocka_unit_test(rescores_what_it_is_told),
        cmocka_unit_test(explains_what_it_serves),
        cmocka_unit_test(tells_nothing_of_requests),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
