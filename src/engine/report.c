/* report.c - the page: figures table, published figures, configuration, environment
 * (sella/report.h). */
#include "sella/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "engine/report_part.h"
#include "sella/system.h"

sella_status sella_report_start(sella_report_page *page, const sella_runs *runs, const char *output,
                                const char *title, const sella_talk *talk, sella_err *err)
{
    sella_status status = SELLA_OK;
    *page = (sella_report_page){.runs = runs, .talk = talk};
    page->output = strdup(output);
    page->figures = sella_path_join(output, "figures", NULL);
    page->names = json_array();
    if (!page->output || !page->figures || !page->names) {
        return sella_err_memory(err, "a report", strlen(output));
    }
    SELLA_TRY(sella_dir_make(page->figures, err));
    sella_html_begin(&page->html, title, err);
done:
    return status;
}

void sella_report_picture(sella_report_page *page, const char *name, bool drawn,
                          const char *caption)
{
    json_array_append_new(page->names, json_string(name));
    page->missing = page->missing || !drawn;
    sella_html_picture(&page->html, page->figures, "figures", name, caption);
}

static sella_status end_json(const sella_report_page *page, const char *file, char **json,
                             sella_err *err)
{
    json_t *object =
        json_pack("{s:s, s:i, s:i, s:O, s:b}", "page", file, "runs", page->runs->count, "methods",
                  page->runs->groups, "figures", page->names, "drawn", !page->missing);
    *json = object ? sella_json_line(object) : NULL;
    json_decref(object);
    return *json ? SELLA_OK : sella_err_memory(err, "a report", 256);
}

sella_status sella_report_end(sella_report_page *page, sella_status status, char **json,
                              sella_err *err)
{
    char *file = page->output ? sella_path_join(page->output, "index.html", NULL) : NULL;
    if (status == SELLA_OK && !file) {
        status = sella_err_memory(err, "a path", 16);
    }
    if (status == SELLA_OK) {
        status = sella_html_save(&page->html, file);
    }
    if (status == SELLA_OK && page->missing) {
        sella_say(page->talk, SELLA_LEVEL_WARN,
                  "gnuplot is not installed: %s/figures holds data and scripts, no pictures",
                  page->output);
    }
    if (status == SELLA_OK && json) {
        status = end_json(page, file, json, err);
    }
    sella_html_release(&page->html);
    free(file);
    free(page->output);
    free(page->figures);
    json_decref(page->names);
    *page = (sella_report_page){0};
    return status;
}

/* ---- figures ---- */

static bool is_control(const char *method)
{
    return strcmp(method, "bias") == 0 || strcmp(method, "itembias") == 0;
}

/* Groups by AUC on this split, best first; those without scores are left out. Returns how many. */
static int ranking(const sella_runs *runs, sella_split_id split, int *order, int room)
{
    int n = 0;
    for (int g = 0; g < runs->groups && n < room; g++) {
        if (sella_runs_scored(runs, g, split) > 0) {
            const double auc = sella_runs_mean(runs, g, split, SELLA_OF_AUC).mean;
            int at = n++;
            for (; at > 0; at--) {
                const double before =
                    sella_runs_mean(runs, order[at - 1], split, SELLA_OF_AUC).mean;
                if (!(auc > before) && !(isnan(before) && isfinite(auc))) {
                    break;
                }
                order[at] = order[at - 1];
            }
            order[at] = g;
        }
    }
    return n;
}

/* The first run of the group that has figures of the split. */
static const sella_run_facts *scored_of(const sella_runs *runs, int group, sella_split_id split)
{
    for (int i = 0; i < runs->count; i++) {
        if (runs->run[i].group == group && runs->run[i].scored[split]) {
            return &runs->run[i];
        }
    }
    return NULL;
}

/* Was every run of group a scored on the rows of some run of group b? Seeds may draw rows of their
 * own. Users, items and labels tell, whatever the files are called. */
static bool rows_within(const sella_runs *runs, int a, int b, sella_split_id split)
{
    for (int i = 0; i < runs->count; i++) {
        const sella_run_facts *run = &runs->run[i];
        bool found = run->group != a || !run->scored[split];
        for (int k = 0; k < runs->count && !found; k++) {
            const sella_run_facts *other = &runs->run[k];
            found = other->group == b && other->scored[split] &&
                    other->metrics[split].rows_id == run->metrics[split].rows_id;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static bool same_rows(const sella_runs *runs, int a, int b, sella_split_id split)
{
    return rows_within(runs, a, b, split) && rows_within(runs, b, a, split);
}

/* "<b>200</b> valid rows drawn with seeds 0, 1", or "" when all were scored. */
static void split_sample(const sella_report_page *page, sella_split_id split, int group, char *out,
                         size_t room)
{
    const sella_run_facts *run = scored_of(page->runs, group, split);
    out[0] = '\0';
    if (run->sample[split] == 0) {
        return;
    }
    size_t used = (size_t)snprintf(out, room, "<b>%lld</b> %s rows drawn with seed%s",
                                   (long long)run->sample[split], sella_split_name(split),
                                   sella_runs_scored(page->runs, group, split) > 1 ? "s" : "");
    const char *comma = "";
    for (int k = 0; k < page->runs->count && used + 24 < room; k++) {
        const sella_run_facts *other = &page->runs->run[k];
        if (other->group == group && other->scored[split] && other->sample[split] > 0) {
            used += (size_t)snprintf(out + used, room - used, "%s %llu", comma,
                                     (unsigned long long)other->sample_seed[split]);
            comma = ",";
        }
    }
}

/* "<b>4096</b> train rows seen by the language model", or "" when it saw all or there is none. */
static void train_sample(const sella_report_page *page, sella_split_id split, int group, char *out,
                         size_t room)
{
    const sella_run_facts *run = scored_of(page->runs, group, split);
    out[0] = '\0';
    if (run->train_sample > 0) {
        snprintf(out, room, "<b>%lld</b> train rows seen by the language model",
                 (long long)run->train_sample);
    }
}

typedef void (*sample_fact)(const sella_report_page *page, sella_split_id split, int group,
                            char *out, size_t room);

/* One sentence a fact, with the names of all groups that share it. */
static void tell_alike(sella_report_page *page, sella_split_id split, const int *order, int n,
                       sample_fact fact_of)
{
    enum { ROOM = 400 };
    sella_html *h = &page->html;
    char fact[ROOM], other[ROOM];
    for (int i = 0; i < n; i++) {
        int sharing = 0, before = 0;
        fact_of(page, split, order[i], fact, sizeof fact);
        for (int k = 0; k < n && fact[0]; k++) {
            fact_of(page, split, order[k], other, sizeof other);
            sharing += strcmp(fact, other) == 0;
            before += k < i && strcmp(fact, other) == 0;
        }
        if (!fact[0] || before > 0) {
            continue;
        }
        sella_html_format(h, " %s: ", fact);
        for (int k = i, told = 0; k < n && sharing < n; k++) {
            fact_of(page, split, order[k], other, sizeof other);
            if (strcmp(fact, other) == 0) {
                sella_html_raw(h, told++ ? ", " : "");
                sella_html_text(h, sella_runs_first(page->runs, order[k])->label);
            }
        }
        sella_html_raw(h, sharing < n ? "." : "all of these.");
    }
}

/* What was drawn: of the split, and of train for the language model. */
static void tell_samples(sella_report_page *page, sella_split_id split, const int *order, int n)
{
    char fact[400];
    bool any = false;
    for (int i = 0; i < n && !any; i++) {
        split_sample(page, split, order[i], fact, sizeof fact);
        any = fact[0] != '\0';
        train_sample(page, split, order[i], fact, sizeof fact);
        any = any || fact[0] != '\0';
    }
    if (any) {
        sella_html_raw(&page->html, "<p class=\"note\">Sampled.");
        tell_alike(page, split, order, n, split_sample);
        tell_alike(page, split, order, n, train_sample);
        sella_html_raw(&page->html, " What is not named saw all rows.</p>\n");
    }
}

static void table_row(sella_report_page *page, int group, sella_split_id split)
{
    static const sella_figure_of shown[] = {
        SELLA_OF_AUC,       SELLA_OF_UAUC,     SELLA_OF_LOGLOSS,  SELLA_OF_WARM_AUC,
        SELLA_OF_WARM_UAUC, SELLA_OF_COLD_AUC, SELLA_OF_COLD_UAUC};
    const sella_run_facts *run = sella_runs_first(page->runs, group);
    const sella_run_facts *scored = scored_of(page->runs, group, split);
    const sella_figures *counts = &scored->metrics[split].all;
    sella_html *h = &page->html;
    sella_html_raw(h, is_control(run->method) ? "<tr class=\"control\"><th>" : "<tr><th>");
    sella_html_text(h, run->label);
    if (strcmp(run->label, run->method) != 0) {
        sella_html_raw(h, " <small>");
        sella_html_text(h, run->method);
        sella_html_raw(h, "</small>");
    }
    sella_html_raw(h, is_control(run->method) ? " <small>control</small></th>" : "</th>");
    for (size_t k = 0; k < sizeof shown / sizeof *shown; k++) {
        const sella_mean m = sella_runs_mean(page->runs, group, split, shown[k]);
        sella_html_figure(h, m.mean, m.sd, "");
    }
    sella_html_format(h, "<td class=\"n\">%d</td><td class=\"n\">",
                      sella_runs_scored(page->runs, group, split));
    sella_html_count(h, counts->rows);
    sella_html_raw(h, scored->sample[split] > 0 ? " <small>sample</small></td><td class=\"n\">"
                                                : "</td><td class=\"n\">");
    sella_html_count(h, counts->uauc_users);
    sella_html_raw(h, "</td><td class=\"n\">");
    sella_html_count(h, counts->uauc_skipped);
    sella_html_raw(h, "</td></tr>\n");
}

static void split_table(sella_report_page *page, sella_split_id split, const int *order, int n)
{
    sella_html *h = &page->html;
    bool alike = true, control = false;
    char title[64];
    snprintf(title, sizeof title, "Figures on the %s rows", sella_split_name(split));
    sella_html_section(h, title);
    sella_html_raw(h, "<div class=\"wide\"><table class=\"many\">\n");
    sella_html_raw(h, "<thead><tr><th>run</th><th class=\"n\">AUC</th><th class=\"n\">UAUC</th><th "
                      "class=\"n\">logloss</th><th class=\"n\">warm AUC</th><th class=\"n\">warm "
                      "UAUC</th><th class=\"n\">cold AUC</th><th class=\"n\">cold UAUC</th><th "
                      "class=\"n\">seeds</th><th class=\"n\">rows</th><th "
                      "class=\"n\">users</th><th class=\"n\">skipped</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < n; i++) {
        table_row(page, order[i], split);
        alike = alike && same_rows(page->runs, order[i], order[0], split);
        control = control || strcmp(sella_runs_first(page->runs, order[i])->method, "bias") == 0;
    }
    sella_html_raw(h,
                   "</tbody></table></div>\n<p class=\"soft\">Best AUC first. &plusmn;: standard "
                   "deviation over seeds. UAUC: unweighted mean over users with both labels; the "
                   "others are skipped. Warm: user and item both occur in train.</p>\n");
    tell_samples(page, split, order, n);
    if (!alike) {
        sella_html_raw(h, "<p class=\"note\">Not all runs were scored on the same rows (samples): "
                          "their figures do not compare.</p>\n");
    }
    if (!control) {
        sella_html_raw(h, "<p class=\"note\">The control <code>bias</code> is not among these "
                          "runs; no method means much without it beside.</p>\n");
    }
}

void sella_report_tables(sella_report_page *page)
{
    int *order = calloc((size_t)page->runs->groups + 1, sizeof *order);
    bool any = false;
    for (int s = SELLA_SPLITS - 1; order && s >= 0; s--) {
        const int n = ranking(page->runs, (sella_split_id)s, order, page->runs->groups);
        if (n > 0) {
            split_table(page, (sella_split_id)s, order, n);
            any = true;
        }
    }
    free(order);
    if (!any) {
        sella_html_raw(
            &page->html,
            "<p class=\"note\">No run here is complete: there are no figures yet.</p>\n");
    }
}

/* ---- published ---- */

sella_known sella_report_known(const sella_runs *runs)
{
    sella_known known = SELLA_KNOWN_NONE;
    for (int i = 0; i < runs->count; i++) {
        const sella_known here = sella_known_data(runs->run[i].users, runs->run[i].items);
        if (here == SELLA_KNOWN_NONE || (i > 0 && here != known)) {
            return SELLA_KNOWN_NONE;
        }
        known = here;
    }
    return known;
}

static void published_row(sella_report_page *page, int group, sella_split_id split,
                          sella_known known, const sella_published *row)
{
    sella_html *h = &page->html;
    const sella_mean auc = sella_runs_mean(page->runs, group, split, SELLA_OF_AUC);
    const sella_mean uauc = sella_runs_mean(page->runs, group, split, SELLA_OF_UAUC);
    sella_html_raw(h, "<tr><th>");
    sella_html_text(h, sella_runs_first(page->runs, group)->label);
    sella_html_format(h, "</th><td>%s</td>", sella_split_name(split));
    sella_html_figure(h, auc.mean, auc.sd, "");
    sella_html_figure(h, uauc.mean, uauc.sd, "");
    for (int k = 0; k < 2; k++) {
        sella_html_figure(h, row->sella[known][k], NAN, "published");
    }
    for (int k = 0; k < 2; k++) {
        sella_html_figure(h, row->collm[known][k], NAN, "published");
    }
    sella_html_raw(h, "</tr>\n");
}

void sella_report_published(sella_report_page *page)
{
    const sella_known known = sella_report_known(page->runs);
    sella_html *h = &page->html;
    bool any = false;
    if (known == SELLA_KNOWN_NONE) {
        return;
    }
    for (int g = 0; g < page->runs->groups; g++) {
        const sella_run_facts *run = sella_runs_first(page->runs, g);
        const sella_published *row = sella_published_find(run->label);
        row = row ? row : sella_published_find(run->method);
        const sella_split_id split = sella_runs_scored(page->runs, g, SELLA_SPLIT_TEST)
                                         ? SELLA_SPLIT_TEST
                                         : SELLA_SPLIT_VALID;
        if (!row || sella_runs_scored(page->runs, g, split) == 0) {
            continue;
        }
        if (!any) {
            char title[96];
            snprintf(title, sizeof title, "Beside the published figures: %s",
                     sella_known_name(known));
            sella_html_section(h, title);
            sella_html_raw(h,
                           "<div class=\"wide\"><table>\n<thead><tr><th "
                           "rowspan=\"2\">run</th><th rowspan=\"2\">our rows</th><th class=\"c\" "
                           "colspan=\"2\">here</th><th class=\"c\" colspan=\"2\">SeLLa-Rec "
                           "paper</th><th class=\"c\" colspan=\"2\">CoLLM paper</th></tr><tr>");
            sella_html_raw(h,
                           "<th class=\"n\">AUC</th><th class=\"n\">UAUC</th><th "
                           "class=\"n\">AUC</th><th class=\"n\">UAUC</th><th "
                           "class=\"n\">AUC</th><th class=\"n\">UAUC</th></tr></thead>\n<tbody>\n");
            any = true;
        }
        published_row(page, g, split, known, row);
    }
    if (any) {
        sella_html_raw(h, "</tbody></table></div>\n");
        sella_html_raw(h, sella_published_caveats);
    }
}

/* ---- configuration, environment ---- */

static void pair(sella_html *h, const char *name, const char *text)
{
    if (text && text[0]) {
        sella_html_format(h, "<dt>%s</dt><dd>", name);
        sella_html_text(h, text);
        sella_html_raw(h, "</dd>");
    }
}

static void scalar(sella_html *h, const json_t *value)
{
    char *text =
        json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    sella_html_text(h, json_is_string(value) ? json_string_value(value) : text ? text : "");
    free(text);
}

static void seeds_of(const sella_runs *runs, int group, char *text, size_t room)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < runs->count && used + 24 < room; i++) {
        if (runs->run[i].group == group) {
            used += (size_t)snprintf(text + used, room - used, "%s%lld%s", used ? ", " : "",
                                     (long long)runs->run[i].seed,
                                     runs->run[i].result ? "" : " (unfinished)");
        }
    }
}

static void group_configuration(sella_report_page *page, int group)
{
    const sella_run_facts *run = sella_runs_first(page->runs, group);
    sella_html *h = &page->html;
    char seeds[256];
    const char *key;
    json_t *value;
    seeds_of(page->runs, group, seeds, sizeof seeds);
    sella_html_raw(h, "<details><summary>");
    sella_html_text(h, run->label);
    sella_html_raw(h, " <small>");
    sella_html_text(h, run->method);
    sella_html_raw(h, ", preset ");
    sella_html_text(h, run->preset);
    sella_html_raw(h, "</small></summary>\n<dl>");
    pair(h, "folder", run->path);
    pair(h, "seeds", seeds);
    pair(h, "data set",
         json_string_value(json_object_get(json_object_get(run->document, "dataset"), "path")));
    pair(h, "checksum", run->checksum);
    pair(h, "model",
         json_string_value(json_object_get(json_object_get(run->document, "model"), "path")));
    pair(h, "fingerprint", run->fingerprint);
    pair(h, "stages from", json_string_value(json_object_get(run->document, "from")));
    json_object_foreach(json_object_get(run->document, "decided"), key, value)
    {
        sella_html_raw(h, "<dt>decided ");
        sella_html_text(h, key);
        sella_html_raw(h, "</dt><dd>");
        scalar(h, value);
        sella_html_raw(h, "</dd>");
    }
    sella_html_raw(h, "</dl>\n<div class=\"columns\">");
    json_object_foreach(json_object_get(run->document, "settings"), key, value)
    {
        sella_html_raw(h, "<div><code>");
        sella_html_text(h, key);
        sella_html_raw(h, ": ");
        scalar(h, value);
        sella_html_raw(h, "</code></div>");
    }
    sella_html_raw(h, "</div></details>\n");
}

void sella_report_configuration(sella_report_page *page)
{
    sella_html_section(&page->html, "Configuration");
    for (int g = 0; g < page->runs->groups; g++) {
        group_configuration(page, g);
    }
}

void sella_report_environment(sella_report_page *page)
{
    sella_html *h = &page->html;
    sella_system system;
    sella_system_report(&system);
    sella_html_section(h, "Environment");
    sella_html_raw(h, "<p class=\"soft\">Of the machine that wrote this page; each run's own "
                      "versions are in its run.json.</p>\n<dl>");
    pair(h, "sella", SELLA_VERSION);
    pair(h, "processor", system.cpu);
    pair(h, "features", system.features);
    pair(h, "BLAS", system.blas);
    sella_html_format(h, "<dt>cores</dt><dd>%d</dd><dt>memory</dt><dd>%.1f GiB</dd></dl>\n",
                      system.cores, (double)system.memory_total / 1073741824.0);
}

sella_status sella_report(const char *const *path, int count, const char *output,
                          const sella_talk *talk, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_runs runs;
    sella_report_page page;
    if (!path || count < 1 || !output || !output[0]) {
        return sella_err_set(err, SELLA_ARG, "a report needs runs and a folder to write");
    }
    status = sella_runs_read(path, count, talk, &runs, err);
    if (status != SELLA_OK) {
        return status;
    }
    SELLA_TRY(sella_report_start(&page, &runs, output, "sella report", talk, err));
    sella_html_format(&page.html, "<p class=\"soft\">%d runs of %d configurations.</p>\n",
                      runs.count, runs.groups);
    sella_report_tables(&page);
    sella_report_published(&page);
    SELLA_TRY(sella_report_curves(&page, err));
    sella_report_configuration(&page);
    sella_report_environment(&page);
done:
    status = sella_report_end(&page, status, json, err);
    sella_runs_release(&runs);
    return status;
}
