/* experiment_attention.c - figure 8 of the paper: where the language model looks in the prompt of
 * one user and item (engine/experiment_part.h). The attention itself comes from
 * sella_engine_explain.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "engine/experiment_part.h"
#include "eval/figures.h"
#include "sella/engine.h"

enum {
    LAYERS_MOST = 64,
    MARKS_MOST = 48,
    NAME_BYTES = 64,
    LINES = 26 /* of names beside a map */,
    TOKENS_MOST = 4096
};

/* Whom it is about, and what they had liked before. */
typedef struct subject {
    const char *user, *item; // ids
    const char **liked_n;    // [liked] ids of the row's history
    int liked;               // -1: no such row; what the run recorded
} subject;

/* Is the row what was asked for? Where nothing was asked: liked, by a user whom training knows and
 * who has liked before. */
static bool row_fits(const sella_dataset *d, const sella_split *split, int64_t row,
                     const char *user, const char *item)
{
    enum { LIKED_BEFORE = 5 };
    const bool right_user = user ? strcmp(user, d->user_id[split->user_n[row]]) == 0
                                 : split->user_n[row] < d->train_users &&
                                       split->history_count_n[row] >= LIKED_BEFORE;
    const bool right_item = !item || strcmp(item, d->item_id[split->item_n[row]]) == 0;
    return right_user && right_item && ((user && item) || split->label_n[row]);
}

/* The first row that fits, with its own history, in which the item is not yet; a user and an item
 * that no row has together are taken as they are. */
static sella_status choose(const sella_experiment_plan *plan, subject *out, sella_err *err)
{
    const sella_dataset *d = plan->dataset;
    const sella_split *split = &d->split[plan->split];
    const char *user = plan->options->user, *item = plan->options->item;
    int64_t row = 0;
    *out = (subject){.user = user, .item = item, .liked = -1};
    while (row < split->rows && !row_fits(d, split, row, user, item)) {
        row++;
    }
    if (row == split->rows && user && item) {
        return SELLA_OK;
    }
    if (row == split->rows) {
        return sella_err_set(err, SELLA_MISSING,
                             "figure 8: no row of the %s part is liked by such a user; name one "
                             "with --user and --item",
                             sella_split_name(plan->split));
    }
    const int32_t *liked_n, count = sella_dataset_history(d, plan->split, row, &liked_n);
    out->liked_n = sella_alloc((size_t)count, sizeof *out->liked_n, "a history", err);
    if (!out->liked_n) {
        return SELLA_MEMORY;
    }
    for (int32_t k = 0; k < count; k++) {
        out->liked_n[k] = d->item_id[liked_n[k]];
    }
    out->user = d->user_id[split->user_n[row]];
    out->item = d->item_id[split->item_n[row]];
    out->liked = count;
    return SELLA_OK;
}

/* What the map says of one part of the prompt. */
typedef struct marks {
    int place[MARKS_MOST];
    char name[MARKS_MOST][NAME_BYTES];
    int count;
} marks;

/* A title cut at a character to fit beside an axis. */
static void cut(const char *text, char *out, size_t room)
{
    size_t n = strlen(text);
    if (n >= room) {
        for (n = room - 4; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;) {
            n--;
        }
        snprintf(out, room, "%.*s...", (int)n, text);
    } else {
        snprintf(out, room, "%s", text);
    }
}

/* Name of a part: a title's own, else what it is. */
static void name_part(const char *what, const char *text, char *out)
{
    char label[32];
    const bool title = strcmp(what, "history") == 0 || strcmp(what, "target") == 0;
    while (title && text && *text == ' ') {
        text++;
    }
    cut(title && text ? text : what, label, title ? 25 : sizeof label);
    snprintf(out, NAME_BYTES, "%s%s", strcmp(what, "target") == 0 ? "target: " : "", label);
}

/* One name at the middle of each part; parts that stand too near share a line. */
static void mark_parts(const json_t *parts, int T, marks *out)
{
    size_t i;
    const json_t *part;
    json_array_foreach(parts, i, part)
    {
        const char *what = json_string_value(json_object_get(part, "part")),
                   *text = json_string_value(json_object_get(part, "text"));
        const json_int_t first = json_integer_value(json_object_get(part, "first")),
                         last = json_integer_value(json_object_get(part, "last"));
        char label[NAME_BYTES];
        if (!what || first < 0 || last < first || last >= T) {
            continue;
        }
        const int place = (int)((first + last) / 2);
        name_part(what, text, label);
        if (out->count > 0 && (place - out->place[out->count - 1]) * LINES < T) {
            char *before = out->name[out->count - 1];
            const size_t n = strlen(before);
            if (n + strlen(label) + 3 < NAME_BYTES) {
                snprintf(before + n, NAME_BYTES - n, ", %.*s", (int)(NAME_BYTES - n - 3), label);
            }
        } else if (out->count < MARKS_MOST) {
            out->place[out->count] = place;
            snprintf(out->name[out->count++], NAME_BYTES, "%s", label);
        }
    }
}

/* One layer's square of JSON numbers into weight [T, T]. */
static sella_status read_map(const json_t *rows, int T, float *weight, sella_err *err)
{
    if (json_array_size(rows) != (size_t)T) {
        return sella_err_set(err, SELLA_STATE, "an attention map has %zu rows; expected %d",
                             json_array_size(rows), T);
    }
    for (int t = 0; t < T; t++) {
        const json_t *row = json_array_get(rows, (size_t)t);
        for (int k = 0; k < T; k++) {
            weight[(size_t)t * (size_t)T + (size_t)k] =
                (float)json_number_value(json_array_get(row, (size_t)k));
        }
    }
    return SELLA_OK;
}

/* The answer's attention to each part in each layer. */
static void table_of_parts(sella_report_page *page, const json_t *explained)
{
    const json_t *parts = json_object_get(explained, "parts"),
                 *attention = json_object_get(explained, "attention");
    const json_t *layers = json_object_get(attention, "layers"),
                 *sums = json_object_get(attention, "from_answer"), *part, *layer;
    sella_html *h = &page->html;
    size_t i, k;
    sella_html_raw(h, "<div class=\"wide\"><table>\n<thead><tr><th>part of the prompt</th>");
    json_array_foreach(layers, k, layer)
    {
        sella_html_format(h, "<th class=\"n\">layer %lld</th>",
                          (long long)json_integer_value(layer));
    }
    sella_html_raw(h, "</tr></thead>\n<tbody>\n");
    json_array_foreach(parts, i, part)
    {
        const char *what = json_string_value(json_object_get(part, "part")),
                   *text = json_string_value(json_object_get(part, "text"));
        sella_html_raw(h, "<tr><th>");
        sella_html_text(h, what ? what : "");
        sella_html_raw(h, " <small>");
        sella_html_text(h, text ? text : "");
        sella_html_raw(h, "</small></th>");
        for (k = 0; k < json_array_size(layers); k++) {
            sella_html_figure(h, json_number_value(json_array_get(json_array_get(sums, k), i)), NAN,
                              "");
        }
        sella_html_raw(h, "</tr>\n");
    }
    sella_html_raw(h, "</tbody></table></div>\n<p class=\"soft\">What the answer position takes "
                      "from each part, mean over heads; a column sums to 1.</p>\n");
}

static sella_status draw(sella_report_page *page, const json_t *explained, bool own_history,
                         sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *attention = json_object_get(explained, "attention"),
                 *layers = json_object_get(attention, "layers");
    const json_t *means = json_object_get(attention, "head_mean");
    const size_t K = json_array_size(layers),
                 T = json_array_size(json_object_get(explained, "tokens"));
    sella_attention_map map[LAYERS_MOST];
    char title[LAYERS_MOST][32], caption[700], name[200];
    const char *mark_name[MARKS_MOST];
    marks *named = sella_alloc(1, sizeof *named, "names of parts", err);
    float *weight = NULL;
    bool drawn;
    if (!named) {
        return SELLA_MEMORY;
    }
    if (K == 0 || K > LAYERS_MOST || T == 0 || T > TOKENS_MOST) {
        SELLA_TRY(sella_err_set(err, SELLA_UNSUPPORTED,
                                "figure 8: %zu layers of %zu tokens; expected up to %d and %d", K,
                                T, LAYERS_MOST, TOKENS_MOST));
    }
    weight = sella_alloc(K * T * T, sizeof *weight, "attention maps", err);
    if (!weight) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (size_t k = 0; k < K; k++) {
        SELLA_TRY(read_map(json_array_get(means, k), (int)T, weight + k * T * T, err));
        snprintf(title[k], sizeof title[k], "layer %lld",
                 (long long)json_integer_value(json_array_get(layers, k)));
        map[k] = (sella_attention_map){title[k], weight + k * T * T};
    }
    mark_parts(json_object_get(explained, "parts"), (int)T, named);
    for (int m = 0; m < named->count; m++) {
        mark_name[m] = named->name[m];
    }
    SELLA_TRY(sella_figure_maps(page->figures, "fig8", map, (int)K, (int)T, named->place, mark_name,
                                named->count, &drawn, err));
    const char *user = json_string_value(json_object_get(explained, "user")),
               *item = json_string_value(json_object_get(explained, "item"));
    const char *movie = json_string_value(json_object_get(explained, "title"));
    cut(movie ? movie : "", name, sizeof name);
    snprintf(caption, sizeof caption,
             "User %.100s, item %.100s (%s), score %.4f. Mean over heads; a row is what one token "
             "takes from each token before it. The history is %s.",
             user ? user : "-", item ? item : "-", name,
             json_number_value(json_object_get(explained, "score")),
             own_history ? "what the user had liked before" : "all that the run recorded");
    sella_html_section(&page->html, "Figure 8. Attention");
    sella_report_picture(page, "fig8", drawn, caption);
    table_of_parts(page, explained);
done:
    free(named);
    free(weight);
    return status;
}

sella_status sella_experiment_attention(sella_report_page *page, const sella_experiment_plan *plan,
                                        sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_engine *engine = NULL;
    json_t *explained = NULL;
    char *text = NULL;
    subject who = {.liked = -1};
    static const char *const nothing[1] = {NULL};
    const int group = sella_experiment_group(page->runs, sella_experiment_find("sella"));
    if (group < 0) {
        return SELLA_OK;
    }
    SELLA_TRY(choose(plan, &who, err));
    const sella_engine_options open = {.model = plan->options->model,
                                       .threads = plan->options->threads,
                                       .talk = page->talk,
                                       .weights = plan->options->weights};
    const sella_request request = {
        .user = who.user, .history = who.liked_n, .history_count = who.liked};
    const sella_explain_options options = {.without = nothing, .without_count = 0};
    SELLA_TRY(sella_engine_open(sella_runs_first(page->runs, group)->path, &open, &engine, err));
    SELLA_TRY(sella_engine_explain(engine, &request, who.item, &options, &text, err));
    SELLA_TRY(sella_json_parse(text, strlen(text), "an explanation", &explained, err));
    if (json_is_object(json_object_get(explained, "attention"))) {
        SELLA_TRY(draw(page, explained, who.liked >= 0, err));
    } else {
        sella_html_section(&page->html, "Figure 8. Attention");
        sella_html_raw(&page->html,
                       "<p class=\"note\">This run scores without "
                       "the language model: it has no attention.</p>\n");
    }
done:
    json_decref(explained);
    free(text);
    free(who.liked_n);
    sella_engine_close(engine);
    return status;
}
