/* test_methods_init_from.c - a run that begins where another one ended: rows matched by id on grown
 * and shrunk data, what new users and items begin with, what is refused. Nothing is trained after
 * the start (no epochs), so that the start itself is what the run holds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "methods_fixture.h"
#include "sella/engine.h"

static char *folder, *small_data, *grown_data;

static char *place(const char *name)
{
    return sella_path_join(folder, name, NULL);
}

static int setup(void **state)
{
    (void)state;
    sella_threads_set(1);
    folder = scratch_make();
    small_data = place("small");
    grown_data = place("grown");
    fixture_dataset(small_data, &(fixture_shape){
                                    .users = 8, .items = 14, .train = 220, .valid = 40, .seed = 3});
    fixture_dataset(
        grown_data,
        &(fixture_shape){.users = 12, .items = 20, .train = 500, .valid = 60, .seed = 4});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(small_data);
    free(grown_data);
    return 0;
}

static sella_status train_on(const char *method, const char *data, const char *run,
                             const char *init, const char *from, const char *const *set,
                             bool resume, sella_err *err)
{
    const sella_train_options options = {.init_from = init, .from = from, .resume = resume};
    return fixture_train_with(options, method, data, run, set, NULL, err);
}

static void train_ok(const char *method, const char *data, const char *run, const char *init,
                     const char *const *set)
{
    sella_err why;
    if (train_on(method, data, run, init, NULL, set, false, &why) != SELLA_OK) {
        fail_msg("%s: %s", method, why.text);
    }
}

/* Every row of the tensor whose id both runs know has the same bytes; returns how many. */
static int same_rows(const char *a, const char *b, const char *name, bool users)
{
    sella_run *x, *y;
    sella_safetensors *p, *q;
    char *in_a = sella_path_join(a, "collab.safetensors", NULL),
         *in_b = sella_path_join(b, "collab.safetensors", NULL);
    CHECK(sella_run_open(a, &x, err));
    CHECK(sella_run_open(b, &y, err));
    CHECK(sella_safetensors_open(in_a, &p, err));
    CHECK(sella_safetensors_open(in_b, &q, err));
    const sella_tensor *s = sella_safetensors_find(p, name), *t = sella_safetensors_find(q, name);
    assert_true(s && t && s->rank == t->rank);
    const size_t width = s->rank == 2 ? (size_t)s->shape[1] : 1;
    int known = 0;
    for (int64_t r = 0; r < t->shape[0]; r++) {
        const int32_t old =
            users ? sella_run_find_user(x, y->user_id[r]) : sella_run_find_item(x, y->item_id[r]);
        if (old >= 0) {
            assert_memory_equal((const float *)t->data + (size_t)r * width,
                                (const float *)s->data + (size_t)old * width,
                                width * sizeof(float));
            known++;
        }
    }
    sella_safetensors_close(p);
    sella_safetensors_close(q);
    sella_run_close(x);
    sella_run_close(y);
    free(in_a);
    free(in_b);
    return known;
}

static void matrix_factorisation(void **state)
{
    (void)state;
    static const char *const learn[] = {"collab.width=6", "collab.epochs=6", NULL},
                             *const keep[] = {"collab.width=6", "collab.epochs=0",
                                              "collab.init=1e-9", NULL};
    char *old = place("mf"), *grown = place("mf-grown"), *shrunk = place("mf-shrunk");
    train_ok("mf", small_data, old, NULL, learn);
    train_ok("mf", grown_data, grown, old, keep);
    assert_int_equal(same_rows(old, grown, "user.weight", true), 8);
    assert_int_equal(same_rows(old, grown, "user.bias", true), 8);
    assert_int_equal(same_rows(old, grown, "item.weight", false), 14);
    assert_int_equal(same_rows(old, grown, "item.bias", false), 14);
    /* a new user begins as the old run sees a user never seen with the likes of train; other
     * figures are of known items alone */
    sella_dataset *data = NULL;
    sella_engine *before, *after;
    CHECK(sella_dataset_open(grown_data, &data, err));
    CHECK(sella_engine_open(old, NULL, &before, err));
    CHECK(sella_engine_open(grown, NULL, &after, err));
    int fresh = 0;
    for (int32_t u = 0; u < data->train_users; u++) {
        if (strtol(data->user_id[u] + 1, NULL, 10) < 8) {
            continue;
        }
        const char *history[512], *const item[] = {"i3", "i9"};
        int32_t *liked, count, known = 0;
        double want[2], got[2];
        CHECK(sella_dataset_user_history(data, u, 1u << SELLA_SPLIT_TRAIN, &liked, &count, err));
        for (int32_t j = count > 50 ? count - 50 : 0; j < count; j++) {
            if (strtol(data->item_id[liked[j]] + 1, NULL, 10) < 14) {
                history[known++] = data->item_id[liked[j]];
            }
        }
        CHECK(sella_engine_score(before,
                                 &(sella_request){.history = history, .history_count = known}, item,
                                 2, want, err));
        CHECK(sella_engine_score(after,
                                 &(sella_request){.user = data->user_id[u], .history_count = -1},
                                 item, 2, got, err));
        assert_true(fabs(got[0] - want[0]) < 1e-5 && fabs(got[1] - want[1]) < 1e-5);
        free(liked);
        fresh++;
    }
    assert_int_equal(fresh, 4);
    sella_engine_close(before);
    sella_engine_close(after);
    sella_dataset_close(data);
    /* back to the smaller catalogue */
    train_ok("mf", small_data, shrunk, grown, keep);
    assert_int_equal(same_rows(grown, shrunk, "user.weight", true), 8);
    assert_int_equal(same_rows(old, shrunk, "item.weight", false), 14);
    /* it is written down */
    char *file = sella_path_join(grown, "run.json", NULL);
    json_t *document = NULL;
    CHECK(sella_json_load(file, 1 << 20, &document, err));
    assert_non_null(strstr(json_string_value(json_object_get(document, "init_from")), "/mf"));
    assert_int_equal(json_integer_value(
                         json_object_get(json_object_get(document, "decided"), "init_from.users")),
                     8);
    assert_int_equal(json_integer_value(
                         json_object_get(json_object_get(document, "decided"), "init_from.items")),
                     14);
    json_decref(document);
    free(file);
    free(old);
    free(grown);
    free(shrunk);
}

/* The first epoch on the same rows loses less than a new run's, also with sgd; and --resume goes on
 * with the recorded start alone. */
static void goes_on_learning(void **state)
{
    (void)state;
    static const char *const learn[] = {"collab.width=6", "collab.epochs=8", NULL},
                             *const one[] = {"collab.width=6", "collab.epochs=1", NULL};
    char *old = place("sgd"), *again = place("sgd-again"), *anew = place("sgd-new");
    double loss[2];
    sella_err why;
    train_ok("mf", small_data, old, NULL, learn);
    train_ok("mf", small_data, again, old, one);
    train_ok("mf", small_data, anew, NULL, one);
    for (int i = 0; i < 2; i++) {
        char *file = sella_path_join(i ? anew : again, "stages/mf/done.json", NULL);
        json_t *record = NULL;
        CHECK(sella_json_load(file, 1 << 20, &record, err));
        loss[i] = json_number_value(json_object_get(record, "loss"));
        json_decref(record);
        free(file);
    }
    assert_true(loss[0] < loss[1] - 0.01);
    assert_int_equal(train_on("mf", small_data, anew, old, NULL, one, true, &why), SELLA_STATE);
    assert_non_null(strstr(why.text, "no other run"));
    assert_int_equal(train_on("mf", small_data, again, old, NULL, one, true, &why), SELLA_OK);
    free(old);
    free(again);
    free(anew);
}

static void adapters(void **state)
{
    (void)state;
    static const char *const learn[] = {"stage1.lr=1e-2", "stage1.batch=24", NULL},
                             *const keep[] = {"stage1.epochs=0", NULL};
    char *old = place("tallrec"), *grown = place("tallrec-grown");
    train_ok("tallrec", small_data, old, NULL, learn);
    train_ok("tallrec", grown_data, grown, old, keep);
    assert_true(fixture_same(old, grown, "adapter/adapter_model.safetensors"));
    free(old);
    free(grown);
}

static void whole_method(void **state)
{
    (void)state;
    static const char *const learn[] = {"stage1.batch=24", "stage3.batch=24", "stage2.epochs=6",
                                        "stage2.batch=64", "collab.width=8",  "proj.hidden=12",
                                        "stage3.lr=1e-2",  "stage1.lr=1e-2",  NULL},
                             *const keep[] = {"stage1.epochs=0", "stage2.epochs=0",
                                              "stage3.steps=0",  "collab.width=8",
                                              "proj.hidden=12",  NULL};
    char *old = place("sella"), *grown = place("sella-grown");
    train_ok("sella", small_data, old, NULL, learn);
    train_ok("sella", grown_data, grown, old, keep);
    assert_true(fixture_same(old, grown, "adapter/adapter_model.safetensors"));
    assert_true(fixture_same(old, grown, "projection.safetensors"));
    assert_int_equal(same_rows(old, grown, "user.weight", true), 8);
    assert_int_equal(same_rows(old, grown, "item.weight", false), 14);
    assert_int_equal(same_rows(old, grown, "history.weight", false), 14);
    assert_int_equal(same_rows(old, grown, "semantic.weight", false), 14);
    /* a new item's semantic row is as distilled */
    char *file = sella_path_join(grown, "collab.safetensors", NULL),
         *distilled = sella_path_join(grown, "stages/distil/semantic.safetensors", NULL);
    sella_safetensors *p, *q;
    CHECK(sella_safetensors_open(file, &p, err));
    CHECK(sella_safetensors_open(distilled, &q, err));
    const sella_tensor *s = sella_safetensors_find(p, "semantic.weight"),
                       *t = sella_safetensors_find(q, "semantic.weight");
    const size_t L = (size_t)s->shape[1];
    assert_memory_equal((const float *)s->data + 17 * L, (const float *)t->data + 17 * L,
                        L * sizeof(float));
    assert_true(memcmp((const float *)s->data + 3 * L, (const float *)t->data + 3 * L,
                       L * sizeof(float)) != 0);
    sella_safetensors_close(p);
    sella_safetensors_close(q);
    /* refusals need a finished sella run */
    sella_err why;
    char *bad = place("bad");
    static const char *const wide[] = {"collab.width=9", "proj.hidden=12", NULL},
                             *const hidden[] = {"collab.width=8", "proj.hidden=13", NULL},
                             *const rank[] = {"collab.width=8", "proj.hidden=12", "lora.rank=4",
                                              NULL};
    assert_int_equal(train_on("sella", grown_data, bad, old, NULL, wide, false, &why), SELLA_STATE);
    assert_non_null(strstr(why.text, "collab.width is 8, here it is 9"));
    assert_int_equal(train_on("sella", grown_data, bad, old, NULL, hidden, false, &why),
                     SELLA_STATE);
    assert_non_null(strstr(why.text, "proj.hidden"));
    assert_int_equal(train_on("sella", grown_data, bad, old, NULL, rank, false, &why), SELLA_STATE);
    assert_non_null(strstr(why.text, "lora.rank"));
    assert_int_equal(train_on("tallrec", grown_data, bad, old, NULL, NULL, false, &why),
                     SELLA_STATE);
    assert_non_null(strstr(why.text, "is a run of sella"));
    assert_int_equal(train_on("bias", grown_data, bad, old, NULL, NULL, false, &why), SELLA_ARG);
    assert_non_null(strstr(why.text, "--init-from"));
    assert_int_equal(train_on("sella", grown_data, bad, old, old, NULL, false, &why), SELLA_ARG);
    assert_int_equal(train_on("sella", grown_data, bad, "nowhere", NULL, NULL, false, &why),
                     SELLA_MISSING);
    char *result = sella_path_join(old, "result.json", NULL);
    assert_int_equal(remove(result), 0);
    assert_int_equal(train_on("sella", grown_data, bad, old, NULL, NULL, false, &why), SELLA_STATE);
    assert_non_null(strstr(why.text, "has not finished"));
    assert_false(sella_path_exists(bad));
    free(result);
    free(bad);
    free(file);
    free(distilled);
    free(old);
    free(grown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrix_factorisation),
        cmocka_unit_test(goes_on_learning),
        cmocka_unit_test(adapters),
        cmocka_unit_test(whole_method),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
