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
#include "scratch.h"

static char *folder;

static void escapes(void **state)
{
    (void)state;
    sella_html h;
    sella_html_begin(&h, "<script>\"x\" & 'y'", NULL);
    assert_int_equal(h.status, SELLA_OK);
    assert_non_null(strstr(h.text.data, "<title>&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;</title>"));
    assert_null(strstr(h.text.data, "<script"));
    h.text.size = 0;
    sella_html_figure(&h, .73512, .00214, "best");
    sella_html_figure(&h, .5, NAN, "");
    sella_html_figure(&h, NAN, 1, "");
    assert_string_equal(h.text.data, "<td class=\"n best\">0.7351<span class=\"sd\">&plusmn; 0.0021</span></td><td class=\"n\">0.5000</td>"
                                     "<td class=\"n\">-</td>");
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
        {"<?xml version=\"1.0\"?>\n<svg xmlns:xlink='x'><use xlink:href='#gpPt1'/><text>&lt;script> on = 1</text></svg>", true},
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
        sella_text_release(&h.text);
        free(path);
    }
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
    assert_true(row && row->sella[SELLA_KNOWN_BOOK][0] == .8837 && row->sella[SELLA_KNOWN_ML1M][1] == .7464);
    assert_null(sella_published_find("itembias"));
    assert_int_equal(sella_known_data(740, 3255), SELLA_KNOWN_ML1M);
    assert_int_equal(sella_known_data(741, 3255), SELLA_KNOWN_NONE);
}

static void write_run(const char *name, const char *run, const char *result, const char *predictions)
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

#define RUN(seed, lr)                                                                                                                   \
    "{\"method\":\"mf\",\"preset\":\"default\",\"seed\":" #seed ",\"dataset\":{\"name\":\"d\",\"checksum\":\"c\"},\"users\":2,\"items\":3," \
    "\"settings\":{\"lr\":" #lr "}}"

/* Seeds 1 and 2 are one method: AUC 1 and 0.5 on four rows; another lr and an unfinished run are others. */
static void seeds_are_one_group(void **state)
{
    (void)state;
    sella_runs runs;
    sella_err err = {0};
    write_run("mf/seed-1", RUN(1, 0.5), "{}", "user,item,label,score\na,1,1,.9\na,2,0,.1\nb,1,1,.8\nb,2,0,.2\n");
    write_run("mf/seed-2", RUN(2, 0.5), "{}", "user,item,label,score\na,1,1,.5\na,2,0,.5\nb,1,1,.5\nb,2,0,.5\n");
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
    assert_int_equal(sella_runs_read((const char *const *)&path, 1, NULL, &runs, &err), SELLA_FORMAT);
    free(path);
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
        cmocka_unit_test(escapes), cmocka_unit_test(pictures),           cmocka_unit_test(means),
        cmocka_unit_test(published), cmocka_unit_test(seeds_are_one_group),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
