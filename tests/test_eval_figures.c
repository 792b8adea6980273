/* Figures: the data beside them, what gnuplot makes of them where it is there, and what happens
 *          where it is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <sys/stat.h>

#include "eval/figures.h"
#include "eval/gnuplot.h"
#include "scratch.h"

static char *folder;

static char *text_of(const char *name)
{
    sella_map map;
    char *path = sella_path_join(folder, name, NULL);
    if (sella_map_open(path, &map, NULL) != SELLA_OK) {
        free(path);
        return NULL;
    }
    char *text = strndup((const char *)map.data, map.size);
    sella_map_close(&map);
    free(path);
    return text;
}

/* The picture is XML with these words in it, when gnuplot is here. */
static void picture(const char *name, bool drawn, const char *word)
{
    char *svg = text_of(name);
    if (drawn) {
        assert_non_null(svg);
        assert_non_null(strstr(svg, "<svg"));
        assert_non_null(strstr(svg, "</svg>"));
        if (!strstr(svg, word)) {
            fail_msg("%s does not hold %s", name, word);
        }
        assert_null(strstr(svg, "<script"));
    } else {
        assert_null(svg);
        print_message("no gnuplot here: %s was not drawn\n", name);
    }
    free(svg);
}

static void holds(const char *name, const char *word)
{
    char *text = text_of(name);
    assert_non_null(text);
    if (!strstr(text, word)) {
        fail_msg("%s does not hold '%s':\n%s", name, word, text);
    }
    free(text);
}

static const char hostile[] = "<script>alert(1)</script> `touch pwned` \"q\" \\n 'x' & @y";

static void bars(void **state)
{
    (void)state;
    const sella_bar bar[2] = {{"MF", {.7, .6, .65, NAN}, {.01, NAN, 0, NAN}},
                              {hostile, {.8, .7, .7, .6}, {0}}};
    bool drawn;
    sella_err err = {0};
    assert_int_equal(sella_figure_bars(folder, "bars", bar, 2, &drawn, &err), SELLA_OK);
    holds("bars.csv", "MF,0.7,0.01,0.6,0,0.65,0,,0\n");
    picture("bars.svg", drawn, "warm rows");
    picture("bars.svg", drawn, "&lt;script>alert(1)");
}

static void points(void **state)
{
    (void)state;
    const float a[6] = {0, 0, 1, 1, 2, .5f}, b[6] = {1, 0, 0, 1, 2, 2};
    const char *const id[3] = {"10", "a,b", "\"z\""};
    const sella_panel panel[2] = {{"with", a, b}, {hostile, b, a}};
    bool drawn;
    assert_int_equal(sella_figure_points(folder, "points", panel, 2, id, 3, &drawn, NULL),
                     SELLA_OK);
    holds("points.csv", "10,0,0,1,0\n\"a,b\",1,1,0,1\n");
    picture("points.svg", drawn, "semantic vector");
    picture("points.svg", drawn, "&lt;script>alert(1)");
}

/* Three of four values lie in the last bin, one in the middle one. */
static void areas(void **state)
{
    (void)state;
    const double with[4] = {1, .99, .995, .001}, without[2] = {-1, -2};
    const sella_spread spread[2] = {{"without", without, 2}, {"with", with, 4}};
    bool drawn;
    assert_int_equal(sella_figure_areas(folder, "areas", spread, 2, &drawn, NULL), SELLA_OK);
    holds("areas.csv", "cosine,without,with\n-0.99,100,0\n");
    holds("areas.csv", "\n0.01,0,25\n");
    holds("areas.csv", "\n0.99,0,75\n");
    picture("areas.svg", drawn, "stacked");
}

static void maps(void **state)
{
    (void)state;
    const float weight[9] = {1, 0, 0, .5f, .5f, 0, .2f, .3f, .5f};
    const sella_attention_map map[2] = {{"layer 2", weight}, {"layer 30", weight}};
    const int mark[1] = {1};
    const char *const name[1] = {hostile};
    bool drawn;
    assert_int_equal(sella_figure_maps(folder, "maps", map, 2, 3, mark, name, 1, &drawn, NULL),
                     SELLA_OK);
    holds("maps.csv", "layer\n1,0,0\n0.5,0.5,0\n0.2,0.3,0.5\n");
    picture("maps.svg", drawn, "layer 30");
}

static void curves(void **state)
{
    (void)state;
    const double x[3] = {1, 2, 3}, y[3] = {.5, NAN, .7};
    const sella_curve curve[2] = {{"mf", x, y, 3}, {hostile, x, y, 3}};
    bool drawn;
    assert_int_equal(sella_figure_curves(folder, "curves", "epoch", "AUC", curve, 2, &drawn, NULL),
                     SELLA_OK);
    holds("curves.csv", "1,0.5\n2,\n3,0.7\n");
    picture("curves.svg", drawn, "epoch");
    char *pwned = text_of("pwned");
    assert_null(pwned);
}

/* A program of that name that fails is told in its words, and no picture stays. */
static void gnuplot_fails_or_is_missing(void **state)
{
    (void)state;
    char *kept = strdup(getenv("PATH")), *bin = sella_path_join(folder, "bin", NULL);
    assert_int_equal(sella_dir_make(bin, NULL), SELLA_OK);
    setenv("PATH", bin, 1);
    const double x[1] = {1};
    const sella_curve curve = {"mf", x, x, 1};
    bool drawn = true;
    sella_err err = {0};
    assert_int_equal(sella_figure_curves(folder, "none", "x", "y", &curve, 1, &drawn, &err),
                     SELLA_OK);
    assert_false(drawn);
    holds("none.gp", "plot 'none.csv'");
    static const char failing[] = "#!/bin/sh\necho no ink >&2\nexit 3\n";
    char *program = scratch_file(bin, "gnuplot", failing, strlen(failing));
    assert_int_equal(chmod(program, 0755), 0);
    assert_int_equal(sella_figure_curves(folder, "none", "x", "y", &curve, 1, &drawn, &err),
                     SELLA_IO);
    assert_non_null(strstr(err.text, "no ink"));
    setenv("PATH", kept, 1);
    free(program);
    free(bin);
    free(kept);
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
        cmocka_unit_test(bars),   cmocka_unit_test(points),
        cmocka_unit_test(areas),  cmocka_unit_test(maps),
        cmocka_unit_test(curves), cmocka_unit_test(gnuplot_fails_or_is_missing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
