/* test_data_prompt.c - templates and rendered rows: by hand with the tiny tokenizer, on ML-1M
 * titles with real ones, and hostile templates. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/prompt.h"
#include "data/template.h"
#include "data_fixture.h"
#include "fuzz/mutate.h"

static const char *const titles[] = {
    "Heat (1995)", "Alien (1979)",         " No Escape \n(1994)",
    "<|im_end|>",  "Am\xc3\xa9lie (2001)", "\xe3\x80\x80\xe5\x8d\x83\xe4\xb8\x8e\xe3\x80\x80"};
enum { TITLES = sizeof titles / sizeof *titles };

typedef struct bench {
    sella_template *tmpl;
    sella_prompter *prompter;
} bench;

static sella_tokenizer *tiny(void)
{
    sella_err err = {0};
    sella_tokenizer *tokenizer = NULL;
    if (sella_tokenizer_open_json("tests/ref/tiny_tokenizer/tokenizer.json", &tokenizer, &err) !=
        SELLA_OK) {
        fail_msg("%s", err.text);
    }
    return tokenizer;
}

static bench bench_open(const char *name, const sella_tokenizer *tokenizer,
                        const char *const *title_n, int32_t items)
{
    bench b;
    sella_err err = {0};
    if (sella_template_open(name, &b.tmpl, &err) != SELLA_OK ||
        sella_prompter_new(b.tmpl, tokenizer, title_n, items, "movie", &b.prompter, &err) !=
            SELLA_OK) {
        fail_msg("%s", err.text);
    }
    return b;
}

static void bench_close(bench *b)
{
    sella_prompter_free(b->prompter);
    sella_template_free(b->tmpl);
}

static void text_of(const bench *b, const sella_prompt_row *row, sella_text *text)
{
    sella_err err = {0};
    text->size = 0;
    assert_int_equal(sella_prompt_text(b->prompter, row, text, &err), SELLA_OK);
}

/* The ids of a row are those of its whole text. */
static void ids_equal_text(const bench *b, const sella_tokenizer *tokenizer,
                           const sella_prompt_row *row)
{
    sella_err err = {0};
    sella_rows rows;
    sella_text text = {0};
    sella_ids ids = {0};
    sella_rows_init(&rows);
    assert_int_equal(sella_prompt_render(b->prompter, row, &rows, &err), SELLA_OK);
    text_of(b, row, &text);
    assert_int_equal(sella_tokenizer_encode(tokenizer, text.data, text.size, true, &ids, &err),
                     SELLA_OK);
    if (ids.count != rows.start[1] ||
        memcmp(ids.id, rows.token, (size_t)ids.count * sizeof *ids.id) != 0) {
        fail_msg("the pieces' %d ids are not the %d of: %s", (int)rows.start[1], ids.count,
                 text.data);
    }
    sella_ids_release(&ids);
    sella_text_release(&text);
    sella_rows_release(&rows);
}

static void texts_by_hand(void **state)
{
    (void)state;
    sella_tokenizer *tokenizer = tiny();
    sella_text text = {0};
    int32_t history[] = {0, 2};
    bench b = bench_open("compact", tokenizer, titles, TITLES);
    sella_prompt_row row = {.history_n = history, .history_count = 2, .item = 1, .weight = 1};
    text_of(&b, &row, &text);
    assert_string_equal(
        text.data,
        "Movies this person liked: Heat (1995); No Escape  (1994); Like Alien (1979)? Answer:");
    row.history_count = 0;
    row.slots = SELLA_SLOT_SET_ALL;
    text_of(&b, &row, &text);
    assert_string_equal(text.data,
                        "Movies this person liked: none;<|reserved_0|><|reserved_1|><|reserved_2|> "
                        "Like Alien (1979)? Answer:");
    row.slots = 1u << SELLA_SLOT_WARM;
    text_of(&b, &row, &text);
    assert_string_equal(text.data,
                        "Movies this person liked: none;<|reserved_2|> Like Alien (1979)? Answer:");
    bench_close(&b);

    b = bench_open("paper", tokenizer, titles, TITLES);
    row = (sella_prompt_row){.history_n = history,
                             .history_count = 2,
                             .item = 4,
                             .weight = 1,
                             .slots = (1u << SELLA_SLOT_USER) | (1u << SELLA_SLOT_ITEM)};
    text_of(&b, &row, &text);
    assert_string_equal(
        text.data, "<|im_start|>system\nDecide whether a person will like a movie. Given are "
                   "movies that this person rated highly, features of the person and of a "
                   "candidate, and the candidate. Answer Yes or No.\n<|im_end|>\n<|im_start|>user\n"
                   "Rated highly:\n1. Heat (1995)\n2. No Escape  (1994)\nFeature of the person: "
                   "<|reserved_0|>\n"
                   "Feature of the candidate: <|reserved_1|>\nCandidate: Am\xc3\xa9lie "
                   "(2001)\n<|im_end|>\n<|im_start|>assistant\n");
    bench_close(&b);
    sella_text_release(&text);
    sella_tokenizer_close(tokenizer);
}

static void rows_by_hand(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_tokenizer *tokenizer = tiny();
    sella_rows rows;
    sella_rows_init(&rows);
    bench b = bench_open("compact", tokenizer, titles, TITLES);
    int32_t yes, no, reserved[3], history[] = {0, 4, 5};
    sella_prompter_answers(b.prompter, &yes, &no);
    sella_text answer = {0};
    assert_int_equal(sella_tokenizer_decode(tokenizer, &yes, 1, &answer, &err), SELLA_OK);
    assert_int_equal(sella_tokenizer_decode(tokenizer, &no, 1, &answer, &err), SELLA_OK);
    assert_string_equal(answer.data, " Yes No");
    sella_text_release(&answer);
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "<|reserved_%d|>", i);
        reserved[i] = sella_tokenizer_find(tokenizer, name);
    }
    sella_prompt_row row = {.history_n = history,
                            .history_count = 3,
                            .item = 1,
                            .slots = SELLA_SLOT_SET_ALL,
                            .ref = {0, 7, 8, 9},
                            .group = 3,
                            .row = 55,
                            .label = 1,
                            .weight = 0.5f};
    assert_int_equal(sella_prompt_render(b.prompter, &row, &rows, &err), SELLA_OK);
    row.slots = 0;
    assert_int_equal(sella_prompt_render(b.prompter, &row, &rows, &err), SELLA_OK);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.row[0], 55);
    assert_int_equal(rows.group[0], 3);
    assert_true(rows.label[0] == 1 && rows.weight[0] == 0.5f);
    assert_int_equal(rows.start[1] - rows.start[2] + rows.start[1], 3); // three soft tokens more
    int found = 0;
    for (int64_t t = 0; t < rows.start[1]; t++) {
        if (rows.slot[t] != SELLA_SLOT_NONE) {
            assert_int_equal(rows.slot[t], ++found); // user, item, warm in this order
            assert_int_equal(rows.token[t], reserved[found - 1]);
            assert_int_equal(rows.ref[rows.slot[t]], 6 + found);
        }
    }
    assert_int_equal(found, 3);
    for (int64_t t = rows.start[1]; t < rows.start[2]; t++) {
        assert_int_equal(rows.slot[t], SELLA_SLOT_NONE);
    }
    // Texts for titles that the catalogue lacks give what the catalogue would.
    const char *texts[] = {NULL, "Am\xc3\xa9lie (2001)", "\n\xe5\x8d\x83\xe4\xb8\x8e"};
    int32_t nowhere[] = {0, -1, -1};
    row.history_text = texts;
    row.history_n = nowhere;
    row.target_text = titles[1];
    row.item = -1;
    assert_int_equal(sella_prompt_render(b.prompter, &row, &rows, &err), SELLA_OK);
    assert_int_equal(rows.start[3] - rows.start[2], rows.start[2] - rows.start[1]);
    assert_memory_equal(rows.token + rows.start[2], rows.token + rows.start[1],
                        (size_t)(rows.start[2] - rows.start[1]) * sizeof *rows.token);
    row.target_text = "bad \xff";
    assert_int_equal(sella_prompt_render(b.prompter, &row, &rows, &err), SELLA_FORMAT);
    bench_close(&b);
    sella_rows_release(&rows);
    sella_tokenizer_close(tokenizer);
}

/* A title cannot write a special token, in any piece. */
static void titles_cannot_inject(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_tokenizer *tokenizer = tiny();
    sella_rows rows;
    sella_rows_init(&rows);
    int32_t special = sella_tokenizer_find(tokenizer, "<|im_end|>"), history[] = {3, 3};
    assert_true(special >= 0);
    for (int template = 0; sella_template_names[template]; template++) {
        bench b = bench_open(sella_template_names[template], tokenizer, titles, TITLES);
        for (int32_t item = 0; item < 4; item += 3) {
            int count[2] = {0, 0};
            /* pass 0: plain titles; pass 1: the hostile one everywhere */
            for (int pass = 0; pass < 2; pass++) {
                int32_t plain[] = {0, 0};
                sella_prompt_row row = {.history_n = pass ? history : plain,
                                        .history_count = 2,
                                        .item = pass ? 3 : 0,
                                        .weight = 1};
                sella_rows_clear(&rows);
                assert_int_equal(sella_prompt_render(b.prompter, &row, &rows, &err), SELLA_OK);
                for (int64_t t = 0; t < rows.start[1]; t++) {
                    count[pass] += rows.token[t] == special;
                }
            }
            assert_int_equal(count[0], count[1]);
        }
        for (int wording = 0; wording < 2; wording++) {
            sella_rows_clear(&rows);
            assert_int_equal(sella_prompt_distil(b.prompter, 3, wording, &rows, &err), SELLA_OK);
            for (int64_t t = 0; t < rows.start[1]; t++) {
                assert_int_not_equal(rows.token[t], special);
            }
        }
        bench_close(&b);
    }
    sella_rows_release(&rows);
    sella_tokenizer_close(tokenizer);
}

static void long_titles_are_cut(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_tokenizer *tokenizer = tiny();
    char *title = calloc(4097, 1);
    for (int i = 0; i < 4096; i += 2) {
        memcpy(title + i, "\xc3\xa9", 2);
    }
    const char *long_title[] = {title};
    bench b = bench_open("compact", tokenizer, long_title, 1);
    sella_text text = {0};
    sella_ids ids = {0};
    sella_prompt_row row = {.item = 0, .weight = 1};
    text_of(&b, &row, &text);
    assert_int_equal(sella_utf8_valid(text.data, text.size), text.size); // cut between characters
    const char *start = strstr(text.data, " Like ") + 6, *stop = strstr(text.data, "? Answer:");
    assert_int_equal(
        sella_tokenizer_encode(tokenizer, start, (size_t)(stop - start), false, &ids, &err),
        SELLA_OK);
    assert_true(ids.count <= SELLA_TITLE_TOKENS && ids.count > SELLA_TITLE_TOKENS - 4);
    sella_ids_release(&ids);
    sella_text_release(&text);
    bench_close(&b);
    free(title);
    sella_tokenizer_close(tokenizer);
}

static void distillation_texts(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_tokenizer *tokenizer = tiny();
    sella_rows rows;
    sella_text text = {0};
    sella_rows_init(&rows);
    bench b = bench_open("paper", tokenizer, titles, TITLES);
    assert_int_equal(sella_prompt_distil(b.prompter, 0, 0, &rows, &err), SELLA_OK);
    assert_int_equal(sella_prompt_distil(b.prompter, 1, 1, &rows, &err), SELLA_OK);
    assert_int_equal(sella_tokenizer_decode(tokenizer, rows.token, (int)rows.start[1], &text, &err),
                     SELLA_OK);
    assert_string_equal(text.data, "Movie: Heat (1995)");
    text.size = 0;
    assert_int_equal(sella_tokenizer_decode(tokenizer, rows.token + rows.start[1],
                                            (int)(rows.start[2] - rows.start[1]), &text, &err),
                     SELLA_OK);
    assert_string_equal(text.data, "The movie \"Alien (1979)\" means in one word:");
    assert_int_equal(rows.row[1], 1);
    sella_text_release(&text);
    sella_rows_release(&rows);
    bench_close(&b);
    sella_tokenizer_close(tokenizer);
}

static void pieces_equal_text_tiny(void **state)
{
    (void)state;
    sella_tokenizer *tokenizer = tiny();
    for (int t = 0; sella_template_names[t]; t++) {
        bench b = bench_open(sella_template_names[t], tokenizer, titles, TITLES);
        for (unsigned slots = 0; slots < 16; slots += 2) {
            int32_t history[] = {0, 1, 2, 4, 5, 0, 1, 2, 4, 5, 0, 1};
            for (int n = 0; n <= 12; n += 3) {
                sella_prompt_row row = {.history_n = history,
                                        .history_count = n,
                                        .item = n % 3,
                                        .slots = slots,
                                        .weight = 1};
                ids_equal_text(&b, tokenizer, &row);
            }
        }
        bench_close(&b);
    }
    sella_tokenizer_close(tokenizer);
}

/* The whole catalogue, twelve titles a prompt, and what a row costs. */
static void pieces_equal_text_real(const sella_tokenizer *tokenizer, double *compact_candidate)
{
    sella_err err;
    char *from = shared_path("data/ml-1m");
    if (!from) {
        skip();
    }
    char *folder = scratch_make(), *to = sella_path_join(folder, "ds", NULL);
    const char *inputs[] = {from};
    sella_import_options options = {
        .format = "split", .inputs = inputs, .input_count = 1, .output = to, .noun = "movie"};
    assert_int_equal(sella_import(&options, NULL, NULL, &err), SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    for (int t = 0; sella_template_names[t]; t++) {
        bench b = bench_open(sella_template_names[t], tokenizer, d->title, d->items);
        for (int32_t i = 0; i < d->items; i += 11) {
            int32_t history[12];
            for (int h = 0; h < 12; h++) {
                history[h] = (i + h) % d->items;
            }
            sella_prompt_row row = {.history_n = history,
                                    .history_count = 11,
                                    .item = history[11],
                                    .slots = i % 2 ? SELLA_SLOT_SET_ALL : 0,
                                    .weight = 1};
            ids_equal_text(&b, tokenizer, &row);
        }
        if (strcmp(sella_template_names[t], "compact") == 0) {
            *compact_candidate = sella_prompter_candidate_tokens(b.prompter, 0);
        }
        bench_close(&b);
    }
    sella_dataset_close(d);
    free(from);
    free(to);
    scratch_remove(folder);
}

static void pieces_equal_text_qwen(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_tokenizer *tokenizer = NULL;
    char *path = shared_path("data/tokenizers/qwen/tokenizer.json");
    if (!path) {
        skip();
    }
    double cost = 0;
    assert_int_equal(sella_tokenizer_open_json(path, &tokenizer, &err), SELLA_OK);
    free(path);
    pieces_equal_text_real(tokenizer, &cost);
    sella_tokenizer_close(tokenizer);
}

static sella_tokenizer *smollm(sella_gguf **file)
{
    sella_err err = {0};
    sella_tokenizer *tokenizer = NULL;
    const char *model = getenv("SELLA_MODEL");
    model = model && *model ? model : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!sella_path_exists(model) || !strstr(model, "SmolLM2") || !strstr(model, ".gguf")) {
        return NULL;
    }
    assert_int_equal(sella_gguf_open(model, file, &err), SELLA_OK);
    assert_int_equal(sella_tokenizer_open_gguf(*file, &tokenizer, &err), SELLA_OK);
    return tokenizer;
}

static void pieces_equal_text_smollm(void **state)
{
    (void)state;
    sella_gguf *file = NULL;
    sella_tokenizer *tokenizer = smollm(&file);
    if (!tokenizer) {
        skip();
    }
    double cost = 0;
    pieces_equal_text_real(tokenizer, &cost);
    assert_true(cost > 11 && cost <= 15); // SPEC section 3
    sella_tokenizer_close(tokenizer);
    sella_gguf_close(file);
}

/* What SPEC section 3 measured for compact prompts on ML-1M train: 137 tokens a row alone
 * (anchored) and 105 (sliding); in trees of one user 25, capped at 1,024 30, at 512 33, at 384 37.
 * Alone the same within 1 %; in trees at most that. */
static void tokens_a_row(void **state)
{
    (void)state;
    static const struct {
        sella_window window;
        int cap;
        double alone, tree;
    } expected[] = {{SELLA_WINDOW_ANCHORED, 0, 137, 25},
                    {SELLA_WINDOW_ANCHORED, 1024, 137, 30},
                    {SELLA_WINDOW_ANCHORED, 512, 137, 33},
                    {SELLA_WINDOW_ANCHORED, 384, 137, 37},
                    {SELLA_WINDOW_SLIDING, 0, 105, 57}};
    sella_err err = {0};
    sella_gguf *file = NULL;
    char *from = shared_path("data/ml-1m");
    sella_tokenizer *tokenizer = from ? smollm(&file) : NULL;
    if (!tokenizer) {
        free(from);
        skip();
    }
    char *folder = scratch_make(), *to = sella_path_join(folder, "ds", NULL);
    const char *inputs[] = {from};
    sella_import_options options = {
        .format = "split", .inputs = inputs, .input_count = 1, .output = to, .noun = "movie"};
    assert_int_equal(sella_import(&options, NULL, NULL, &err), SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    bench b = bench_open("compact", tokenizer, d->title, d->items);
    const sella_split *train = &d->split[SELLA_SPLIT_TRAIN];
    sella_rows rows;
    sella_rows_init(&rows);
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        sella_rows_clear(&rows);
        for (int64_t r = 0; r < train->rows; r++) {
            const int32_t *history;
            int32_t count = sella_dataset_history(d, SELLA_SPLIT_TRAIN, r, &history),
                    start = sella_history_start(expected[e].window, 10, count);
            sella_prompt_row row = {.history_n = history + start,
                                    .history_count = count - start,
                                    .item = train->item_n[r],
                                    .group = train->user_n[r],
                                    .row = r,
                                    .weight = 1};
            assert_int_equal(sella_prompt_render(b.prompter, &row, &rows, &err), SELLA_OK);
        }
        sella_tree_plan plan;
        sella_tree_options tree = {.budget = 1 << 22, .tree_cap = expected[e].cap, .share = true};
        assert_int_equal(sella_tree_plan_new(&rows, &tree, &plan, &err), SELLA_OK);
        double alone = (double)rows.start[rows.count] / (double)rows.count,
               shared = (double)plan.tokens / (double)rows.count;
        sella_tree_plan_release(&plan);
        assert_true(alone > 0.99 * expected[e].alone && alone < 1.01 * expected[e].alone);
        assert_true(shared > 0.5 * expected[e].tree && shared <= expected[e].tree);
    }
    sella_rows_release(&rows);
    bench_close(&b);
    sella_dataset_close(d);
    free(to);
    free(from);
    scratch_remove(folder);
    sella_tokenizer_close(tokenizer);
    sella_gguf_close(file);
}

/* ---- template files ---- */

static void templates_are_files(void **state)
{
    (void)state;
    sella_err err = {0};
    char *folder = scratch_make(), *path = sella_path_join(folder, "t", NULL);
    for (int t = 0; sella_template_names[t]; t++) {
        sella_template *a, *b;
        assert_int_equal(sella_template_open(sella_template_names[t], &a, &err), SELLA_OK);
        put(folder, "t", sella_template_text(a));
        assert_int_equal(sella_template_open(path, &b, &err), SELLA_OK);
        assert_string_equal(sella_template_text(a), sella_template_text(b));
        sella_template_free(a);
        sella_template_free(b);
    }
    free(path);
    scratch_remove(folder);
}

#define HEAD "sella-template 1\n"
#define GOOD_BUT_TARGET                                                                            \
    "history = \"- {title}\\n\"\nempty = \"none\\n\"\nyes = \" Yes\"\nno = \" No\"\n"
#define GOOD GOOD_BUT_TARGET "target = \"{title}?\"\n"

static void bad_templates_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "has 0 bytes"},
        {"history = \"x\"\n", ":1: is not a template; its first line must be 'sella-template 1'"},
        {HEAD GOOD_BUT_TARGET, "the piece 'target' is missing"},
        {HEAD GOOD "target = \"{title}\"\n", ":7: the piece 'target' occurs twice"},
        {HEAD GOOD "ending = \"x\"\n", ":7: there is no piece named 'ending'"},
        {HEAD GOOD "end = x\n", ":7: expected name = \"text\""},
        {HEAD GOOD "end = \"x\n", ":7: the text has no closing quote"},
        {HEAD GOOD "end = \"x\\q\"\n", ":7: unknown escape"},
        {HEAD GOOD "end = \"x\" y\n", ":7: text stands behind the closing quote"},
        {HEAD "\"x\"\n" GOOD, ":2: expected name = \"text\""},
        {HEAD GOOD_BUT_TARGET "target = \"title?\"\n", "piece 'target' lacks {title}"},
        {HEAD GOOD_BUT_TARGET "target = \"{title} {title}\"\n", "piece 'target' has {title} twice"},
        {HEAD GOOD_BUT_TARGET "target = \"{titel}\"\n",
         "piece 'target' has the placeholder {titel}"},
        {HEAD GOOD_BUT_TARGET "target = \"{title\"\n", "piece 'target' has a { without }"},
        {HEAD GOOD_BUT_TARGET "target = \"title}\"\n", "piece 'target' has a } without {"},
        {HEAD GOOD_BUT_TARGET "target = \"{title}{user}\"\n",
         "piece 'target' has the placeholder {user}"},
        {HEAD GOOD_BUT_TARGET "target = \"{title}{turn:end}\"\n",
         "piece 'target' has the placeholder {turn:end}"},
        {HEAD GOOD_BUT_TARGET "target = \"{title}\"\nend = \"x\"\n",
         "piece 'end' cannot follow 'target'"},
        {HEAD GOOD "start = \"Liked:\"\n", "piece 'history' cannot follow 'start': end that with a "
                                           "line break (\\n), or begin this with a single blank"},
        {HEAD GOOD "user = \"U {user} .\"\n", "piece 'target' cannot follow 'user'"},
        {HEAD GOOD "user = \"  {user}\"\n", "piece 'user' cannot follow 'history'"},
        {HEAD GOOD "between = \"\\nx\\n\"\n", "piece 'between' cannot follow 'history'"},
        {HEAD GOOD "between = \"x \"\n", "cannot follow 'between'"},
        {HEAD GOOD "user = \" {user}\"\n", "piece 'user' cannot follow 'history'"},
        {HEAD GOOD "user = \"\"\n", "piece 'user' lacks {user}"},
        {HEAD "history = \"{title} {number}\\n\"\nempty = "
              "\"x\\n\"\nyes=\"a\"\nno=\"b\"\ntarget=\"{title}\"\n",
         "has {number} not at its beginning"},
        {HEAD "history = \"{number}1{title}\\n\"\nempty = "
              "\"x\\n\"\nyes=\"a\"\nno=\"b\"\ntarget=\"{title}\"\n",
         "{number} is not followed by a plain separator"},
        {HEAD "history = \"{title}\"\nempty = \"x\\n\"\nyes=\"a\"\nno=\"b\"\ntarget=\"{title}\"\n",
         "piece 'history' cannot follow 'history'"},
        {HEAD "history = \"{title}\\n\"\nempty = \"\"\nyes=\"a\"\nno=\"b\"\ntarget=\"{title}\"\n",
         "piece 'empty' is empty"},
        {HEAD
         "history = \"{title}\\n\"\nempty = \"x\\n\"\nyes=\"a\"\nno=\"a\"\ntarget=\"{title}\"\n",
         "'yes' and 'no' are equal"},
        {HEAD GOOD "end = \"\xff\"\n", "is a control character or not UTF-8"},
        {HEAD GOOD "end = \"\x01\"\n", "is a control character or not UTF-8"},
    };
    char *folder = scratch_make(), *path = sella_path_join(folder, "t", NULL);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        sella_err err = {0};
        sella_template *tmpl;
        put(folder, "t", cases[c].text);
        sella_status status = sella_template_open(path, &tmpl, &err);
        if (status == SELLA_OK) {
            fail_msg("accepted: %s", cases[c].text);
        }
        assert_null(tmpl);
        assert_says(err, cases[c].says);
    }
    sella_err err = {0};
    sella_template *tmpl;
    char *huge = malloc(70000);
    memset(huge, '#', 70000);
    put_bytes(folder, "t", huge, 70000);
    assert_int_equal(sella_template_open(path, &tmpl, &err), SELLA_FORMAT);
    memcpy(huge, HEAD GOOD "end = \"", sizeof HEAD GOOD "end = \"" - 1);
    huge[12000] = '"';
    huge[12001] = '\n';
    put_bytes(folder, "t", huge, 12002);
    assert_int_equal(sella_template_open(path, &tmpl, &err), SELLA_FORMAT);
    assert_says(err, "the piece has more than 8192 bytes");
    free(huge);
    assert_int_equal(sella_template_open("nosuch", &tmpl, &err), SELLA_MISSING);
    free(path);
    scratch_remove(folder);
    // Answers must be two different single tokens.
    sella_tokenizer *tokenizer = tiny();
    folder = scratch_make();
    path = sella_path_join(folder, "t", NULL);
    put(folder, "t",
        HEAD "history = \"{title}\\n\"\nempty = \"x\\n\"\nyes=\"Absolutely, "
             "friend\"\nno=\"No\"\ntarget=\"{title}\"\n");
    sella_prompter *prompter;
    assert_int_equal(sella_template_open(path, &tmpl, &err), SELLA_OK);
    assert_int_equal(sella_prompter_new(tmpl, tokenizer, titles, TITLES, "movie", &prompter, &err),
                     SELLA_UNSUPPORTED);
    assert_says(err, "the answer 'Absolutely, friend' of the template has");
    sella_template_free(tmpl);
    free(path);
    scratch_remove(folder);
    sella_tokenizer_close(tokenizer);
}

static void open_damaged(const uint8_t *data, size_t bytes, void *user)
{
    const char *folder = user;
    sella_err err = {0};
    sella_template *tmpl = NULL;
    put_bytes(folder, "t", data, bytes);
    char *path = sella_path_join(folder, "t", NULL);
    sella_status status = sella_template_open(path, &tmpl, &err);
    assert_true(status == SELLA_OK ? tmpl != NULL : err.text[0] != '\0');
    sella_template_free(tmpl);
    free(path);
}

static void damaged_templates(void **state)
{
    (void)state;
    char *folder = scratch_make();
    for (int t = 0; sella_template_names[t]; t++) {
        mutate_run(sella_template_texts[t], strlen(sella_template_texts[t]),
                   mutate_rounds(1000, 100000), open_damaged, folder);
    }
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_by_hand),          cmocka_unit_test(rows_by_hand),
        cmocka_unit_test(titles_cannot_inject),   cmocka_unit_test(long_titles_are_cut),
        cmocka_unit_test(distillation_texts),     cmocka_unit_test(pieces_equal_text_tiny),
        cmocka_unit_test(pieces_equal_text_qwen), cmocka_unit_test(pieces_equal_text_smollm),
        cmocka_unit_test(templates_are_files),    cmocka_unit_test(bad_templates_are_refused),
        cmocka_unit_test(damaged_templates),      cmocka_unit_test(tokens_a_row),
    };
    scratch_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
