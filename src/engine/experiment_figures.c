/* experiment_figures.c - figures 5 to 7 of the paper from the runs of an experiment
 * (engine/experiment_part.h).
 *
 * Figures 6 and 7 compare the two vectors of every item that occurs in train after stage 2:
 * Proj(q_i) and s_i (docs/math.md), of the run `sella` and of the same with align.weight=0, first
 * seed. Both are scaled to length 1 before t-SNE: what is aligned is their cosine.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "collab/projection.h"
#include "engine/experiment_part.h"
#include "eval/figures.h"
#include "eval/tsne.h"
#include "methods/tensor_file.h"

/* ---- figure 5 ---- */

static sella_status figure5(sella_report_page *page, const sella_experiment_plan *plan,
                            sella_err *err)
{
    static const sella_figure_of shown[SELLA_BARS] = {SELLA_OF_WARM_AUC, SELLA_OF_COLD_AUC,
                                                      SELLA_OF_WARM_UAUC, SELLA_OF_COLD_UAUC};
    int count, n = 0, methods = 0;
    const sella_experiment_row *row = sella_experiment_rows(&count);
    sella_bar bar[32];
    bool drawn;
    for (int i = 0; i < count && n < 32; i++) {
        const int group =
            row[i].parts & SELLA_PART_FIG5 ? sella_experiment_group(page->runs, &row[i]) : -1;
        if (group < 0 || sella_runs_scored(page->runs, group, plan->split) == 0) {
            continue;
        }
        bar[n].label = row[i].label;
        for (int k = 0; k < SELLA_BARS; k++) {
            const sella_mean m = sella_runs_mean(page->runs, group, plan->split, shown[k]);
            bar[n].mean[k] = m.mean;
            bar[n].sd[k] = m.sd;
        }
        n++;
        methods += !sella_experiment_control(&row[i]);
    }
    if (methods < (plan->parts & SELLA_PART_FIG5 ? 1 : 2)) {
        return SELLA_OK;
    }
    sella_html_section(&page->html, "Figure 5. Warm and cold rows");
    const sella_status status = sella_figure_bars(page->figures, "fig5", bar, n, &drawn, err);
    if (status == SELLA_OK) {
        sella_report_picture(
            page, "fig5", drawn,
            "AUC and UAUC on rows whose user and item both occur in train, and on the others. "
            "Whiskers: standard deviation over seeds. The axis does not begin at 0.");
    }
    return status;
}

/* ---- figures 6 and 7 ---- */

/* The two vectors of each item that occurs in train, as stage 2 left them, of length 1. */
typedef struct embeddings {
    int N, L;
    float *both;    /* [2 N, L] Proj(q) first, then s */
    double *cosine; /* [N] */
} embeddings;

static void embeddings_release(embeddings *e)
{
    free(e->both);
    free(e->cosine);
    *e = (embeddings){0};
}

static void unit(float *row, int L)
{
    double square = 0;
    for (int l = 0; l < L; l++) {
        square += (double)row[l] * (double)row[l];
    }
    const float scale = square > 0 ? (float)(1 / sqrt(square)) : 0.0f;
    for (int l = 0; l < L; l++) {
        row[l] *= scale;
    }
}

/* Tables of a stage-2 folder: items [I, C], semantic [I, L], Proj. */
static sella_status read_tables(const char *dir, sella_param_table *tables,
                                sella_projection *projection, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t items, C, semantic, L, hidden, width;
    char *collab = sella_path_join(dir, "collab.safetensors", NULL),
         *proj = sella_path_join(dir, "projection.safetensors", NULL);
    if (!collab || !proj) {
        SELLA_TRY(sella_err_memory(err, "a path", strlen(dir)));
    }
    SELLA_TRY(sella_tensors_shape(collab, "item.weight", &items, &C, err));
    SELLA_TRY(sella_tensors_shape(collab, "semantic.weight", &semantic, &L, err));
    SELLA_TRY(sella_tensors_shape(proj, "proj.0.weight", &hidden, &width, err));
    if (items != semantic || width != C || C > INT32_MAX || L > INT32_MAX || hidden > INT32_MAX) {
        SELLA_TRY(sella_err_set(
            err, SELLA_SHAPE,
            "%s: item.weight, semantic.weight and proj.0.weight do not fit together", dir));
    }
    SELLA_TRY(sella_param_add(tables, "item.weight", items, C, err));
    SELLA_TRY(sella_param_add(tables, "semantic.weight", semantic, L, err));
    SELLA_TRY(sella_tensors_read(collab, &tables, 1, err));
    SELLA_TRY(sella_projection_init((int)C, (int)hidden, (int)L, false, SELLA_WARM_RANDOM, 0,
                                    projection, err));
    sella_param_table *projections = &projection->table;
    SELLA_TRY(sella_tensors_read(proj, &projections, 1, err));
done:
    free(collab);
    free(proj);
    return status;
}

static sella_status project(const sella_projection *p, const sella_param_table *tables,
                            const int32_t *item_n, int N, embeddings *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t C = (size_t)p->C, L = (size_t)p->L, n = (size_t)N;
    float *x = sella_alloc(n * C, sizeof *x, "item vectors", err),
          *hidden = sella_alloc(2 * n * (size_t)p->hidden, sizeof *hidden, "item vectors", err);
    *out = (embeddings){.N = N, .L = p->L};
    out->both = sella_alloc(2 * n * L, sizeof *out->both, "item vectors", err);
    out->cosine = sella_alloc(n, sizeof *out->cosine, "item vectors", err);
    if (!x || !hidden || !out->both || !out->cosine) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(x + i * C, tables->param[0].data + (size_t)item_n[i] * C, C * sizeof *x);
        memcpy(out->both + (n + i) * L, tables->param[1].data + (size_t)item_n[i] * L,
               L * sizeof *x);
    }
    sella_proj_forward(p, out->both, x, N, hidden, hidden + n * (size_t)p->hidden);
    for (size_t i = 0; i < 2 * n; i++) {
        unit(out->both + i * L, p->L);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t l = 0; l < L; l++) {
            out->cosine[i] += (double)out->both[i * L + l] * (double)out->both[(n + i) * L + l];
        }
    }
done:
    free(x);
    free(hidden);
    return status;
}

/* Path of stage 2's folder in the first complete run of the row, free(); NULL when there is
 * none. */
static char *stage2_folder(const sella_runs *runs, const char *key)
{
    const int group = sella_experiment_group(runs, sella_experiment_find(key));
    char *dir = group >= 0
                    ? sella_path_join(sella_runs_first(runs, group)->path, "stages", "align", NULL)
                    : NULL;
    if (dir && !sella_path_is_dir(dir)) {
        free(dir);
        return NULL;
    }
    return dir;
}

static sella_status embeddings_read(const char *dir, const int32_t *item_n, int N, embeddings *out,
                                    sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table tables;
    sella_projection projection = {0};
    sella_param_table_init(&tables);
    *out = (embeddings){0};
    SELLA_TRY(read_tables(dir, &tables, &projection, err));
    for (int i = 0; i < N; i++) {
        if (item_n[i] >= tables.param[0].shape[0]) {
            SELLA_TRY(sella_err_set(err, SELLA_SHAPE, "%s: has %lld items, the data set more", dir,
                                    (long long)tables.param[0].shape[0]));
        }
    }
    SELLA_TRY(project(&projection, &tables, item_n, N, out, err));
done:
    sella_param_table_release(&tables);
    sella_projection_release(&projection);
    if (status != SELLA_OK) {
        embeddings_release(out);
    }
    return status;
}

/* Items of train rows, ascending. */
static sella_status train_items(const sella_dataset *dataset, int32_t **item_n, int *N,
                                sella_err *err)
{
    const sella_split *train = &dataset->split[SELLA_SPLIT_TRAIN];
    uint8_t *seen = sella_alloc((size_t)dataset->items, 1, "items", err);
    *item_n = sella_alloc((size_t)dataset->items, sizeof **item_n, "items", err);
    *N = 0;
    if (!seen || !*item_n) {
        free(seen);
        return SELLA_MEMORY;
    }
    for (int64_t r = 0; r < train->rows; r++) {
        seen[train->item_n[r]] = 1;
    }
    for (int32_t i = 0; i < dataset->items; i++) {
        if (seen[i]) {
            (*item_n)[(*N)++] = i;
        }
    }
    free(seen);
    return SELLA_OK;
}

enum { WITH, WITHOUT, SIDES };
static const char *const side_row[SIDES] = {"sella", "noalign"};
static const char *const side_title[SIDES] = {"with contrastive learning",
                                              "without contrastive learning"};

static sella_status figure6(sella_report_page *page, const embeddings *side,
                            const char *const *id_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_panel panel[SIDES];
    float *y[SIDES] = {NULL};
    double kl[SIDES];
    char caption[400], items[32];
    bool drawn;
    const int N = side[WITH].N;
    for (int s = 0; s < SIDES; s++) {
        const sella_tsne_options options = {.perplexity = N >= 60 ? 30 : N / 2.0};
        y[s] = sella_alloc(4 * (size_t)N, sizeof *y[s], "a map of items", err);
        if (!y[s]) {
            SELLA_TRY(SELLA_MEMORY);
        }
        SELLA_TRY(
            sella_tsne(side[s].both, 2 * N, side[s].L, &options, y[s], &kl[s], page->talk, err));
        panel[s] = (sella_panel){side_title[s], y[s], y[s] + 2 * (size_t)N};
    }
    SELLA_TRY(sella_figure_points(page->figures, "fig6", panel, SIDES, id_n, N, &drawn, err));
    snprintf(caption, sizeof caption,
             "t-SNE of the two vectors of each of the %s items of train after stage 2, each scaled "
             "to length 1; one map for each side (divergence %.3f with, %.3f without). Only near "
             "and far within a map mean something.",
             sella_count_text(N, items, sizeof items), kl[WITH], kl[WITHOUT]);
    sella_html_section(&page->html, "Figure 6. The two embeddings of the items");
    sella_report_picture(page, "fig6", drawn, caption);
done:
    for (int s = 0; s < SIDES; s++) {
        free(y[s]);
    }
    return status;
}

static sella_status figure7(sella_report_page *page, const embeddings *side, sella_err *err)
{
    sella_spread spread[SIDES];
    double mean[SIDES] = {0};
    char caption[300];
    bool drawn;
    for (int s = 0; s < SIDES; s++) {
        const int from = SIDES - 1 - s; // without first: it stands below
        spread[s] = (sella_spread){side_title[from], side[from].cosine, side[from].N};
        for (int i = 0; i < side[s].N; i++) {
            mean[s] += side[s].cosine[i] / side[s].N;
        }
    }
    const sella_status status =
        sella_figure_areas(page->figures, "fig7", spread, SIDES, &drawn, err);
    if (status != SELLA_OK) {
        return status;
    }
    snprintf(caption, sizeof caption,
             "Share of items by the cosine of their two vectors, in %d bins, one distribution "
             "stacked on the other. Mean %.3f with, %.3f without.",
             SELLA_COSINE_BINS, mean[WITH], mean[WITHOUT]);
    sella_html_section(&page->html, "Figure 7. How near the two embeddings are");
    sella_report_picture(page, "fig7", drawn, caption);
    return SELLA_OK;
}

static sella_status figures6and7(sella_report_page *page, const sella_experiment_plan *plan,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_dataset *d = plan->dataset;
    embeddings side[SIDES] = {{0}};
    int32_t *item_n = NULL;
    const char **id_n = NULL;
    char *dir[SIDES];
    int N = 0;
    for (int s = 0; s < SIDES; s++) {
        dir[s] = stage2_folder(page->runs, side_row[s]);
    }
    if (!dir[WITH] || !dir[WITHOUT]) {
        goto done;
    }
    SELLA_TRY(train_items(d, &item_n, &N, err));
    id_n = sella_alloc((size_t)N, sizeof *id_n, "items", err);
    if (!id_n) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int i = 0; i < N; i++) {
        id_n[i] = d->item_id[item_n[i]];
    }
    for (int s = 0; s < SIDES; s++) {
        SELLA_TRY(embeddings_read(dir[s], item_n, N, &side[s], err));
    }
    if (plan->parts & SELLA_PART_FIG6) {
        SELLA_TRY(figure6(page, side, id_n, err));
    }
    if (plan->parts & SELLA_PART_FIG7) {
        SELLA_TRY(figure7(page, side, err));
    }
done:
    for (int s = 0; s < SIDES; s++) {
        embeddings_release(&side[s]);
        free(dir[s]);
    }
    free(item_n);
    free(id_n);
    return status;
}

sella_status sella_experiment_figures(sella_report_page *page, const sella_experiment_plan *plan,
                                      sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(figure5(page, plan, err));
    if (plan->parts & (SELLA_PART_FIG6 | SELLA_PART_FIG7)) {
        SELLA_TRY(figures6and7(page, plan, err));
    }
    if (plan->parts & SELLA_PART_FIG8) {
        SELLA_TRY(sella_experiment_attention(page, plan, err));
    }
done:
    return status;
}
