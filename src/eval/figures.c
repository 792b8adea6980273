/* figures.c - data and scripts of each kind of picture (eval/figures.h). */
#include "eval/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/gnuplot.h"

/* Draw, release, and pass on what happened before. */
static sella_status finish(sella_plot *plot, sella_status status, bool *drawn, sella_err *err)
{
    *drawn = false;
    if (status == SELLA_OK) {
        status = sella_plot_draw(plot, drawn, err);
    }
    sella_plot_release(plot);
    return status;
}

static sella_status csv(sella_plot *plot, const char *text, sella_err *err)
{
    return sella_text_append(&plot->csv, text, strlen(text), err);
}

/* ---- figure 5 ---- */

/* The axis begins at .45 unless a bar is lower: differences of AUC are small beside its value. */
static double bars_low(const sella_bar *bar_n, int n)
{
    double low = 0.45;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < SELLA_BARS; k++) {
            if (isfinite(bar_n[i].mean[k]) && bar_n[i].mean[k] - 0.02 < low) {
                low = floor(20 * (bar_n[i].mean[k] - 0.02)) / 20;
            }
        }
    }
    return low < 0 ? 0 : low;
}

sella_status sella_figure_bars(const char *dir, const char *name, const sella_bar *bar_n, int n,
                               bool *drawn, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_plot plot;
    SELLA_TRY(sella_plot_init(&plot, dir, name, 860, 380, err));
    SELLA_TRY(csv(&plot,
                  "method,auc_warm,auc_warm_sd,auc_cold,auc_cold_sd,uauc_warm,uauc_warm_sd,uauc_"
                  "cold,uauc_cold_sd\n",
                  err));
    for (int i = 0; i < n; i++) {
        SELLA_TRY(sella_plot_field(&plot, bar_n[i].label, ',', err));
        for (int k = 0; k < SELLA_BARS; k++) {
            SELLA_TRY(sella_plot_real(&plot, bar_n[i].mean[k], ',', err));
            SELLA_TRY(sella_plot_real(&plot, isfinite(bar_n[i].sd[k]) ? bar_n[i].sd[k] : 0,
                                      k + 1 < SELLA_BARS ? ',' : '\n', err));
        }
    }
    SELLA_TRY(sella_text_format(&plot.script, err,
                                "set multiplot layout 1,2\n"
                                "set style data histograms\n"
                                "set style histogram errorbars gap 1.2 lw 1\n"
                                "set style fill solid 0.9 noborder\n"
                                "set errorbars small lw 1 lc rgb '#333333'\n"
                                "set xtics rotate by 30 right noenhanced\n"
                                "set yrange [%g:*]\nset format y '%%.2f'\n"
                                "set key outside bottom center horizontal Left reverse\n"
                                "set title 'AUC'\n"
                                "plot '%s.csv' using 2:3:xtic(1) lc rgb c2 title 'warm rows', '' "
                                "using 4:5 lc rgb c1 title 'cold rows'\n"
                                "set title 'UAUC'\n"
                                "plot '%s.csv' using 6:7:xtic(1) lc rgb c2 title 'warm rows', '' "
                                "using 8:9 lc rgb c1 title 'cold rows'\n"
                                "unset multiplot\n",
                                bars_low(bar_n, n), name, name));
done:
    return finish(&plot, status, drawn, err);
}

/* ---- figure 6 ---- */

static sella_status panel_rows(sella_plot *plot, const sella_panel *panel,
                               const char *const *item_id, int N, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int i = 0; i < N; i++) {
        SELLA_TRY(sella_plot_field(plot, item_id[i], ',', err));
        SELLA_TRY(sella_plot_real(plot, (double)panel->first[2 * i], ',', err));
        SELLA_TRY(sella_plot_real(plot, (double)panel->first[2 * i + 1], ',', err));
        SELLA_TRY(sella_plot_real(plot, (double)panel->second[2 * i], ',', err));
        SELLA_TRY(sella_plot_real(plot, (double)panel->second[2 * i + 1], '\n', err));
    }
    status = csv(plot, "\n\n", err); // the next block of gnuplot's index
done:
    return status;
}

/* A square around all points, so that panels have one shape: half its side, and its middle. */
static double square_of(const sella_panel *panel, int N, double middle[2])
{
    double half = 0;
    for (int axis = 0; axis < 2; axis++) {
        double low = INFINITY, high = -INFINITY;
        for (int i = 0; i < N; i++) {
            const double a = (double)panel->first[2 * i + axis],
                         b = (double)panel->second[2 * i + axis];
            low = fmin(low, fmin(a, b));
            high = fmax(high, fmax(a, b));
        }
        middle[axis] = N > 0 ? (low + high) / 2 : 0;
        half = fmax(half, N > 0 ? (high - low) / 2 : 0);
    }
    return half > 0 ? 1.05 * half : 1;
}

sella_status sella_figure_points(const char *dir, const char *name, const sella_panel *panel_k,
                                 int panels, const char *const *item_id, int N, bool *drawn,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_plot plot;
    SELLA_TRY(sella_plot_init(&plot, dir, name, 430 * panels, 430, err));
    SELLA_TRY(
        csv(&plot, "# item, Proj(q) x, y, semantic vector x, y; one block for each panel\n", err));
    SELLA_TRY(sella_text_format(&plot.script, err,
                                "set datafile nocolumnheaders\n"
                                "set multiplot layout 1,%d\n"
                                "set border 15 lw 0.5 lc rgb '#999999'\n"
                                "unset tics\nunset grid\n"
                                "set key bottom center outside horizontal Left reverse\n"
                                "set size ratio 1\nset pointsize %g\n",
                                panels, N < 300 ? 0.6 : 0.22));
    for (int k = 0; k < panels; k++) {
        double middle[2];
        const double half = square_of(&panel_k[k], N, middle);
        SELLA_TRY(panel_rows(&plot, &panel_k[k], item_id, N, err));
        SELLA_TRY(sella_text_format(
            &plot.script, err, "set xrange [%.6g:%.6g]\nset yrange [%.6g:%.6g]\nset title ",
            middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half));
        SELLA_TRY(sella_plot_quote(&plot, panel_k[k].title, err));
        SELLA_TRY(sella_text_format(
            &plot.script, err,
            "\nplot '%s.csv' index %d using 2:3 with points pt 7 lc rgb 0x600072b2 notitle, '' "
            "index %d using 4:5 with points pt 7 lc rgb 0x60d55e00 notitle, keyentry with points "
            "pt 7 ps 0.8 lc rgb c1 title 'Proj(q)', keyentry with points pt 7 ps 0.8 lc rgb c6 "
            "title 'semantic vector'\n",
            name, k, k));
    }
    SELLA_TRY(sella_text_format(&plot.script, err, "unset multiplot\n"));
done:
    return finish(&plot, status, drawn, err);
}

/* ---- figure 7 ---- */

sella_status sella_figure_areas(const char *dir, const char *name, const sella_spread *spread_k,
                                int spreads, bool *drawn, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_plot plot;
    SELLA_TRY(sella_plot_init(&plot, dir, name, 760, 380, err));
    SELLA_TRY(csv(&plot, "cosine,", err));
    for (int k = 0; k < spreads; k++) {
        SELLA_TRY(sella_plot_field(&plot, spread_k[k].label, k + 1 < spreads ? ',' : '\n', err));
    }
    for (int b = 0; b < SELLA_COSINE_BINS; b++) {
        SELLA_TRY(sella_plot_real(&plot, -1 + (b + 0.5) * 2 / SELLA_COSINE_BINS, ',', err));
        for (int k = 0; k < spreads; k++) {
            int inside = 0;
            for (int i = 0; i < spread_k[k].N; i++) {
                const int bin = (int)floor((spread_k[k].cosine[i] + 1) / 2 * SELLA_COSINE_BINS);
                inside += (bin < 0                    ? 0
                           : bin >= SELLA_COSINE_BINS ? SELLA_COSINE_BINS - 1
                                                      : bin) == b;
            }
            SELLA_TRY(sella_plot_real(&plot,
                                      100.0 * inside / (spread_k[k].N > 0 ? spread_k[k].N : 1),
                                      k + 1 < spreads ? ',' : '\n', err));
        }
    }
    SELLA_TRY(sella_text_format(
        &plot.script, err,
        "set xlabel 'cosine similarity of Proj(q) and the semantic vector of an item'\n"
        "set ylabel '%% of items, stacked'\n"
        "set xrange [-1:1]\nset yrange [0:*]\nset key top left Left reverse\n"
        "set style fill solid 1 noborder\nplot "));
    /* the tallest sum first: the others cover its lower part */
    for (int k = spreads - 1; k >= 0; k--) {
        SELLA_TRY(sella_text_format(
            &plot.script, err,
            "'%s.csv' using 1:(sum [c=2:%d] column(c)) with filledcurves y1=0 lc rgb c%d title ",
            name, k + 2, k + 1));
        SELLA_TRY(sella_plot_quote(&plot, spread_k[k].label, err));
        SELLA_TRY(sella_text_format(&plot.script, err, k > 0 ? ", " : "\n"));
    }
done:
    return finish(&plot, status, drawn, err);
}

/* ---- figure 8 ---- */

/* points: of names, a map, the scale */
enum { MAP_NAMES = 240, MAP_SIDE = 380, MAP_SCALE = 90, MAP_HEIGHT = 440 };

/* Where map k stands; names on the first alone, the scale behind the last. */
static sella_status map_place(sella_plot *plot, int k, int maps, sella_err *err)
{
    const double width = MAP_NAMES + maps * MAP_SIDE + MAP_SCALE, left = MAP_NAMES + k * MAP_SIDE;
    sella_status status = sella_text_format(
        &plot->script, err,
        "set lmargin at screen %.4f\nset rmargin at screen %.4f\nset tmargin at screen 0.9\n"
        "set bmargin at screen 0.05\n%s",
        left / width, (left + MAP_SIDE - 20) / width, k > 0 ? "unset ytics\n" : "");
    if (status == SELLA_OK && k + 1 == maps) {
        status = sella_text_format(
            &plot->script, err, "set colorbox user origin screen %.4f,0.1 size screen 0.012,0.75\n",
            (left + MAP_SIDE - 5) / width);
    }
    return status == SELLA_OK ? sella_text_format(&plot->script, err, "set title ") : status;
}

sella_status sella_figure_maps(const char *dir, const char *name, const sella_attention_map *map_k,
                               int maps, int T, const int *mark_n, const char *const *mark_name,
                               int marks, bool *drawn, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_plot plot;
    SELLA_TRY(sella_plot_init(&plot, dir, name, MAP_NAMES + maps * MAP_SIDE + MAP_SCALE, MAP_HEIGHT,
                              err));
    SELLA_TRY(
        csv(&plot, "# row: from a token, column: to a token; one block for each layer\n", err));
    SELLA_TRY(sella_text_format(
        &plot.script, err,
        "set datafile nocolumnheaders\nset multiplot\n"
        "unset grid\nunset key\nset border 15 lw 0.5 lc rgb '#999999'\nset tics scale 0.3 font "
        "',10'\n"
        "set xrange [-0.5:%d.5]\nset yrange [%d.5:-0.5]\nunset colorbox\n"
        "set palette defined (0 '#0b1030', 0.35 '#3b4cc0', 0.7 '#e69f00', 1 '#fff7c0')\n"
        "set cbrange [-3:0]\nset cbtics ('0.001' -3, '0.01' -2, '0.1' -1, '1' 0)\n"
        "unset xtics\nset ytics nomirror noenhanced (",
        T - 1, T - 1));
    for (int m = 0; m < marks; m++) {
        SELLA_TRY(sella_plot_quote(&plot, mark_name[m], err));
        SELLA_TRY(
            sella_text_format(&plot.script, err, " %d%s", mark_n[m], m + 1 < marks ? ", " : ""));
    }
    SELLA_TRY(sella_text_format(&plot.script, err, ")\n"));
    for (int k = 0; k < maps; k++) {
        for (int from = 0; from < T; from++) {
            for (int to = 0; to < T; to++) {
                const float weight = map_k[k].weight[(size_t)from * (size_t)T + (size_t)to];
                SELLA_TRY(sella_text_format(&plot.csv, err, "%.4g%c", (double)weight,
                                            to + 1 < T ? ',' : '\n'));
            }
        }
        SELLA_TRY(csv(&plot, "\n\n", err));
        SELLA_TRY(map_place(&plot, k, maps, err));
        SELLA_TRY(sella_plot_quote(&plot, map_k[k].title, err));
        SELLA_TRY(sella_text_format(
            &plot.script, err,
            "\nplot '%s.csv' index %d matrix using 1:2:($3 > 1e-3 ? log10($3) : -3) with image\n",
            name, k));
    }
    SELLA_TRY(sella_text_format(&plot.script, err, "unset multiplot\n"));
done:
    return finish(&plot, status, drawn, err);
}

/* ---- learning curves ---- */

/* Curves of very different lengths share a logarithmic axis. */
static bool lengths_differ(const sella_curve *curve_k, int curves)
{
    double least = INFINITY, most = 0;
    for (int k = 0; k < curves; k++) {
        const double end = curve_k[k].N > 0 ? curve_k[k].x[curve_k[k].N - 1] : NAN;
        least = end > 0 && end < least ? end : least;
        most = end > most ? end : most;
    }
    return most > 20 * least;
}

sella_status sella_figure_curves(const char *dir, const char *name, const char *xlabel,
                                 const char *ylabel, const sella_curve *curve_k, int curves,
                                 bool *drawn, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_plot plot;
    SELLA_TRY(
        sella_plot_init(&plot, dir, name, 600, 300 + 14 * (curves > 10 ? curves - 10 : 0), err));
    SELLA_TRY(csv(&plot, "# x, y; one block for each curve\n", err));
    SELLA_TRY(sella_text_format(&plot.script, err,
                                "set datafile nocolumnheaders\n"
                                "set key outside right top Left reverse\nset xlabel "));
    SELLA_TRY(sella_plot_quote(&plot, xlabel, err));
    SELLA_TRY(sella_text_format(&plot.script, err, "\nset ylabel "));
    SELLA_TRY(sella_plot_quote(&plot, ylabel, err));
    SELLA_TRY(
        sella_text_format(&plot.script, err,
                          lengths_differ(curve_k, curves) ? "\nset logscale x\nplot " : "\nplot "));
    for (int k = 0; k < curves; k++) {
        for (int i = 0; i < curve_k[k].N; i++) {
            SELLA_TRY(sella_plot_real(&plot, curve_k[k].x[i], ',', err));
            SELLA_TRY(sella_plot_real(&plot, curve_k[k].y[i], '\n', err));
        }
        SELLA_TRY(csv(&plot, "\n\n", err));
        SELLA_TRY(sella_text_format(
            &plot.script, err, "%s'%s.csv' index %d using 1:2 with %s lc rgb c%d dt %d title ",
            k > 0 ? ", " : "", name, k,
            curve_k[k].N > 30 ? "lines lw 1.6" : "linespoints lw 1.6 pt 7 ps 0.35", k % 8 + 1,
            k / 8 + 1));
        SELLA_TRY(sella_plot_quote(&plot, curve_k[k].label, err));
    }
    SELLA_TRY(sella_text_format(&plot.script, err, "\n"));
done:
    return finish(&plot, status, drawn, err);
}
