/* figures.h - the pictures of the paper's figures 5 to 8 and learning curves, as data and scripts
 * for gnuplot.
 *
 * Does:     Each function writes DIR/NAME.csv, DIR/NAME.gp and, where gnuplot is there (*drawn),
 *           DIR/NAME.svg.
 * Memory:   nothing is kept.
 * Threads:  pure on separate names.
 * Not here: where the figures come from (engine/experiment_*.c), t-SNE (eval/tsne.h), how gnuplot
 *           is run (eval/gnuplot.h).
 * Paper:    figures 5, 6, 7, 8.
 */
#ifndef SELLA_EVAL_FIGURES_H
#define SELLA_EVAL_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Figure 5: AUC and UAUC on warm and cold rows of one method; NaN: no bar, sd NaN: no whisker. */
enum {
    SELLA_BAR_AUC_WARM,
    SELLA_BAR_AUC_COLD,
    SELLA_BAR_UAUC_WARM,
    SELLA_BAR_UAUC_COLD,
    SELLA_BARS
};
typedef struct sella_bar {
    const char *label;
    double mean[SELLA_BARS], sd[SELLA_BARS];
} sella_bar;
sella_status sella_figure_bars(const char *dir, const char *name, const sella_bar *bar_n, int n,
                               bool *drawn, sella_err *err);

/* Figure 6: a panel for each map of the same items, both embeddings of an item in it. */
typedef struct sella_panel {
    const char *title;
    const float *first, *second; /* [N, 2] points of Proj(q_i) and of s_i */
} sella_panel;
sella_status sella_figure_points(const char *dir, const char *name, const sella_panel *panel_k,
                                 int panels, const char *const *item_id, int N, bool *drawn,
                                 sella_err *err);

/* Figure 7: how the cosine similarity of an item's two embeddings is spread: the share of items in
 * each of `bins` bins of equal width over [-1, 1], one distribution stacked on the other.   cosine
 * [N] each. */
enum { SELLA_COSINE_BINS = 100 };
typedef struct sella_spread {
    const char *label;
    const double *cosine; /* [N] */
    int N;
} sella_spread;
sella_status sella_figure_areas(const char *dir, const char *name, const sella_spread *spread_k,
                                int spreads, bool *drawn, sella_err *err);

/* Figure 8: one square map of attention for each layer, row = from, column = to, colours
 * by the logarithm.   weight [T, T]. */
typedef struct sella_attention_map {
    const char *title;
    const float *weight;
} sella_attention_map;
/* mark_n [marks]: places of tokens that get a name on the axes. */
sella_status sella_figure_maps(const char *dir, const char *name, const sella_attention_map *map_k,
                               int maps, int T, const int *mark_n, const char *const *mark_name,
                               int marks, bool *drawn, sella_err *err);

/* Learning curves: lines over a common kind of x. */
typedef struct sella_curve {
    const char *label;
    const double *x, *y; /* [N] */
    int N;
} sella_curve;
sella_status sella_figure_curves(const char *dir, const char *name, const char *xlabel,
                                 const char *ylabel, const sella_curve *curve_k, int curves,
                                 bool *drawn, sella_err *err);

#endif
