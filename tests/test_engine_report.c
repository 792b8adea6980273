/* The parts of a report: escaping, what pictures may hold, means over seeds, published splits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/html.h"
#include "engine/published.h"
#include "engine/report_runs.h"
#include "base/file.h"
#include "scratch.h"
#include "sella/report.h"

static char *folder;

static void escapes(void **state)
{
    (void)state;
    sella_html h;
    sella_html_begin(&h, "<script>\"x\" & 'y'", NULL);
    assert_int_equal(h.status, SELLA_OK);
    assert_non_null(
        strstr(h.text.data, "<title>&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;</title>"));
    assert_null(strstr(h.text.data, "<script"));
    h.text.size = 0;
    sella_html_figure(&h, .73512, .00214, "best");
    sella_html_figure(&h, .5, NAN, "");
    sella_html_figure(&h, NAN, 1, "");
    assert_string_equal(h.text.data,
                        "<td class=\"n best\">0.7351<span class=\"sd\">&plusmn; "
                        "0.0021</span></td><td class=\"n\">0.5000</td><td class=\"n\">-</td>");
    sella_text_release(&h.text);
}

/* A picture from elsewhere is shown when it holds shapes and text alone. */
static void pictures(void **state)
{
    (void)state;
    static const struct {
        const char *svg;
        bool shown;
    } cases[] = {
        {"<?xml version=\"1.0\"?>\n<svg xmlns:xlink='x'><use "
         "xlink:href='#gpPt1'/><text>&lt;script> on = 1</text></svg>",
         true},
        {"<svg><image href='data:image/png;base64,AAAA'/></svg>", true},
        {"<svg><script>alert(1)</script></svg>", false},
        {"<svg><SCRIPT>alert(1)</SCRIPT></svg>", false},
        {"<svg onload='x()'></svg>", false},
        {"<svg><g/onclick = 'x()'/></svg>", false},
        {"<svg><use href='http://x/y'/></svg>", false},
        {"<svg><use href=\"data:text/html,x\"/></svg>", false},
        {"<svg><foreignObject/></svg>", false},
        {"\xff\xfe", false},
        {"<svg>\xff</svg>", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = scratch_file(folder, "p.svg", cases[i].svg, strlen(cases[i].svg));
        sella_html h = {0};
        sella_html_picture(&h, folder, "figures", "p", "what <it> shows");
        assert_int_equal(h.status, SELLA_OK);
        if ((strstr(h.text.data, "<svg") != NULL) != cases[i].shown) {
            fail_msg("picture %zu: %s", i, h.text.data);
        }
        assert_non_null(strstr(h.text.data, "what &lt;it&gt; shows"));
        sella_html_release(&h);
        free(path);
    }
}

/* Contents stand below the heading once there is something to choose from; numbers have commas. */
static void contents(void **state)
{
    (void)state;
    static const char *const title[] = {"Table 2. Counts", "Curves", "Figure 5. Bars", "End"};
    sella_err err = {0};
    char *path = sella_path_join(folder, "contents.html", NULL);
    for (int sections = 3; sections <= 4; sections++) {
        sella_html h;
        sella_map page;
        sella_html_begin(&h, "A page", &err);
        for (int s = 0; s < sections; s++) {
            sella_html_section(&h, title[s]);
        }
        sella_html_count(&h, 0);
        sella_html_raw(&h, " ");
        sella_html_count(&h, 727468);
        sella_html_raw(&h, " ");
        sella_html_count(&h, 1000000);
        assert_int_equal(sella_html_save(&h, path), SELLA_OK);
        assert_int_equal(sella_map_open(path, &page, &err), SELLA_OK);
        char *text = strndup((const char *)page.data, page.size);
        assert_non_null(strstr(text, "<h2 id=\"part3\">Figure 5. Bars</h2>"));
        assert_non_null(strstr(text, "0 727,468 1,000,000</body>"));
        const char *nav = "<h1>A page</h1>\n<nav>\n<a href=\"#part1\">Table 2</a>\n<a "
                          "href=\"#part2\">Curves</a>\n<a href=\"#part3\">Figure 5</a>\n<a "
                          "href=\"#part4\">End</a>\n</nav>\n<h2 id=\"part1\">Table 2. Counts</h2>";
        assert_int_equal(strstr(text, nav) != NULL, sections == 4);
        assert_int_equal(strstr(text, "<nav>") != NULL, sections == 4);
        free(text);
        sella_map_close(&page);
    }
    free(path);
}

static void means(void **state)
{
    (void)state;
    const double value[4] = {.7, NAN, .72, .77};
    const sella_mean m = sella_mean_of(value, 4);
    assert_int_equal(m.count, 3);
    assert_true(fabs(m.mean - .73) < 1e-12 && fabs(m.sd - sqrt(.0013)) < 1e-12);
    assert_true(isnan(sella_mean_of(value, 1).sd) && isnan(sella_mean_of(value + 1, 1).mean));
}

/* Table 3 of the paper as printed. */
static void published(void **state)
{
    (void)state;
    const sella_published *row = sella_published_find("sella");
    assert_true(row && row->sella[SELLA_KNOWN_BOOK][0] == .8837 &&
                row->sella[SELLA_KNOWN_ML1M][1] == .7464);
    assert_null(sella_published_find("itembias"));
    assert_int_equal(sella_known_data(740, 3255), SELLA_KNOWN_ML1M);
    assert_int_equal(sella_known_data(741, 3255), SELLA_KNOWN_NONE);
}

static void write_run(const char *name, const char *run, const char *result,
                      const char *predictions)
{
    char *dir = sella_path_join(folder, "runs", name, NULL);
    assert_int_equal(sella_dir_make(dir, NULL), SELLA_OK);
    free(scratch_file(dir, "run.json", run, strlen(run)));
    if (result) {
        free(scratch_file(dir, "result.json", result, strlen(result)));
        free(scratch_file(dir, "predictions-test.csv", predictions, strlen(predictions)));
    }
    free(dir);
}

#define RUN(seed, lr)                                                                              \
    "{\"method\":\"mf\",\"preset\":\"default\",\"seed\":" #seed                                    \
    ",\"dataset\":{\"name\":\"d\",\"checksum\":\"c\"},\"users\":2,\"items\":3,"                    \
    "\"settings\":{\"lr\":" #lr "}}"

/* Seeds 1 and 2 are one method: AUC 1 and 0.5 on four rows; another lr and an unfinished run are
 * others. */
static void seeds_are_one_group(void **state)
{
    (void)state;
    sella_runs runs;
    sella_err err = {0};
    write_run("mf/seed-1", RUN(1, 0.5), "{}",
              "user,item,label,score\na,1,1,.9\na,2,0,.1\nb,1,1,.8\nb,2,0,.2\n");
    write_run("mf/seed-2", RUN(2, 0.5), "{}",
              "user,item,label,score\na,1,1,.5\na,2,0,.5\nb,1,1,.5\nb,2,0,.5\n");
    write_run("other", RUN(1, 0.25), "{}", "user,item,label,score\na,1,1,.5\n");
    write_run("unfinished", RUN(3, 0.5), NULL, NULL);
    write_run("wrong", "{\"method\":\"mf\"", NULL, NULL);
    char *path = sella_path_join(folder, "runs", NULL);
    assert_int_equal(sella_runs_read((const char *const *)&path, 1, NULL, &runs, &err), SELLA_OK);
    assert_int_equal(runs.count, 4);
    assert_int_equal(runs.groups, 2);
    const sella_mean auc = sella_runs_mean(&runs, 0, SELLA_SPLIT_TEST, SELLA_OF_AUC);
    assert_int_equal(auc.count, 2);
    assert_true(fabs(auc.mean - .75) < 1e-12 && fabs(auc.sd - sqrt(.125)) < 1e-12);
    assert_string_equal(sella_runs_first(&runs, 0)->label, "mf");
    assert_int_equal(sella_runs_scored(&runs, 0, SELLA_SPLIT_TEST), 2);
    assert_int_equal(sella_runs_scored(&runs, 0, SELLA_SPLIT_VALID), 0);
    sella_runs_release(&runs);
    free(path);
    path = sella_path_join(folder, "runs", "wrong", NULL);
    assert_int_equal(sella_runs_read((const char *const *)&path, 1, NULL, &runs, &err),
                     SELLA_FORMAT);
    free(path);
}

static void write_scored(const char *run, const char *name, int rows)
{
    char *dir = sella_path_join(folder, "sampled", run, NULL),
         text[400] = "user,item,label,score\n";
    assert_int_equal(sella_dir_make(dir, NULL), SELLA_OK);
    for (int r = 0; r < rows; r++) {
        const size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "a,%d,%d,.%d\n", r, r % 2, r % 2 ? 9 : 1);
    }
    free(scratch_file(dir, name, text, strlen(text)));
    free(dir);
}

static void write_sampled(const char *run, const char *method, const char *decided)
{
    char *dir = sella_path_join(folder, "sampled", run, NULL), text[400];
    assert_int_equal(sella_dir_make(dir, NULL), SELLA_OK);
    snprintf(text, sizeof text,
             "{\"method\":\"%s\",\"preset\":\"default\",\"seed\":3,\"dataset\":{\"name\":\"d\","
             "\"checksum\":\"c\"},"
             "\"users\":2,\"items\":3,\"settings\":{\"lr\":1},\"decided\":{%s}}",
             method, decided);
    free(scratch_file(dir, "run.json", text, strlen(text)));
    free(scratch_file(dir, "result.json", "{}", 2));
    free(dir);
}

static const sella_run_facts *run_of(const sella_runs *runs, const char *label)
{
    for (int i = 0; i < runs->count; i++) {
        if (strcmp(runs->run[i].label, label) == 0) {
            return &runs->run[i];
        }
    }
    fail_msg("no run %s", label);
    return NULL;
}

static void expect(const sella_runs *runs, const char *label, sella_split_id split, int rows,
                   int sample, int seed)
{
    const sella_run_facts *run = run_of(runs, label);
    assert_true(run->scored[split]);
    assert_int_equal(run->metrics[split].all.rows, rows);
    assert_int_equal(run->sample[split], sample);
    assert_int_equal(run->sample_seed[split], seed);
}

/* The largest sample stands for a split that was never scored whole; the page says what was drawn.
 */
static void samples(void **state)
{
    (void)state;
    sella_runs runs;
    sella_err err = {0};
    char *json = NULL, *path = sella_path_join(folder, "sampled", NULL),
         *page = sella_path_join(folder, "page", NULL);
    sella_map html = {0};
    write_sampled("whole", "mf", "\"train.rows\":0,\"eval.rows\":0");
    write_scored("whole", "predictions-valid.csv", 8);
    write_scored("whole", "predictions-valid-rows-9-seed-1.csv", 9);
    write_sampled("drawn", "mf",
                  "\"train.rows\":5,\"eval.rows\":4"); // no language model: train.rows says nothing
    write_scored("drawn", "predictions-valid.csv", 4);
    write_scored("drawn", "predictions-test-rows-4-seed-9.csv", 4);
    write_scored("drawn", "predictions-test-rows-6-seed-11.csv", 6);
    write_scored("drawn", "predictions-test-rows-6-seed-2.csv", 6);
    write_scored("drawn", "predictions-test-rows-70-seed-1.csv.old", 7);
    write_scored("drawn", "predictions-test-rows-x-seed-1.csv", 7);
    write_scored("drawn", "predictions-test-rows-80-seed-.csv", 7);
    write_scored("drawn", "predictions-test-rows-99999999999999999999999-seed-1.csv", 7);
    write_sampled("like", "sasrec", "\"eval.rows\":4");
    write_scored("like", "predictions-valid.csv", 4);
    write_sampled("model", "tallrec", "\"train.rows\":5,\"eval.rows\":0");
    write_scored("model", "predictions-valid.csv", 8);
    assert_int_equal(sella_runs_read((const char *const *)&path, 1, NULL, &runs, &err), SELLA_OK);
    assert_int_equal(runs.count, 4);
    expect(&runs, "whole", SELLA_SPLIT_VALID, 8, 0, 0);
    expect(&runs, "drawn", SELLA_SPLIT_VALID, 4, 4, 3);
    expect(&runs, "drawn", SELLA_SPLIT_TEST, 6, 6, 2);
    expect(&runs, "model", SELLA_SPLIT_VALID, 8, 0, 0);
    assert_int_equal(run_of(&runs, "drawn")->train_sample, 0);
    assert_int_equal(run_of(&runs, "model")->train_sample, 5);
    assert_false(run_of(&runs, "whole")->scored[SELLA_SPLIT_TEST]);
    sella_runs_release(&runs);
    assert_int_equal(sella_report((const char *const *)&path, 1, page, NULL, &json, &err),
                     SELLA_OK);
    char *index = sella_path_join(page, "index.html", NULL);
    assert_int_equal(sella_map_open(index, &html, &err), SELLA_OK);
    char *text = strndup((const char *)html.data, html.size);
    assert_non_null(strstr(text, "Sampled. <b>4</b> valid rows drawn with seed 3: drawn, like. "
                                 "<b>5</b> train rows seen by the language model: model. What"));
    assert_non_null(strstr(text, "Sampled. <b>6</b> test rows drawn with seed 2: all of these. "
                                 "What"));
    assert_non_null(strstr(text, "Not all runs were scored on the same rows"));
    free(text);
    sella_map_close(&html);
    free(index);
    free(json);
    free(page);
    free(path);
}

/* Does the page about these two runs say that they were scored on different rows? */
static bool says_different(const char *a, const char *b)
{
    sella_err err = {0};
    sella_map html = {0};
    char *json = NULL, *one = sella_path_join(folder, "sampled", a, NULL),
         *other = sella_path_join(folder, "sampled", b, NULL),
         *page = sella_path_join(folder, "page", NULL),
         *index = sella_path_join(folder, "page", "index.html", NULL);
    const char *const path[] = {one, other};
    assert_int_equal(sella_report(path, 2, page, NULL, &json, &err), SELLA_OK);
    assert_int_equal(sella_map_open(index, &html, &err), SELLA_OK);
    char *text = strndup((const char *)html.data, html.size);
    const bool said = strstr(text, "Not all runs were scored on the same rows") != NULL;
    free(text);
    sella_map_close(&html);
    free(json);
    free(one);
    free(other);
    free(page);
    free(index);
    return said;
}

/* Which rows were scored is told by the rows, not by what the files are called. */
static void rows_tell(void **state)
{
    (void)state;
    static const char others[] = "user,item,label,score\na,9,0,.1\na,8,1,.9\na,7,0,.1\na,6,1,.9\n";
    write_sampled("plain", "mf", "");
    write_scored("plain", "predictions-test.csv", 4);
    write_sampled("named", "sasrec", "");
    write_scored("named", "predictions-test-rows-4-seed-9.csv", 4);
    write_sampled("elsewhere", "din", "");
    write_scored("elsewhere", "predictions-test.csv", 4);
    char *dir = sella_path_join(folder, "sampled", "elsewhere", NULL);
    assert_false(says_different("plain", "named"));
    assert_false(says_different("plain", "elsewhere"));
    free(scratch_file(dir, "predictions-test.csv", others, sizeof others - 1));
    assert_true(says_different("plain", "elsewhere"));
    free(dir);
}

static int set_up(void **state)
{
    (void)state;
    folder = scratch_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes),
        cmocka_unit_test(pictures),
        cmocka_unit_test(contents),
        cmocka_unit_test(means),
        cmocka_unit_test(published),
        cmocka_unit_test(seeds_are_one_group),
        cmocka_unit_test(samples),
        cmocka_unit_test(rows_tell),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
