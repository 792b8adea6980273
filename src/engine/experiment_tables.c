/* experiment_tables.c - tables 2 to 6 of the paper, ours and published (engine/experiment_part.h).
 *
 * Easy to get wrong: best and second best are marked among methods; controls stand apart and are
 * never marked, but a sentence tells how many methods lie below `bias`.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/experiment_part.h"

int sella_experiment_group(const sella_runs *runs, const sella_experiment_row *row)
{
    for (int i = 0; i < runs->count; i++) {
        if (runs->run[i].result && strcmp(runs->run[i].label, row->key) == 0 &&
            strcmp(runs->run[i].method, row->method) == 0) {
            return runs->run[i].group;
        }
    }
    return -1;
}

/* What all tables are made from. */
typedef struct tables {
    sella_report_page *page;
    const sella_experiment_plan *plan;
    const sella_runs *runs;
    sella_known known;
    sella_text csv;
} tables;

static sella_mean figure_of(const tables *t, const sella_experiment_row *row, sella_figure_of which)
{
    const int group = row ? sella_experiment_group(t->runs, row) : -1;
    return group >= 0 ? sella_runs_mean(t->runs, group, t->plan->split, which)
                      : sella_mean_of(NULL, 0);
}

static bool there(const tables *t, const sella_experiment_row *row)
{
    return figure_of(t, row, SELLA_OF_AUC).count > 0;
}

/* Was the table asked for, or are two of its methods (its only one) there? */
static bool wanted(const tables *t, unsigned part)
{
    int count, here = 0, all = 0;
    const sella_experiment_row *row = sella_experiment_rows(&count);
    for (int i = 0; i < count; i++) {
        if ((row[i].parts & part) && !sella_experiment_control(&row[i])) {
            all++;
            here += there(t, &row[i]);
        }
    }
    return (t->plan->parts & part) != 0 || here >= (all < 2 ? all : 2);
}

static sella_status csv_row(tables *t, const char *label, const double *value_n, int n,
                            sella_err *err)
{
    sella_status status = sella_text_format(&t->csv, err, "\"%s\"", label);
    for (int i = 0; i < n && status == SELLA_OK; i++) {
        status = isfinite(value_n[i]) ? sella_text_format(&t->csv, err, ",%.9g", value_n[i])
                                      : sella_text_append(&t->csv, ",", 1, err);
    }
    return status == SELLA_OK ? sella_text_append(&t->csv, "\n", 1, err) : status;
}

static sella_status csv_begin(tables *t, const char *header, sella_err *err)
{
    t->csv.size = 0;
    return sella_text_format(&t->csv, err, "%s\n", header);
}

/* DIR/tables/NAME.csv, and a link below the table. */
static sella_status csv_end(tables *t, const char *name, sella_err *err)
{
    char file[32];
    snprintf(file, sizeof file, "%s.csv", name);
    char *dir = sella_path_join(t->page->output, "tables", NULL),
         *path = sella_path_join(t->page->output, "tables", file, NULL);
    sella_status status =
        dir && path ? sella_dir_make(dir, err) : sella_err_memory(err, "a path", 32);
    if (status == SELLA_OK) {
        status = sella_write_file(path, t->csv.data, t->csv.size, err);
    }
    sella_html_format(&t->page->html,
                      "<p class=\"soft\">As data: <a href=\"tables/%s\">tables/%s</a>.</p>\n", file,
                      file);
    free(dir);
    free(path);
    return status;
}

static void heading(tables *t, const char *title, const char *columns)
{
    sella_html_section(&t->page->html, title);
    sella_html_format(&t->page->html,
                      "<div class=\"wide\"><table>\n<thead>%s</thead>\n<tbody>\n", columns);
}

/* ---- table 2 ---- */

static sella_status table2(tables *t, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_html *h = &t->page->html;
    const sella_dataset *d = t->plan->dataset;
    double value[5] = {(double)d->split[0].rows, (double)d->split[1].rows, (double)d->split[2].rows,
                       d->users, d->items};
    if (!(t->plan->parts & SELLA_PART_TABLE2)) {
        return SELLA_OK;
    }
    heading(t, "Table 2. The data set",
            "<tr><th></th><th class=\"n\">train</th><th class=\"n\">valid</th><th "
            "class=\"n\">test</th><th class=\"n\">users</th><th class=\"n\">items</th></tr>");
    SELLA_TRY(csv_begin(t, "data set,train,valid,test,users,items", err));
    sella_html_raw(h, "<tr><th>");
    sella_html_text(h, d->name);
    sella_html_raw(h, "</th>");
    for (int i = 0; i < 5; i++) {
        sella_html_raw(h, "<td class=\"n\">");
        sella_html_count(h, (long long)value[i]);
        sella_html_raw(h, "</td>");
    }
    sella_html_raw(h, "</tr>\n");
    SELLA_TRY(csv_row(t, "here", value, 5, err));
    for (int k = 0; k < SELLA_KNOWN; k++) {
        if (t->known == SELLA_KNOWN_NONE || t->known == (sella_known)k) {
            sella_html_format(h, "<tr><th>%s <small>as published</small></th>",
                              sella_known_name((sella_known)k));
            for (int i = 0; i < 5; i++) {
                value[i] = (double)sella_published_counts[k][i];
                sella_html_raw(h, "<td class=\"n published\">");
                sella_html_count(h, sella_published_counts[k][i]);
                sella_html_raw(h, "</td>");
            }
            sella_html_raw(h, "</tr>\n");
            SELLA_TRY(csv_row(t, sella_known_name((sella_known)k), value, 5, err));
        }
    }
    sella_html_raw(h, "</tbody></table></div>\n<p class=\"soft\">Published users and items are the "
                      "largest id + 1 (0 pads). Here: all users of the parts that are in the "
                      "folder, and the whole catalogue.</p>\n");
    status = csv_end(t, "table2", err);
done:
    return status;
}

/* ---- tables 3 and 5: rows of AUC and UAUC ---- */

/* The two best methods by a figure; NULL when there is none. */
static void two_best(const tables *t, unsigned part, sella_figure_of which,
                     const sella_experiment_row *best[2])
{
    int count;
    const sella_experiment_row *row = sella_experiment_rows(&count);
    best[0] = best[1] = NULL;
    for (int i = 0; i < count; i++) {
        const double value = figure_of(t, &row[i], which).mean;
        if (!(row[i].parts & part) || sella_experiment_control(&row[i]) || !isfinite(value)) {
            continue;
        }
        if (!best[0] || value > figure_of(t, best[0], which).mean) {
            best[1] = best[0];
            best[0] = &row[i];
        } else if (!best[1] || value > figure_of(t, best[1], which).mean) {
            best[1] = &row[i];
        }
    }
}

static const char *mark_of(const sella_experiment_row *row,
                           const sella_experiment_row *const best[2])
{
    return row == best[0] ? "best" : row == best[1] ? "second" : "";
}

static sella_status scores_row(tables *t, const sella_experiment_row *row, bool published_collm,
                               const sella_experiment_row *best[2][2], sella_err *err)
{
    sella_html *h = &t->page->html;
    const sella_mean auc = figure_of(t, row, SELLA_OF_AUC), uauc = figure_of(t, row, SELLA_OF_UAUC);
    const sella_published *printed =
        t->known == SELLA_KNOWN_NONE ? NULL : sella_published_find(row->key);
    double value[9] = {auc.mean, auc.sd, uauc.mean, uauc.sd, auc.count, NAN, NAN, NAN, NAN};
    sella_html_raw(h, sella_experiment_control(row) ? "<tr class=\"control\"><th>" : "<tr><th>");
    sella_html_text(h, row->label);
    if (auc.count == 0) {
        const char *why = sella_experiment_left_out(t->plan, row);
        sella_html_format(h, " <small>%s</small>", why ? why : "not run");
    }
    sella_html_raw(h, "</th>");
    sella_html_figure(h, auc.mean, auc.sd, mark_of(row, best[0]));
    sella_html_figure(h, uauc.mean, uauc.sd, mark_of(row, best[1]));
    sella_html_format(h, "<td class=\"n\">%d</td>", auc.count);
    for (int k = 0; k < (published_collm ? 4 : 2) && t->known != SELLA_KNOWN_NONE; k++) {
        value[5 + k] = !printed ? NAN
                       : k < 2  ? printed->sella[t->known][k]
                                : printed->collm[t->known][k - 2];
        sella_html_figure(h, value[5 + k], NAN, "published");
    }
    sella_html_raw(h, "</tr>\n");
    return csv_row(t, row->label, value, 9, err);
}

static void gain_line(tables *t, const char *what, sella_figure_of which,
                      const sella_experiment_row *const best[2])
{
    sella_html *h = &t->page->html;
    const sella_experiment_row *ours = sella_experiment_find("sella");
    if (!best[1]) {
        return;
    }
    const double first = figure_of(t, best[0], which).mean,
                 second = figure_of(t, best[1], which).mean;
    sella_html_format(h, "<p>%s: ", what);
    sella_html_text(h, best[0]->label);
    sella_html_format(h, " is best, <b>%+.2f&nbsp;%%</b> over the second best, ",
                      100 * (first / second - 1));
    sella_html_text(h, best[1]->label);
    if (best[0] != ours && there(t, ours)) {
        sella_html_format(h, "; SeLLa-Rec is %.2f&nbsp;%% below the best",
                          100 * (1 - figure_of(t, ours, which).mean / first));
    }
    sella_html_raw(h, ".</p>\n");
}

/* Says how the methods stand to the control. */
static void control_line(tables *t, unsigned part)
{
    int count, below = 0, all = 0;
    const sella_experiment_row *row = sella_experiment_rows(&count);
    const sella_mean control = figure_of(t, sella_experiment_find("bias"), SELLA_OF_AUC);
    for (int i = 0; i < count && control.count > 0; i++) {
        if ((row[i].parts & part) && !sella_experiment_control(&row[i]) && there(t, &row[i])) {
            all++;
            below += figure_of(t, &row[i], SELLA_OF_AUC).mean < control.mean;
        }
    }
    if (all > 0) {
        sella_html_format(&t->page->html,
                          "<p class=\"note\">%d of %d methods have a lower AUC than the control "
                          "<code>bias</code> (%.4f).</p>\n",
                          below, all, control.mean);
    }
}

static sella_status scores_table(tables *t, unsigned part, const char *name, const char *title,
                                 bool collm, bool grouped, sella_err *err)
{
    sella_status status = SELLA_OK;
    int count;
    const sella_experiment_row *row = sella_experiment_rows(&count), *best[2][2];
    sella_html *h = &t->page->html;
    const bool known = t->known != SELLA_KNOWN_NONE;
    char columns[900];
    static const char *const group_order[] = {
        "Controls",        "Collab.",           "LLMRec", "Collab. with LLM", "LLMRec with Collab.",
        "Model structure", "Order of training", "Ours"};
    if (!wanted(t, part)) {
        return SELLA_OK;
    }
    two_best(t, part, SELLA_OF_AUC, best[0]);
    two_best(t, part, SELLA_OF_UAUC, best[1]);
    snprintf(columns, sizeof columns,
             "<tr><th rowspan=\"2\">method</th><th class=\"c\" colspan=\"3\">here, %s "
             "rows</th>%s%s</tr><tr><th class=\"n\">AUC</th><th class=\"n\">UAUC</th><th "
             "class=\"n\">seeds</th>%s%s</tr>",
             sella_split_name(t->plan->split),
             known ? "<th class=\"c\" colspan=\"2\">SeLLa-Rec paper</th>" : "",
             known && collm ? "<th class=\"c\" colspan=\"2\">CoLLM paper</th>" : "",
             known ? "<th class=\"n\">AUC</th><th class=\"n\">UAUC</th>" : "",
             known && collm ? "<th class=\"n\">AUC</th><th class=\"n\">UAUC</th>" : "");
    heading(t, title, columns);
    SELLA_TRY(csv_begin(
        t, "method,auc,auc_sd,uauc,uauc_sd,seeds,sella_auc,sella_uauc,collm_auc,collm_uauc", err));
    for (size_t g = 0; g < sizeof group_order / sizeof *group_order; g++) {
        bool headed = !grouped;
        for (int i = 0; i < count; i++) {
            if ((row[i].parts & part) && strcmp(row[i].group, group_order[g]) == 0) {
                if (!headed) {
                    sella_html_format(h, "<tr class=\"group\"><th colspan=\"%d\">%s</th></tr>\n",
                                      known ? collm ? 8 : 6 : 4, row[i].group);
                    headed = true;
                }
                SELLA_TRY(scores_row(t, &row[i], collm, best, err));
            }
        }
    }
    sella_html_raw(h, "</tbody></table></div>\n");
    gain_line(t, "AUC", SELLA_OF_AUC, best[0]);
    gain_line(t, "UAUC", SELLA_OF_UAUC, best[1]);
    control_line(t, part);
    status = csv_end(t, name, err);
done:
    return status;
}

/* ---- table 4 ---- */

static sella_status table4(tables *t, sella_err *err)
{
    static const sella_figure_of shown[6] = {SELLA_OF_AUC,  SELLA_OF_WARM_AUC,  SELLA_OF_COLD_AUC,
                                             SELLA_OF_UAUC, SELLA_OF_WARM_UAUC, SELLA_OF_COLD_UAUC};
    sella_status status = SELLA_OK;
    int count;
    const sella_experiment_row *row = sella_experiment_rows(&count);
    sella_html *h = &t->page->html;
    double value[6];
    if (!wanted(t, SELLA_PART_TABLE4)) {
        return SELLA_OK;
    }
    heading(t, "Table 4. The language model as it is, on all, warm and cold rows",
            "<tr><th rowspan=\"2\"></th><th class=\"c\" colspan=\"3\">AUC</th><th class=\"c\" "
            "colspan=\"3\">UAUC</th></tr><tr><th class=\"n\">all</th><th class=\"n\">warm</th><th "
            "class=\"n\">cold</th><th class=\"n\">all</th><th class=\"n\">warm</th><th "
            "class=\"n\">cold</th></tr>");
    SELLA_TRY(csv_begin(t, "method,auc,auc_warm,auc_cold,uauc,uauc_warm,uauc_cold", err));
    for (int i = 0; i < count; i++) {
        if (!(row[i].parts & SELLA_PART_TABLE4)) {
            continue;
        }
        sella_html_raw(h, sella_experiment_control(&row[i]) ? "<tr class=\"control\"><th>"
                                                            : "<tr><th>");
        sella_html_text(h, row[i].label);
        sella_html_raw(h, "</th>");
        for (int k = 0; k < 6; k++) {
            const sella_mean m = figure_of(t, &row[i], shown[k]);
            value[k] = m.mean;
            sella_html_figure(h, m.mean, m.sd, "");
        }
        sella_html_raw(h, "</tr>\n");
        SELLA_TRY(csv_row(t, row[i].label, value, 6, err));
    }
    if (t->known == SELLA_KNOWN_BOOK) {
        sella_html_raw(h, "<tr><th>Zero-shot LLM <small>as published</small></th>");
        for (int k = 0; k < 6; k++) {
            sella_html_figure(h, sella_published_zeroshot[k / 3][k % 3], NAN, "published");
        }
        sella_html_raw(h, "</tr>\n");
    }
    sella_html_raw(h, "</tbody></table></div>\n");
    status = csv_end(t, "table4", err);
done:
    return status;
}

/* ---- table 6 ---- */

static sella_status table6(tables *t, sella_err *err)
{
    static const char *const key[3] = {"step0", "step0-proj", "step0-wo"};
    sella_status status = SELLA_OK;
    sella_html *h = &t->page->html;
    double value[3];
    if (!wanted(t, SELLA_PART_TABLE6)) {
        return SELLA_OK;
    }
    heading(t, "Table 6. Before stage 3: AUC on warm rows at step 0",
            "<tr><th></th><th class=\"n\">CL + Projection</th><th class=\"n\">CL</th><th "
            "class=\"n\">w/o</th></tr>");
    SELLA_TRY(csv_begin(t, ",cl_and_projection,cl,without", err));
    sella_html_raw(h, "<tr><th>here</th>");
    for (int k = 0; k < 3; k++) {
        const sella_mean m = figure_of(t, sella_experiment_find(key[k]), SELLA_OF_WARM_AUC);
        value[k] = m.mean;
        sella_html_figure(h, m.mean, m.sd, "");
    }
    SELLA_TRY(csv_row(t, "here", value, 3, err));
    sella_html_raw(h, "</tr>\n");
    if (t->known != SELLA_KNOWN_NONE) {
        sella_html_raw(h, "<tr><th>SeLLa-Rec paper <small>as published</small></th>");
        for (int k = 0; k < 3; k++) {
            sella_html_figure(h, sella_published_step0[t->known][k], NAN, "published");
        }
        sella_html_raw(h, "</tr>\n");
        SELLA_TRY(csv_row(t, "SeLLa-Rec paper", sella_published_step0[t->known], 3, err));
    }
    sella_html_raw(h,
                   "</tbody></table></div>\n<p class=\"soft\">CL: contrastive alignment in stage "
                   "2; Projection: stage 3 begins with stage 2's Proj; w/o: neither.</p>\n");
    status = csv_end(t, "table6", err);
done:
    return status;
}

sella_status sella_experiment_tables(sella_report_page *page, const sella_experiment_plan *plan,
                                     sella_err *err)
{
    sella_status status = SELLA_OK;
    tables t = {.page = page, .plan = plan, .runs = page->runs};
    t.known = sella_known_data(plan->dataset->train_users, plan->dataset->items);
    SELLA_TRY(table2(&t, err));
    SELLA_TRY(
        scores_table(&t, SELLA_PART_TABLE3, "table3", "Table 3. All methods", true, true, err));
    SELLA_TRY(table4(&t, err));
    SELLA_TRY(scores_table(&t, SELLA_PART_TABLE5, "table5",
                           "Table 5. Ablations: what each name takes away", false, true, err));
    SELLA_TRY(table6(&t, err));
    if (t.known != SELLA_KNOWN_NONE) {
        sella_html_raw(&page->html, sella_published_caveats);
    }
done:
    sella_text_release(&t.csv);
    return status;
}
