/* test_eval_spread.c - mean and standard deviation of figures objects; expected values worked out
 * by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "eval/spread.h"

static json_t *parse(const char *text)
{
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    return object;
}

static void near(const json_t *object, const char *key, double want)
{
    const double got = json_real_value(json_object_get(object, key));
    if (!json_is_real(json_object_get(object, key)) || !(fabs(got - want) < 1e-14)) {
        fail_msg("%s is %.17g, expected %.17g", key, got, want);
    }
}

static void three(void **state)
{
    (void)state;
    json_t *a = parse(
               "{\"method\": \"mf\", \"rows\": 10, \"auc\": 0.5, \"uauc\": null, \"logloss\": "
               "null, \"subsets\": {\"warm\": {\"rows\": 3, \"auc\": 1.0}}, \"ranking\": {\"at\": "
               "[{\"k\": 5, \"ndcg\": 0.1}, {\"k\": 9, \"ndcg\": 0.25}]}}"),
           *b = parse(
               "{\"method\": \"mf\", \"rows\": 12, \"auc\": 0.75, \"uauc\": null, \"logloss\": "
               "0.5, \"subsets\": {\"warm\": {\"rows\": 3, \"auc\": 0.0}}, \"ranking\": {\"at\": "
               "[{\"k\": 5, \"ndcg\": 0.2}, {\"k\": 9, \"ndcg\": 0.5}]}}"),
           *c = parse(
               "{\"method\": \"mf\", \"rows\": 11, \"auc\": 0.25, \"uauc\": null, \"logloss\": "
               "0.5, \"subsets\": {\"warm\": {\"rows\": 3, \"auc\": 0.5}}, \"ranking\": {\"at\": "
               "[{\"k\": 5, \"ndcg\": 0.6}, {\"k\": 9, \"ndcg\": 0.75}]}, \"more\": 1.0}");
    const json_t *const all[] = {a, b, c};
    json_t *mean = sella_spread_mean(all, 3), *sd = sella_spread_sd(all, 3);
    near(mean, "auc", .5);
    near(sd, "auc", .25); // (0 + 1/16 + 1/16) / 2
    assert_true(json_is_null(json_object_get(mean, "uauc")) &&
                json_is_null(json_object_get(sd, "uauc")));
    /* one run has none */
    assert_true(json_is_null(json_object_get(mean, "logloss")) &&
                json_is_null(json_object_get(sd, "logloss")));
    assert_null(json_object_get(mean, "rows"));   // a count
    assert_null(json_object_get(mean, "method")); // a name
    near(json_object_get(json_object_get(mean, "subsets"), "warm"), "auc", .5);
    near(json_object_get(json_object_get(sd, "subsets"), "warm"), "auc", .5);
    const json_t *at = json_object_get(json_object_get(mean, "ranking"), "at");
    near(json_array_get(at, 0), "ndcg", .3);
    near(json_array_get(at, 1), "ndcg", .5);
    at = json_object_get(json_object_get(sd, "ranking"), "at");
    near(json_array_get(at, 0), "ndcg", sqrt(.07)); // (.04 + .01 + .09) / 2
    json_decref(mean);
    json_decref(sd);
    sd = sella_spread_sd(all, 1); // one run has no deviation
    assert_true(json_is_null(json_object_get(sd, "auc")));
    mean = sella_spread_mean(all, 1);
    near(mean, "auc", .5);
    json_decref(mean), json_decref(sd), json_decref(a), json_decref(b), json_decref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(three)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
