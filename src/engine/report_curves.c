/* report_curves.c - learning curves from the runs' metrics.jsonl (engine/report_part.h).
 *
 * A record with a loss is a point of the training curve of its stage, one with a metric a point of
 * the curve on valid; x is the step. Of each configuration the first seed is drawn. Records that
 * are no objects end the reading of a file: a run that was killed may have half a line at its end.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "engine/report_part.h"
#include "eval/figures.h"

enum { STAGES_MOST = 16, CURVES_MOST = 12, STAGE_BYTES = 24, LINE_MOST = 1 << 16 };

typedef struct curve {
    int group;
    double *x, *y;
    int count, room;
} curve;

/* All curves of one stage and kind. */
typedef struct kind {
    char stage[STAGE_BYTES];
    bool metric;
    curve curve[CURVES_MOST];
    int curves;
} kind;

typedef struct kinds {
    kind kind[2 * STAGES_MOST];
    int count;
} kinds;

static void kinds_free(kinds *all)
{
    for (int k = 0; all && k < all->count; k++) {
        for (int c = 0; c < all->kind[k].curves; c++) {
            free(all->kind[k].curve[c].x);
            free(all->kind[k].curve[c].y);
        }
    }
    free(all);
}

/* The stage becomes part of a file's name. */
static bool plain_word(const char *text)
{
    const size_t n = strlen(text);
    return n > 0 && n < STAGE_BYTES && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

/* The curve of this group, made when it is missing; NULL when there is no room for another. */
static curve *curve_of(kinds *all, const char *stage, bool metric, int group)
{
    kind *found = NULL;
    for (int k = 0; k < all->count && !found; k++) {
        found = all->kind[k].metric == metric && strcmp(all->kind[k].stage, stage) == 0
                    ? &all->kind[k]
                    : NULL;
    }
    if (!found) {
        if (all->count == 2 * STAGES_MOST) {
            return NULL;
        }
        found = &all->kind[all->count++];
        snprintf(found->stage, sizeof found->stage, "%s", stage);
        found->metric = metric;
    }
    for (int c = 0; c < found->curves; c++) {
        if (found->curve[c].group == group) {
            return &found->curve[c];
        }
    }
    if (found->curves == CURVES_MOST) {
        return NULL;
    }
    found->curve[found->curves] = (curve){.group = group};
    return &found->curve[found->curves++];
}

static sella_status curve_add(curve *to, double x, double y, sella_err *err)
{
    if (to->count == to->room) {
        const int room = to->room ? 2 * to->room : 64;
        double *more_x = realloc(to->x, (size_t)room * sizeof *more_x);
        to->x = more_x ? more_x : to->x;
        double *more_y = more_x ? realloc(to->y, (size_t)room * sizeof *more_y) : NULL;
        if (!more_y) {
            return sella_err_memory(err, "learning curves", (size_t)room * sizeof *more_x);
        }
        to->y = more_y;
        to->room = room;
    }
    to->x[to->count] = x;
    to->y[to->count++] = y;
    return SELLA_OK;
}

static sella_status add_record(kinds *all, const json_t *record, int group, sella_err *err)
{
    const char *stage = json_string_value(json_object_get(record, "stage"));
    const json_t *step = json_object_get(record, "step");
    if (!stage || !plain_word(stage) || !json_is_number(step)) {
        return SELLA_OK;
    }
    for (int metric = 0; metric < 2; metric++) {
        const json_t *value = json_object_get(record, metric ? "metric" : "loss");
        curve *to = json_is_number(value) ? curve_of(all, stage, metric, group) : NULL;
        const sella_status status =
            to ? curve_add(to, json_number_value(step), json_number_value(value), err) : SELLA_OK;
        if (status != SELLA_OK) {
            return status;
        }
    }
    return SELLA_OK;
}

static sella_status read_file(kinds *all, const sella_run_facts *run, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    sella_lines lines;
    const char *text;
    size_t bytes;
    char *path = sella_path_join(run->path, "metrics.jsonl", NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(run->path));
    }
    if (!sella_path_exists(path)) {
        goto done;
    }
    SELLA_TRY(sella_map_open(path, &map, err));
    sella_lines_init(&lines, path, map.data, map.size, LINE_MOST);
    for (;;) {
        json_t *record = NULL;
        if (sella_lines_next(&lines, &text, &bytes, NULL) != SELLA_OK || !text ||
            sella_json_parse(text, bytes, path, &record, NULL) != SELLA_OK) {
            break;
        }
        status = add_record(all, record, run->group, err);
        json_decref(record);
        if (status != SELLA_OK) {
            break;
        }
    }
done:
    sella_map_close(&map);
    free(path);
    return status;
}

static sella_status draw(sella_report_page *page, const kind *k, sella_err *err)
{
    sella_curve line[CURVES_MOST];
    char name[64], caption[256];
    bool drawn;
    for (int c = 0; c < k->curves; c++) {
        line[c] = (sella_curve){sella_runs_first(page->runs, k->curve[c].group)->label,
                                k->curve[c].x, k->curve[c].y, k->curve[c].count};
    }
    snprintf(name, sizeof name, "curve-%s-%s", k->stage, k->metric ? "valid" : "loss");
    snprintf(caption, sizeof caption,
             k->metric ? "Stage %s: the metric on valid that decides when to stop."
                       : "Stage %s: training loss.",
             k->stage);
    const sella_status status =
        sella_figure_curves(page->figures, name, "step", k->metric ? "valid metric" : "loss", line,
                            k->curves, &drawn, err);
    if (status == SELLA_OK) {
        sella_report_picture(page, name, drawn, caption);
    }
    return status;
}

sella_status sella_report_curves(sella_report_page *page, sella_err *err)
{
    sella_status status = SELLA_OK;
    kinds *all = calloc(1, sizeof *all);
    if (!all) {
        return sella_err_memory(err, "learning curves", sizeof *all);
    }
    for (int g = 0; g < page->runs->groups; g++) {
        SELLA_TRY(read_file(all, sella_runs_first(page->runs, g), err));
    }
    bool any = false;
    for (int k = 0; k < all->count; k++) {
        int points = 0;
        for (int c = 0; c < all->kind[k].curves; c++) {
            points = all->kind[k].curve[c].count > points ? all->kind[k].curve[c].count : points;
        }
        if (points > 1) {
            if (!any) {
                sella_html_section(&page->html, "Learning curves");
                sella_html_raw(&page->html, "<p class=\"soft\">Of each configuration the first "
                                            "seed.</p>\n<div class=\"pair\">\n");
                any = true;
            }
            SELLA_TRY(draw(page, &all->kind[k], err));
        }
    }
    sella_html_raw(&page->html, any ? "</div>\n" : "");
done:
    kinds_free(all);
    return status;
}
