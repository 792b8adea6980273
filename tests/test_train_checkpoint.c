/* Checkpoint folders: exact round trip, the newest complete one, damage and misfits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "scratch.h"
#include "train/checkpoint.h"

typedef struct model {
    sella_param_table a, b;
    sella_param_table *tables[2];
    sella_optimizer *optimizer;
    float best0[12], best1[5];
    float *best[2];
    sella_checkpoint state;
} model;

/* w [rows, 3] trainable, frozen [2] in table a; u [5] trainable in table b. */
static void model_init(model *m, int64_t rows, float start)
{
    memset(m, 0, sizeof *m);
    assert_int_equal(sella_param_add(&m->a, "w", rows, 3, NULL), SELLA_OK);
    assert_int_equal(sella_param_add(&m->a, "frozen", 2, 0, NULL), SELLA_OK);
    assert_int_equal(sella_param_train(&m->a.param[1], false, NULL), SELLA_OK);
    assert_int_equal(sella_param_add(&m->b, "u", 5, 0, NULL), SELLA_OK);
    m->b.param[0].group = 1;
    m->tables[0] = &m->a;
    m->tables[1] = &m->b;
    m->best[0] = m->best0;
    m->best[1] = m->best1;
    const sella_optimizer_config config = {.beta1 = .9, .beta2 = .999, .eps = 1e-8};
    assert_int_equal(sella_optimizer_new(m->tables, 2, &config, &m->optimizer, NULL), SELLA_OK);
    for (size_t i = 0; i < m->a.param[0].count; i++) {
        m->a.param[0].data[i] = start + (float)i / 3;
        m->best0[i % 12] = start - (float)i;
    }
    for (int i = 0; i < 5; i++) {
        m->b.param[0].data[i] = start * (float)i;
        m->best1[i] = start;
    }
    m->a.param[1].data[0] = start;
    m->state =
        (sella_checkpoint){.tables = m->tables, .n = 2, .optimizer = m->optimizer, .best = m->best};
}

static void model_step(model *m, int group)
{
    for (size_t i = 0; i < m->a.param[0].count; i++) {
        m->a.param[0].grad[i] = 1 + (float)i;
    }
    m->b.param[0].grad[2] = -1;
    assert_int_equal(sella_optimizer_step(m->optimizer, .1, group, NULL, NULL), SELLA_OK);
}

static void model_release(model *m)
{
    sella_param_table_release(&m->a);
    sella_param_table_release(&m->b);
    sella_optimizer_free(m->optimizer);
}

static void save(const char *dir, int64_t step, model *m)
{
    json_t *position = json_pack("{s:I, s:f}", "at", (json_int_t)step, "x", 0.1 + (double)step);
    assert_int_equal(sella_checkpoint_save(dir, step, &m->state, position, NULL), SELLA_OK);
    json_decref(position);
}

static sella_status load(const char *dir, model *m, bool *found, int64_t *at, sella_err *err)
{
    json_t *position = NULL;
    const sella_status status = sella_checkpoint_load(dir, &m->state, found, &position, err);
    *at = position ? (int64_t)json_integer_value(json_object_get(position, "at")) : -1;
    json_decref(position);
    return status;
}

static void test_round_trip(void **state)
{
    (void)state;
    char *dir = scratch_make();
    model m, back;
    bool found = true;
    int64_t at;
    model_init(&m, 4, 1.5f);
    model_init(&back, 4, 0);
    assert_int_equal(load(dir, &back, &found, &at, NULL), SELLA_OK);
    assert_false(found);
    model_step(&m, -1);
    model_step(&m, 0);
    m.best1[4] = NAN; /* any bits survive */
    save(dir, 7, &m);
    assert_int_equal(load(dir, &back, &found, &at, NULL), SELLA_OK);
    assert_true(found);
    assert_int_equal(at, 7);
    assert_memory_equal(back.a.param[0].data, m.a.param[0].data, 12 * sizeof(float));
    assert_memory_equal(back.b.param[0].data, m.b.param[0].data, 5 * sizeof(float));
    assert_memory_equal(back.best0, m.best0, sizeof m.best0);
    assert_memory_equal(back.best1, m.best1, sizeof m.best1);
    assert_true(back.a.param[1].data[0] == 0.0f); /* frozen: not ours */
    assert_int_equal(sella_optimizer_steps(back.optimizer), 2);
    assert_int_equal(sella_optimizer_row_steps(back.optimizer, 0), 2);
    assert_int_equal(sella_optimizer_row_steps(back.optimizer, 1), 1);
    model_step(&m, -1);
    model_step(&back, -1);
    assert_memory_equal(back.a.param[0].data, m.a.param[0].data, 12 * sizeof(float));
    assert_memory_equal(back.b.param[0].data, m.b.param[0].data, 5 * sizeof(float));
    model_release(&m);
    model_release(&back);
    scratch_remove(dir);
}

/* A newer checkpoint replaces the older one; what a killed save left is passed over and swept
 * away. */
static void test_newest_complete(void **state)
{
    (void)state;
    char *dir = scratch_make(), path[300], to[300];
    model m;
    bool found;
    int64_t at;
    char **names;
    size_t count;
    model_init(&m, 4, 1);
    save(dir, 3, &m);
    save(dir, 11, &m);
    assert_int_equal(sella_dir_list(dir, &names, &count, NULL), SELLA_OK);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "step-000000000011");
    sella_names_free(names, count);
    snprintf(path, sizeof path, "%s/step-000000000020", dir);
    assert_int_equal(sella_dir_make(path, NULL), SELLA_OK); /* no DONE */
    snprintf(path, sizeof path, "%s/new-step-000000000021/params.safetensors", dir);
    snprintf(to, sizeof to, "%s/new-step-000000000021", dir);
    assert_int_equal(sella_dir_make(to, NULL), SELLA_OK);
    assert_int_equal(sella_write_file(path, "half", 4, NULL), SELLA_OK);
    assert_int_equal(load(dir, &m, &found, &at, NULL), SELLA_OK);
    assert_true(found);
    assert_int_equal(at, 11);
    save(dir, 30, &m);
    assert_int_equal(sella_dir_list(dir, &names, &count, NULL), SELLA_OK);
    assert_int_equal(count, 1);
    sella_names_free(names, count);
    model_release(&m);
    scratch_remove(dir);
}

static const char *const damaged[] = {"params.safetensors", "moments.safetensors",
                                      "best.safetensors", "position.json", "DONE"};

static void damage(const char *path, int how)
{
    sella_map map;
    assert_int_equal(sella_map_open(path, &map, NULL), SELLA_OK);
    uint8_t *copy = malloc(map.size);
    const size_t size = map.size;
    memcpy(copy, map.data, size);
    sella_map_close(&map);
    if (how == 0) {
        assert_int_equal(truncate(path, (off_t)(size / 2)), 0);
    } else if (how == 1) {
        copy[size / 2] ^= 0x10;
        assert_int_equal(sella_write_file(path, copy, size, NULL), SELLA_OK);
    } else {
        assert_int_equal(unlink(path), 0);
    }
    free(copy);
}

/* Each file cut, with a flipped bit, or gone: refused in one sentence and nothing changed; with an
 * older checkpoint (1), that one is used, unless it is not complete (2). */
static void test_damage(void **state)
{
    (void)state;
    for (int file = 0; file < 5; file++) {
        for (int how = 0; how < 3; how++) {
            for (int older = 0; older < 3; older++) {
                char *dir = scratch_make(), path[300], aside[300];
                model m, back;
                sella_err err = {0};
                bool found;
                int64_t at;
                model_init(&m, 4, 1);
                model_init(&back, 4, 2);
                save(dir, 5, &m);
                snprintf(path, sizeof path, "%s/step-000000000005", dir);
                snprintf(aside, sizeof aside, "%s/aside", dir);
                assert_int_equal(rename(path, aside), 0);
                model_step(&m, -1);
                save(dir, 6, &m);
                if (older) { /* as if killed before the older one was removed */
                    assert_int_equal(rename(aside, path), 0);
                }
                if (older == 2) {
                    snprintf(aside, sizeof aside, "%s/step-000000000005/DONE", dir);
                    assert_int_equal(unlink(aside), 0);
                }
                snprintf(path, sizeof path, "%s/step-000000000006/%s", dir, damaged[file]);
                damage(path, how);
                const sella_status status = load(dir, &back, &found, &at, &err);
                if (older == 1) {
                    assert_int_equal(status, SELLA_OK);
                    assert_int_equal(at, 5);
                } else if (file == 4 && how == 2) {
                    assert_int_equal(status, SELLA_OK); /* not complete: as if it were not there */
                    assert_false(found);
                } else {
                    assert_int_not_equal(status, SELLA_OK);
                    assert_non_null(strstr(err.text, "step-000000000006"));
                    assert_false(found);
                    assert_true(back.a.param[0].data[0] == 2.0f);
                    assert_int_equal(sella_optimizer_steps(back.optimizer), 0);
                }
                model_release(&m);
                model_release(&back);
                scratch_remove(dir);
            }
        }
    }
}

static void test_misfits(void **state)
{
    (void)state;
    char *dir = scratch_make();
    model m, other;
    sella_err err = {0};
    bool found;
    int64_t at;
    model_init(&m, 4, 1);
    save(dir, 5, &m);
    model_init(&other, 3, 2); /* w is [3, 3] here */
    assert_int_equal(load(dir, &other, &found, &at, &err), SELLA_SHAPE);
    assert_non_null(
        strstr(err.text, "1 tensor is missing or of another shape than this run needs: w"));
    assert_true(other.a.param[0].data[0] == 2.0f && other.b.param[0].data[1] == 2.0f);
    other.state.best = NULL;
    other.state.n = 1;
    assert_int_equal(load(dir, &other, &found, &at, &err), SELLA_SHAPE);
    model_release(&other);
    model_init(&other, 4, 2);
    other.state.optimizer = NULL;
    assert_int_equal(load(dir, &other, &found, &at, &err), SELLA_SHAPE);
    assert_non_null(strstr(err.text, "moments.safetensors"));
    other.state.optimizer = other.optimizer;
    m.state.best = NULL; /* saved before the first evaluation */
    save(dir, 6, &m);
    assert_int_equal(load(dir, &other, &found, &at, &err), SELLA_OK);
    assert_true(other.best1[0] == 2.0f);
    assert_int_equal(sella_checkpoint_save(dir, -1, &m.state, NULL, &err), SELLA_ARG);
    model_release(&m);
    model_release(&other);
    scratch_remove(dir);
}

int main(void)
{
    /* every checkpoint and file is synced: in memory that costs nothing */
    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_newest_complete),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_misfits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
