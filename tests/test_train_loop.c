/* The training loop on a toy model: exact resume after SIGKILL, records, early stopping, groups,
 * interruption, divergence. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "scratch.h"
#include "train/loop.h"

enum { W = 13, STEPS = 7 };

/* Linear regression on drawn inputs; the metric is not monotone, so that the best is not the
 * last. */
typedef struct toy {
    sella_param_table table;
    sella_param_table *tables[1];
    int nap_us;
    int64_t nan_at;       /* step whose loss is NaN; -1: none */
    int64_t stop_at;      /* stop is wanted once so many steps ran; -1: never */
    int64_t interrupt_at; /* evaluation that returns SELLA_INTERRUPTED; -1: none */
    int64_t ran, evaluated;
    bool no_metric;
} toy;

static void nap(int microseconds)
{
    const struct timespec time = {.tv_nsec = 1000L * microseconds};
    nanosleep(&time, NULL);
}

static sella_status toy_init(toy *t)
{
    *t = (toy){.nan_at = -1, .stop_at = -1, .interrupt_at = -1};
    sella_param_table_init(&t->table);
    t->tables[0] = &t->table;
    sella_status status = sella_param_add(&t->table, "w", W, 3, NULL);
    status = status == SELLA_OK ? sella_param_add(&t->table, "frozen", 5, 0, NULL) : status;
    status = status == SELLA_OK ? sella_param_add(&t->table, "b", 4, 0, NULL) : status;
    status = status == SELLA_OK ? sella_param_train(&t->table.param[1], false, NULL) : status;
    t->table.param[2].group = 1;
    return status;
}

static sella_status toy_step(void *user, sella_loop_step *step, sella_err *err)
{
    toy *t = user;
    const sella_rng rng = {.seed = 3,
                           .stream = SELLA_STREAM_TEST,
                           .a = (uint32_t)step->epoch,
                           .b = (uint32_t)step->index};
    (void)err;
    step->loss = 0;
    for (int p = 0; p < 3; p += 2) {
        sella_param *param = &t->table.param[p];
        for (size_t i = 0; i < param->count; i++) {
            const float gap = param->data[i] - sella_rng_uniform(&rng, (uint64_t)p * 1000 + i);
            param->grad[i] += 2 * gap;
            step->loss += (double)(gap * gap);
        }
    }
    step->units = 4;
    step->loss = step->step == t->nan_at ? NAN : step->loss;
    step->record = json_pack("{s:i}", "drawn", (int)step->step * 3);
    t->ran++;
    nap(t->nap_us);
    return SELLA_OK;
}

static sella_status toy_evaluate(void *user, double *metric, json_t **record, sella_err *err)
{
    toy *t = user;
    nap(t->nap_us);
    if (t->evaluated++ == t->interrupt_at) {
        return sella_err_set(err, SELLA_INTERRUPTED, "stopped while evaluating");
    }
    *metric = t->no_metric ? NAN : -fabs((double)t->table.param[0].data[0] - 0.3);
    *record = json_pack("{s:f}", "uauc", 0.5);
    return SELLA_OK;
}

static int toy_group(void *user, int64_t step, int64_t total)
{
    (void)user;
    return step < total / 2 ? 0 : 1;
}

static int toy_stop(void *user)
{
    const toy *t = user;
    return t->stop_at >= 0 && t->ran >= t->stop_at;
}

static sella_loop toy_loop(toy *t, const char *dir, char *checkpoints, char *metrics)
{
    if (dir) {
        snprintf(checkpoints, 200, "%s/checkpoints", dir);
        snprintf(metrics, 200, "%s/metrics.jsonl", dir);
    }
    return (sella_loop){
        .stage = "toy",
        .tables = t->tables,
        .n = 1,
        .optimizer = {.beta1 = .9, .beta2 = .999, .eps = 1e-8, .weight_decay = .01, .clip = 3},
        .schedule = SELLA_SCHEDULE_COSINE,
        .lr = .05,
        .warmup_ratio = .1,
        .epochs = 6,
        .steps_per_epoch = STEPS,
        .units_per_epoch = 4 * STEPS,
        .unit = "rows",
        .run_step = toy_step,
        .evaluate = toy_evaluate,
        .evaluate_every = 1,
        .evaluate_steps = 5,
        .keep_best = true,
        .checkpoint_dir = dir ? checkpoints : NULL,
        .metrics_path = dir ? metrics : NULL,
        .record_steps = 3,
        .user = t};
}

/* All records as text, without "seconds". */
static char *records_of(const char *dir)
{
    char path[200];
    sella_map map;
    json_t *all = json_array();
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    assert_int_equal(sella_map_open(path, &map, NULL), SELLA_OK);
    const char *at = (const char *)map.data, *end = at + map.size;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        json_t *record = NULL;
        assert_non_null(line_end);
        assert_int_equal(sella_json_parse(at, (size_t)(line_end - at), path, &record, NULL),
                         SELLA_OK);
        assert_true(json_real_value(json_object_get(record, "seconds")) >= 0);
        json_object_del(record, "seconds");
        json_array_append_new(all, record);
        at = line_end + 1;
    }
    sella_map_close(&map);
    char *text = sella_json_line(all);
    json_decref(all);
    return text;
}

/* In a child: run the loop in dir, write the parameters to dir/final. Exit code: 0 ok, else 1.
 * OpenMP must not run in the parent before. */
static pid_t start_child(const char *dir, int nap_us, double seconds, bool groups)
{
    const pid_t pid = fork();
    if (pid == 0) {
        toy t;
        char checkpoints[200], metrics[200], final[200];
        float all[W * 3 + 9];
        bool ok = toy_init(&t) == SELLA_OK;
        t.nap_us = nap_us;
        sella_loop loop = toy_loop(&t, dir, checkpoints, metrics);
        loop.checkpoint_seconds = seconds;
        loop.group = groups ? toy_group : NULL;
        ok = ok && sella_loop_run(&loop, NULL, NULL) == SELLA_OK;
        memcpy(all, t.table.param[0].data, W * 3 * sizeof(float));
        memcpy(all + W * 3, t.table.param[1].data, 5 * sizeof(float));
        memcpy(all + W * 3 + 5, t.table.param[2].data, 4 * sizeof(float));
        snprintf(final, sizeof final, "%s/final", dir);
        ok = ok && sella_write_file(final, all, sizeof all, NULL) == SELLA_OK;
        _exit(ok ? 0 : 1);
    }
    assert_true(pid > 0);
    return pid;
}

static void wait_ok(pid_t pid)
{
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
}

static void same_result(const char *dir, const char *other)
{
    char path[200];
    sella_map a, b;
    snprintf(path, sizeof path, "%s/final", dir);
    assert_int_equal(sella_map_open(path, &a, NULL), SELLA_OK);
    snprintf(path, sizeof path, "%s/final", other);
    assert_int_equal(sella_map_open(path, &b, NULL), SELLA_OK);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    sella_map_close(&a);
    sella_map_close(&b);
    char *x = records_of(dir), *y = records_of(other);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static void kill_rounds(double seconds, bool groups)
{
    char *plain = scratch_make();
    int killed = 0;
    wait_ok(start_child(plain, 0, 1e9, groups));
    for (int round = 0; round < 3; round++) {
        char *dir = scratch_make();
        for (int attempt = 0;; attempt++) {
            int how;
            const sella_rng rng = {.seed = 9,
                                   .stream = SELLA_STREAM_TEST,
                                   .a = (uint32_t)round,
                                   .b = (uint32_t)attempt};
            const pid_t pid = start_child(dir, attempt < 25 ? 400 : 0, seconds, groups);
            if (attempt < 25) {
                /* the first moments are early ones, so that a quick machine does not finish before
                 * it is killed */
                const uint64_t range = attempt < 19 ? 2000u * ((unsigned)attempt + 1) : 40000;
                nap(1000 + (int)sella_rng_below(&rng, 0, range));
                kill(pid, SIGKILL);
            }
            assert_int_equal(waitpid(pid, &how, 0), pid);
            if (WIFEXITED(how)) {
                assert_int_equal(WEXITSTATUS(how), 0);
                break;
            }
            killed++;
        }
        same_result(dir, plain);
        scratch_remove(dir);
    }
    assert_true(killed > 3);
    scratch_remove(plain);
}

static void test_killed_every_step(void **state)
{
    (void)state;
    kill_rounds(0, false);
}

static void test_killed_sometimes(void **state)
{
    (void)state;
    kill_rounds(0.004, true);
}

/* ---- within this process: from here on no fork ---- */

static void test_first_start_drops_own_records(void **state)
{
    (void)state;
    char *dir = scratch_make(), path[200], checkpoints[200], metrics[200];
    static const char before[] = "{\"stage\":\"earlier\",\"event\":\"epoch\",\"seconds\":1.0}\n";
    static const char stale[] =
        "{\"stage\":\"toy\",\"event\":\"epoch\",\"seconds\":1.0}\n{\"stage\":\"to";
    toy t;
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    char text[sizeof before + sizeof stale];
    snprintf(text, sizeof text, "%s%s", before, stale);
    assert_int_equal(sella_write_file(path, text, strlen(text), NULL), SELLA_OK);
    assert_int_equal(toy_init(&t), SELLA_OK);
    sella_loop loop = toy_loop(&t, dir, checkpoints, metrics);
    loop.checkpoint_seconds = 1e9;
    assert_int_equal(sella_loop_run(&loop, NULL, NULL), SELLA_OK);
    char *records = records_of(dir);
    assert_non_null(strstr(records, "earlier"));
    int lines = 0, evals = 0, steps = 0, epochs = 0;
    for (const char *at = records; (at = strstr(at, "\"stage\"")) != NULL; at++) {
        lines++;
    }
    for (const char *at = records; (at = strstr(at, "\"event\":\"eval\"")) != NULL; at++) {
        evals++;
    }
    for (const char *at = records; (at = strstr(at, "\"event\":\"step\"")) != NULL; at++) {
        steps++;
    }
    for (const char *at = records; (at = strstr(at, "\"event\":\"epoch\"")) != NULL; at++) {
        epochs++;
    }
    assert_int_equal(epochs, 7);  /* six and the earlier one */
    assert_int_equal(steps, 14);  /* 42 / 3 */
    assert_int_equal(evals, 13);  /* 8 by fives, 6 epochs, 35 is both */
    assert_int_equal(lines, 34);
    assert_non_null(strstr(records, "\"drawn\":123")); /* of step 42 */
    free(records);
    sella_param_table_release(&t.table);
    scratch_remove(dir);
}

static void test_interrupted(void **state)
{
    (void)state;
    char *dir = scratch_make(), *plain = scratch_make(), checkpoints[200], metrics[200];
    toy a, b;
    sella_err err = {0};
    sella_loop_result whole, parts = {0};
    assert_int_equal(toy_init(&a), SELLA_OK);
    sella_loop loop = toy_loop(&a, plain, checkpoints, metrics);
    loop.checkpoint_seconds = 1e9;
    assert_int_equal(sella_loop_run(&loop, &whole, NULL), SELLA_OK);
    int rounds = 0;
    for (;; rounds++) {
        assert_int_equal(toy_init(&b), SELLA_OK);
        const sella_talk talk = {.stop = toy_stop, .user = &b};
        b.stop_at = rounds % 2 == 0 ? 11 : -1;
        b.interrupt_at = rounds % 2 == 1 ? 1 : -1;
        loop = toy_loop(&b, dir, checkpoints, metrics);
        loop.checkpoint_seconds = 1e9;
        loop.talk = &talk;
        const sella_status status = sella_loop_run(&loop, &parts, &err);
        if (status == SELLA_OK) {
            break;
        }
        assert_int_equal(status, SELLA_INTERRUPTED);
        assert_true(rounds < 20);
        sella_param_table_release(&b.table);
    }
    assert_true(rounds >= 3);
    for (int p = 0; p < 3; p++) {
        assert_memory_equal(a.table.param[p].data, b.table.param[p].data,
                            a.table.param[p].count * sizeof(float));
    }
    assert_true(whole.best == parts.best && whole.best_epoch == parts.best_epoch &&
                whole.steps == parts.steps);
    assert_true(whole.last_loss == parts.last_loss && whole.epochs == 6);
    char *x = records_of(dir), *y = records_of(plain);
    assert_string_equal(x, y);
    free(x);
    free(y);
    sella_param_table_release(&a.table);
    sella_param_table_release(&b.table);
    scratch_remove(dir);
    scratch_remove(plain);
}

/* The best evaluation's parameters are there at the end, and patience ends the run. */
static void test_best_and_patience(void **state)
{
    (void)state;
    toy t;
    sella_loop_result result;
    assert_int_equal(toy_init(&t), SELLA_OK);
    sella_loop loop = toy_loop(&t, NULL, NULL, NULL);
    loop.epochs = 100;
    loop.schedule = SELLA_SCHEDULE_CONSTANT;
    loop.warmup_ratio = 0;
    loop.evaluate_steps = 0;
    loop.patience = 3;
    assert_int_equal(sella_loop_run(&loop, &result, NULL), SELLA_OK);
    assert_true(result.epochs == result.best_epoch + 3 && result.epochs < 100);
    assert_true(-fabs((double)t.table.param[0].data[0] - 0.3) == result.best);
    const int64_t stopped = result.epochs;
    sella_param_table_release(&t.table);
    assert_int_equal(toy_init(&t), SELLA_OK);
    loop.tables = t.tables;
    loop.min_epochs = stopped + 9;
    assert_int_equal(sella_loop_run(&loop, &result, NULL), SELLA_OK);
    assert_true(result.epochs >= stopped + 9);
    sella_param_table_release(&t.table);
    /* a metric that does not exist neither stops nor restores */
    assert_int_equal(toy_init(&t), SELLA_OK);
    loop.tables = t.tables;
    loop.epochs = 9;
    loop.min_epochs = 0;
    t.no_metric = true;
    assert_int_equal(sella_loop_run(&loop, &result, NULL), SELLA_OK);
    assert_true(result.epochs == 9 && isnan(result.best) && result.best_epoch == 0);
    sella_param_table_release(&t.table);
}

static void test_groups_and_nothing(void **state)
{
    (void)state;
    toy t;
    sella_loop_result result;
    assert_int_equal(toy_init(&t), SELLA_OK);
    sella_loop loop = toy_loop(&t, NULL, NULL, NULL);
    loop.epochs = 0;
    loop.steps_per_epoch = 0;
    assert_int_equal(sella_loop_run(&loop, &result, NULL), SELLA_OK);
    assert_true(result.steps == 0 && isnan(result.best) && isnan(result.last_loss));
    loop.epochs = 1;
    assert_int_equal(sella_loop_run(&loop, &result, NULL), SELLA_ARG);
    loop.steps_per_epoch = 2;
    loop.group = toy_group;
    loop.keep_best = false;
    loop.warmup_ratio = 0;
    loop.schedule = SELLA_SCHEDULE_CONSTANT;
    t.stop_at = 1;
    const sella_talk talk = {.stop = toy_stop, .user = &t};
    /* stops after the first step, which is of group 0, without a checkpoint folder */
    loop.talk = &talk;
    assert_int_equal(sella_loop_run(&loop, &result, NULL), SELLA_INTERRUPTED);
    assert_int_equal(result.steps, 1);
    assert_true(t.table.param[0].data[0] != 0.0f);
    assert_true(t.table.param[2].data[0] == 0.0f);
    sella_param_table_release(&t.table);
}

/* a warm-up rounds up to one step, whose rate is 0: alone it would train nothing */
static void test_one_step_trains(void **state)
{
    (void)state;
    toy t;
    sella_loop_result result;
    assert_int_equal(toy_init(&t), SELLA_OK);
    sella_loop loop = toy_loop(&t, NULL, NULL, NULL);
    loop.epochs = 1;
    loop.steps_per_epoch = 1;
    loop.keep_best = false;
    assert_int_equal(sella_loop_run(&loop, &result, NULL), SELLA_OK);
    assert_int_equal(result.steps, 1);
    assert_true(t.table.param[0].data[0] != 0.0f);
    sella_param_table_release(&t.table);
}

static void test_diverged(void **state)
{
    (void)state;
    toy t;
    sella_err err = {0};
    assert_int_equal(toy_init(&t), SELLA_OK);
    sella_loop loop = toy_loop(&t, NULL, NULL, NULL);
    t.nan_at = 9;
    assert_int_equal(sella_loop_run(&loop, NULL, &err), SELLA_DIVERGED);
    assert_non_null(strstr(err.text, "toy: the loss of epoch 2, step 3 is not finite"));
    t.nan_at = -1;
    /* finite loss in double is impossible: the gradient overflows float */
    t.table.param[2].data[1] = 2e38f;
    assert_int_equal(sella_loop_run(&loop, NULL, &err), SELLA_DIVERGED);
    sella_param_table_release(&t.table);
}

static void test_other_run_refused(void **state)
{
    (void)state;
    char *dir = scratch_make(), checkpoints[200], metrics[200];
    toy t;
    sella_err err = {0};
    assert_int_equal(toy_init(&t), SELLA_OK);
    const sella_talk talk = {.stop = toy_stop, .user = &t};
    sella_loop loop = toy_loop(&t, dir, checkpoints, metrics);
    loop.talk = &talk;
    t.stop_at = 4;
    assert_int_equal(sella_loop_run(&loop, NULL, NULL), SELLA_INTERRUPTED);
    sella_loop other = loop;
    other.stage = "stage2";
    assert_int_equal(sella_loop_run(&other, NULL, &err), SELLA_STATE);
    assert_non_null(strstr(err.text, "checkpoint of toy; expected one of stage2"));
    other = loop;
    other.epochs++;
    assert_int_equal(sella_loop_run(&other, NULL, &err), SELLA_STATE);
    other = loop;
    other.lr = .06;
    assert_int_equal(sella_loop_run(&other, NULL, &err), SELLA_STATE);
    assert_non_null(strstr(err.text, "0.05; expected 0.06"));
    sella_param_table_release(&t.table);
    scratch_remove(dir);
}

int main(void)
{
    /* every checkpoint and file is synced: in memory that costs nothing */
    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_every_step),   cmocka_unit_test(test_killed_sometimes),
        cmocka_unit_test(test_first_start_drops_own_records), cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_best_and_patience),   cmocka_unit_test(test_groups_and_nothing),
        cmocka_unit_test(test_one_step_trains),     cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_other_run_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
