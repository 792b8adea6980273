/* test_backbone_hidden.c - hidden states between layers: both halves of a pass are the pass, bit
 * for bit; the file of trees gives back what was written and nothing else: cut off, damaged, of
 * another model, layer or text, on a full disk, in a place that cannot be written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backbone/hidden_cache.h"
#include "backbone_case.h"
#include "base/rng.h"
#include "scratch_folder.h"

/* Trees of 3 rows with equal beginnings, `trees` of them, each its own group; text 1 has other
 * tokens than text 0. */
static void forest(int trees, int text, sella_rows *rows)
{
    sella_rows_init(rows);
    for (int r = 0; r < 3 * trees; r++) {
        int32_t token[20];
        for (int t = 0; t < 20; t++) {
            token[t] = (t * 37 + r / 3 * 5 + (t > 9 ? r % 3 * 11 : 0) + text) % 500;
        }
        CHECK(sella_rows_add(rows, token, NULL, 14 + r / 3 % 5, NULL, r / 3, r, (float)(r % 2), 1,
                             err));
    }
}

static void tree_of(const sella_rows *rows, int t, sella_tree_batch *tree)
{
    const int64_t index[3] = {3 * t, 3 * t + 1, 3 * t + 2};
    CHECK(sella_tree_build(rows, index, 3, &(sella_tree_options){.budget = 200, .share = true},
                           tree, err));
}

/* Some values in the adapter's B, which starts at zero. */
static sella_lora *adapter(const sella_backbone *backbone, int first_layer)
{
    sella_lora *lora = NULL;
    const sella_lora_config config = {
        .rank = 3, .alpha = 6, .dropout = 0.1, .targets = 127, .first_layer = first_layer};
    CHECK(sella_lora_new(backbone, &config, 1, &lora, err));
    sella_param_table *table = sella_lora_params(lora);
    for (int p = 1; p < table->count; p += 2) {
        const sella_rng rng = {.seed = 2, .stream = SELLA_STREAM_TEST, .a = (uint32_t)p};
        for (size_t i = 0; i < table->param[p].count; i++) {
            table->param[p].data[i] = 0.05f * (float)sella_rng_normal(&rng, i);
        }
    }
    return lora;
}

static void clear(sella_lora *lora)
{
    for (int p = 0; p < sella_lora_params(lora)->count; p++) {
        sella_param *param = &sella_lora_params(lora)->param[p];
        memset(param->grad, 0, param->count * sizeof(float));
    }
}

static float *gradients(sella_lora *lora, size_t *n)
{
    *n = sella_param_total(sella_lora_params(lora), true);
    float *all = calloc(*n, sizeof *all), *at = all;
    for (int p = 0; p < sella_lora_params(lora)->count; p++) {
        const sella_param *param = &sella_lora_params(lora)->param[p];
        memcpy(at, param->grad, param->count * sizeof *at);
        at += param->count;
    }
    return all;
}

static const char *const models[] = {"tiny_llama", "backbone_qwen2", "backbone_qwen3",
                                     "backbone_llama3"};
enum { TREES = 4, MODELS = sizeof models / sizeof *models };

/* Answers and gradients with dropout: one pass; its two halves over the same batch (the same bits);
 * its lower half tree by tree. The pass itself is compared with transformers and PEFT in
 * test_backbone_reference. */
static void two_halves_are_the_pass(void **state)
{
    (void)state;
    for (int m = 0; m < MODELS; m++) {
        sella_backbone *backbone = NULL;
        sella_pass *pass = NULL;
        sella_rows rows;
        sella_tree_batch batch, tree;
        CHECK(sella_backbone_open(ref_path(models[m]), NULL, &backbone, err));
        const size_t C = (size_t)sella_backbone_shape(backbone)->C;
        const int layers = sella_backbone_shape(backbone)->layers;
        for (int K = 1; K < layers; K++) {
            sella_lora *lora = adapter(backbone, K);
            const sella_pass_options options = {
                .max_tokens = 200, .backward = true, .train_lora = true};
            forest(TREES, 0, &rows);
            batch_of(&rows, true, &batch);
            CHECK(sella_pass_new(backbone, lora, &options, &pass, err));
            float *want = calloc(3 * TREES * C, sizeof *want),
                  *got = calloc(3 * TREES * C, sizeof *got);
            float *danswer = calloc(3 * TREES * C, sizeof *danswer),
                  *x = calloc((size_t)batch.T * C, sizeof *x);
            float *y = calloc((size_t)batch.T * C, sizeof *y), *dwant, *dgot, z[3 * TREES];
            size_t n;
            CHECK(sella_pass_forward(pass, &batch, NULL, 9, 3, want, err));
            answers_loss(backbone, 5, 6, &batch, want, z, danswer);
            clear(lora);
            CHECK(sella_pass_backward(pass, danswer, NULL, err));
            dwant = gradients(lora, &n);

            CHECK(sella_pass_hidden(pass, &batch, K, x, err));
            CHECK(sella_pass_forward_from(pass, &batch, K, x, 9, 3, got, err));
            clear(lora);
            CHECK(sella_pass_backward(pass, danswer, NULL, err));
            dgot = gradients(lora, &n);
            assert_memory_equal(got, want, 3 * TREES * C * sizeof *got);
            assert_memory_equal(dgot, dwant, n * sizeof *dgot);
            free(dgot);

            size_t at = 0;
            for (int t = 0; t < TREES; t++) {
                tree_of(&rows, t, &tree);
                CHECK(sella_pass_hidden(pass, &tree, K, y + at, err));
                at += (size_t)tree.T * C;
                sella_tree_batch_release(&tree);
            }
            assert_int_equal(at, (size_t)batch.T * C);
            close_relative(models[m], y, x, at, 1e-5);
            CHECK(sella_pass_forward_from(pass, &batch, K, y, 9, 3, got, err));
            clear(lora);
            CHECK(sella_pass_backward(pass, danswer, NULL, err));
            dgot = gradients(lora, &n);
            close_relative(models[m], got, want, 3 * TREES * C, 1e-5);
            close_relative(models[m], dgot, dwant, n, 1e-5);
            free(dgot);
            free(dwant);
            free(want);
            free(got);
            free(danswer);
            free(x);
            free(y);
            sella_pass_free(pass);
            sella_lora_free(lora);
            sella_tree_batch_release(&batch);
            sella_rows_release(&rows);
        }
        sella_backbone_close(backbone);
    }
}

/* An adapter below the layer where the pass began cannot be trained: said, not ignored. After the
 * lower half alone there is no backward. */
static void no_backward_below(void **state)
{
    (void)state;
    sella_backbone *backbone = NULL;
    sella_pass *pass = NULL;
    sella_rows rows;
    sella_tree_batch batch;
    sella_err why = {0};
    CHECK(sella_backbone_open(ref_path("tiny_llama"), NULL, &backbone, err));
    const size_t C = (size_t)sella_backbone_shape(backbone)->C;
    sella_lora *lora = adapter(backbone, 0);
    forest(1, 0, &rows);
    batch_of(&rows, true, &batch);
    float *x = calloc((size_t)batch.T * C, sizeof *x), *answer = calloc(3 * C, sizeof *answer);
    CHECK(sella_pass_new(
        backbone, lora,
        &(sella_pass_options){.max_tokens = 64, .backward = true, .train_lora = true}, &pass, err));
    CHECK(sella_pass_hidden(pass, &batch, 1, x, err));
    assert_int_equal(sella_pass_backward(pass, answer, NULL, &why), SELLA_STATE);
    CHECK(sella_pass_forward_from(pass, &batch, 1, x, 1, -1, answer, err));
    assert_int_equal(sella_pass_backward(pass, answer, NULL, &why), SELLA_STATE);
    assert_string_equal(why.text, "layer 0 trains, but the forward pass began at layer 1");
    /* and a whole one is as before */
    CHECK(sella_pass_forward(pass, &batch, NULL, 1, -1, answer, err));
    CHECK(sella_pass_backward(pass, answer, NULL, err));
    free(x);
    free(answer);
    sella_pass_free(pass);
    sella_lora_free(lora);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_backbone_close(backbone);
}

/* ---- the file ---- */

typedef struct place {
    sella_backbone *backbone;
    sella_rows rows;
    sella_tree_batch tree[TREES];
    int32_t tokens[TREES];
    sella_hidden_of of;
    size_t C;
    char *path;
} place;

static void place_open(place *p, const char *model, const char *name)
{
    CHECK(sella_backbone_open(ref_path(model), NULL, &p->backbone, err));
    p->C = (size_t)sella_backbone_shape(p->backbone)->C;
    forest(TREES, 0, &p->rows);
    for (int t = 0; t < TREES; t++) {
        tree_of(&p->rows, t, &p->tree[t]);
        p->tokens[t] = p->tree[t].T;
    }
    p->of = (sella_hidden_of){p->backbone, 1, TREES, p->tokens};
    p->path = sella_path_join(folder, name, NULL);
}

static void place_close(place *p)
{
    for (int t = 0; t < TREES; t++) {
        sella_tree_batch_release(&p->tree[t]);
    }
    sella_rows_release(&p->rows);
    sella_backbone_close(p->backbone);
    free(p->path);
}

/* Made-up numbers of a tree: what the file holds does not matter to it. */
static float *numbers(const place *p, int t)
{
    const size_t n = (size_t)p->tokens[t] * p->C;
    float *x = calloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(t + 1) + (float)i / 64;
    }
    return x;
}

static void write_all(const place *p, sella_hidden_cache *cache)
{
    for (int t = 0; t < TREES; t++) {
        float *x = numbers(p, t);
        sella_hidden_cache_write(cache, t, &p->tree[t], x);
        free(x);
    }
    assert_null(sella_hidden_cache_state(cache).failure);
}

/* Is the record of tree t there, and is it what was written? */
static bool is_there(const place *p, sella_hidden_cache *cache, int t)
{
    float *want = numbers(p, t), *got = calloc((size_t)p->tokens[t] * p->C, sizeof *got);
    const bool there = sella_hidden_cache_read(cache, t, &p->tree[t], got);
    if (there) {
        assert_memory_equal(got, want, (size_t)p->tokens[t] * p->C * sizeof *got);
    }
    free(want);
    free(got);
    return there;
}

static void whole_file(const place *p)
{
    sella_hidden_cache *cache = NULL;
    CHECK(sella_hidden_cache_open(p->path, &p->of, &cache, err));
    write_all(p, cache);
    sella_hidden_cache_close(cache);
}

static int64_t known(const place *p, const sella_hidden_of *of)
{
    sella_hidden_cache *cache = NULL;
    CHECK(sella_hidden_cache_open(p->path, of, &cache, err));
    const int64_t n = sella_hidden_cache_state(cache).known;
    sella_hidden_cache_close(cache);
    return n;
}

static void a_file_gives_back(void **state)
{
    (void)state;
    place p;
    sella_hidden_cache *cache = NULL;
    struct stat info;
    place_open(&p, "tiny_llama", "back");
    CHECK(sella_hidden_cache_open(p.path, &p.of, &cache, err));
    for (int t = 0; t < TREES; t++) {
        assert_false(is_there(&p, cache, t));
    }
    float *x = numbers(&p, 2);
    sella_hidden_cache_write(cache, 2, &p.tree[2], x);
    free(x);
    assert_true(is_there(&p, cache, 2) && !is_there(&p, cache, 1));
    sella_hidden_cache_close(cache);
    CHECK(sella_hidden_cache_open(p.path, &p.of, &cache, err));
    assert_int_equal(sella_hidden_cache_state(cache).known, 1);
    assert_true(is_there(&p, cache, 2) && !is_there(&p, cache, 3));
    write_all(&p, cache);
    for (int t = 0; t < TREES; t++) {
        assert_true(is_there(&p, cache, t));
    }
    const sella_hidden_stats stats = sella_hidden_cache_state(cache);
    assert_int_equal(stats.read, TREES + 1);
    assert_int_equal(stats.written, TREES);
    int64_t tokens = 0;
    for (int t = 0; t < TREES; t++) {
        tokens += p.tokens[t];
    }
    assert_int_equal(stat(p.path, &info), 0);
    /* by hand: a page of header and table, width 32 */
    assert_int_equal(info.st_size, 4096 + tokens * 32 * 4);
    assert_int_equal(stats.bytes, info.st_size);
    assert_int_equal(sella_hidden_bytes(32, TREES, tokens), info.st_size);
    /* 128 + 8072 bytes in whole pages */
    assert_int_equal(sella_hidden_bytes(32, 1009, 0), 8192 + 4096);
    sella_hidden_cache_close(cache);
    place_close(&p);
}

/* Cut at every place: nothing is taken for a record that is none, whether it is cut before it is
 * opened or while it is open. */
static void cut_off(void **state)
{
    (void)state;
    place p;
    struct stat info;
    place_open(&p, "tiny_llama", "cut");
    whole_file(&p);
    assert_int_equal(stat(p.path, &info), 0);
    for (off_t bytes = 0; bytes < info.st_size; bytes += bytes < 200 ? 7 : 1009) {
        sella_hidden_cache *cache = NULL;
        whole_file(&p);
        assert_int_equal(known(&p, &p.of), TREES);
        assert_int_equal(truncate(p.path, bytes), 0);
        assert_int_equal(known(&p, &p.of), 0);
        whole_file(&p);
        CHECK(sella_hidden_cache_open(p.path, &p.of, &cache, err));
        assert_int_equal(truncate(p.path, bytes), 0);
        for (int t = 0; t < TREES; t++) {
            is_there(&p, cache, t); // there and right, or not there
        }
        assert_false(is_there(&p, cache, TREES - 1));
        write_all(&p, cache);
        for (int t = 0; t < TREES; t++) {
            assert_true(is_there(&p, cache, t));
        }
        sella_hidden_cache_close(cache);
    }
    place_close(&p);
}

/* A flipped bit anywhere: the header's makes the file another one, a record's or its checksum's
 * costs that record. */
static void damaged(void **state)
{
    (void)state;
    place p;
    struct stat info;
    place_open(&p, "tiny_llama", "damaged");
    whole_file(&p);
    assert_int_equal(stat(p.path, &info), 0);
    for (off_t at = 0; at < info.st_size; at += at < 200 ? 1 : 977) {
        const bool header = at < 72, table = at >= 128 && at < 128 + 8 * TREES, row = at >= 4096;
        sella_hidden_cache *cache = NULL;
        uint8_t byte;
        int there = 0;
        whole_file(&p);
        int fd = open(p.path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 16;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        CHECK(sella_hidden_cache_open(p.path, &p.of, &cache, err));
        for (int t = 0; t < TREES; t++) {
            there += is_there(&p, cache, t);
        }
        assert_int_equal(there, header ? 0 : TREES - (table || row));
        sella_hidden_cache_close(cache);
    }
    place_close(&p);
}

/* The same numbers of trees and tokens, but another layer, model, order of sizes, or text. */
static void of_something_else(void **state)
{
    (void)state;
    place p, other;
    sella_hidden_cache *cache = NULL;
    sella_rows text;
    sella_tree_batch tree;
    place_open(&p, "backbone_qwen2", "else");
    place_open(&other, "backbone_qwen3", "else");
    whole_file(&p);
    sella_hidden_of of = p.of;
    of.layer = 2;
    assert_int_equal(known(&p, &of), 0);
    whole_file(&p);
    assert_int_equal(known(&p, &p.of), TREES);
    assert_int_equal(known(&p, &other.of), 0);
    whole_file(&p);
    const int32_t turned[TREES] = {p.tokens[1], p.tokens[0], p.tokens[2], p.tokens[3]};
    of = p.of;
    of.tokens_t = turned;
    assert_int_not_equal(turned[0], turned[1]);
    assert_int_equal(known(&p, &of), 0);
    whole_file(&p);
    forest(TREES, 1, &text);
    tree_of(&text, 0, &tree);
    assert_int_equal(tree.T, p.tokens[0]);
    CHECK(sella_hidden_cache_open(p.path, &p.of, &cache, err));
    float *x = calloc((size_t)tree.T * p.C, sizeof *x);
    assert_false(sella_hidden_cache_read(cache, 0, &tree, x));
    assert_true(is_there(&p, cache, 0));
    free(x);
    sella_hidden_cache_close(cache);
    sella_tree_batch_release(&tree);
    sella_rows_release(&text);
    place_close(&p);
    place_close(&other);
}

static void no_place(void **state)
{
    (void)state;
    place p;
    sella_hidden_cache *cache = NULL;
    sella_err why = {0};
    place_open(&p, "tiny_llama", "missing/file");
    assert_int_equal(sella_hidden_cache_open(p.path, &p.of, &cache, &why), SELLA_MISSING);
    assert_null(cache);
    assert_non_null(strstr(why.text, "missing/file: could not be written"));
    assert_int_equal(sella_hidden_cache_open(folder, &p.of, &cache, &why), SELLA_IO);
    free(p.path);
    p.path = scratch_file(folder, "text", "not ours, but in our place", 26);
    assert_int_equal(known(&p, &p.of), 0);
    free(p.path);
    p.path = sella_path_join(folder, "pipe", NULL);
    assert_int_equal(mkfifo(p.path, 0600), 0);
    assert_int_equal(sella_hidden_cache_open(p.path, &p.of, &cache, &why), SELLA_IO);
    assert_true(sella_path_exists(p.path));
    place_close(&p);
}

/* No room when it is made: both figures, and no file stays. No room later (the file was made by
 * somebody with room): told by _state. */
static void full_disk(void **state)
{
    (void)state;
    place p;
    sella_hidden_cache *cache = NULL;
    sella_err why = {0};
    struct rlimit before;
    place_open(&p, "tiny_llama", "full");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    /* the limit must be seen before it is met: the signal ends a program */
    void (*handler)(int) = signal(SIGXFSZ, SIG_DFL);
    for (rlim_t bytes = 0; bytes < 14000; bytes += 1999) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, before.rlim_max}), 0);
        const sella_status status = sella_hidden_cache_open(p.path, &p.of, &cache, &why);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, SELLA_IO);
        assert_non_null(strstr(why.text, "full: the hidden states of "));
        assert_non_null(strstr(why.text, " of the disk can be had"));
        assert_false(sella_path_exists(p.path));
    }
    CHECK(sella_hidden_cache_open(p.path, &p.of, &cache, err));
    float *first = numbers(&p, 0), *last = numbers(&p, 3);
    assert_true(p.tokens[2] < p.tokens[3]);
    sella_hidden_cache_write(cache, 0, &p.tree[0], first);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){5000, before.rlim_max}), 0);
    sella_hidden_cache_write(cache, 3, &p.tree[3], last);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_non_null(strstr(sella_hidden_cache_state(cache).failure, "full: could not be written"));
    assert_true(is_there(&p, cache, 0));
    assert_false(is_there(&p, cache, 3));
    sella_hidden_cache_write(cache, 2, &p.tree[2], last); // nothing more is tried
    assert_false(is_there(&p, cache, 2));
    assert_int_equal(sella_hidden_cache_state(cache).written, 1);
    free(first);
    free(last);
    sella_hidden_cache_close(cache);
    place_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_halves_are_the_pass), cmocka_unit_test(no_backward_below),
        cmocka_unit_test(a_file_gives_back),       cmocka_unit_test(cut_off),
        cmocka_unit_test(damaged),                 cmocka_unit_test(of_something_else),
        cmocka_unit_test(no_place),                cmocka_unit_test(full_disk),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
