/* show.c - tables for people (cli/show.h). */
#include "cli/show.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/json.h"
#include "base/text.h"
#include "sella/data.h"

sella_status sella_show_parse(const char *json, json_t **out, sella_err *err)
{
    *out = json_loads(json, JSON_ALLOW_NUL, NULL); // our own text; a token may be a NUL byte
    return *out != NULL ? SELLA_OK : sella_err_memory(err, "an answer", strlen(json));
}

sella_status sella_show_dataset(const char *folder, const char *json, sella_err *err)
{
    char *text = NULL;
    if (json) {
        puts(json);
        return SELLA_OK;
    }
    const sella_status status = sella_stats_text(folder, &text, err);
    if (status == SELLA_OK) {
        fputs(text, stdout);
    }
    free(text);
    return status;
}

void sella_show_text(const char *text)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        putchar(c < 0x20 || c == 0x7f ? '?' : c);
    }
}

/* The character at `at`: its bytes, and the columns it takes; what cannot be shown takes one, as
 * '?'. */
static size_t character(const char *at, int *width, bool *shown)
{
    utf8proc_int32_t c = -1;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)at, -1, &c);
    *shown = n > 0 && utf8proc_category(c) != UTF8PROC_CATEGORY_CC;
    *width = *shown ? utf8proc_charwidth(c) : 1;
    return n > 0 ? (size_t)n : 1;
}

int sella_show_width(const char *text)
{
    int columns = 0, width;
    bool shown;
    while (*text) {
        text += character(text, &width, &shown);
        columns += width;
    }
    return columns;
}

static bool is_edge(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

void sella_show_cell(const char *text, int width)
{
    size_t bytes = strlen(text);
    while (bytes > 0 && is_edge(*text)) {
        text++;
        bytes--;
    }
    while (bytes > 0 && is_edge(text[bytes - 1])) {
        bytes--;
    }
    const char *end = text + bytes;
    int whole = 0, used = 0, n;
    bool shown;
    for (const char *at = text; at < end; whole += n) {
        at += character(at, &n, &shown);
    }
    const int room = whole <= width ? width : width > 3 ? width - 3 : 0;
    while (text < end) {
        const size_t length = character(text, &n, &shown);
        if (used + n > room) {
            break;
        }
        fwrite(shown ? text : is_edge(*text) ? " " : "?", 1, shown ? length : 1, stdout);
        used += n;
        text += length;
    }
    for (int dots = whole <= width ? 0 : 3; dots > 0 && used < width; dots--, used++) {
        putchar('.');
    }
    printf("%*s", width - used, "");
}

int sella_show_columns(void)
{
    const char *wanted = getenv("COLUMNS");
    struct winsize size;
    int64_t columns = 0;
    if (wanted == NULL ||
        sella_parse_int(wanted, strlen(wanted), 1, 100000, "COLUMNS", &columns, NULL) != SELLA_OK) {
        columns =
            isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0
                ? size.ws_col
                : 80;
    }
    return columns < 40 ? 40 : columns > 1000 ? 1000 : (int)columns;
}

bool sella_show_colours(void)
{
    const char *kind = getenv("TERM"), *refused = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && kind != NULL && strcmp(kind, "dumb") != 0 &&
           (refused == NULL || refused[0] == '\0');
}

/* A figure with four digits behind the point, or "-" when it does not exist. */
static void figure(const json_t *object, const char *key, int width)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_number(value)) {
        printf("  %*.4f", width, json_number_value(value));
    } else {
        printf("  %*s", width, "-");
    }
}

static void count(const json_t *object, const char *key, int width)
{
    const json_t *value = json_object_get(object, key);
    char text[32];
    printf("  %*s", width,
           json_is_integer(value) ? sella_count_text(json_integer_value(value), text, sizeof text)
                                  : "-");
}

static void figures_row(const char *name, int width, const json_t *object)
{
    printf("%-*s", width, name);
    count(object, "rows", 10);
    figure(object, "auc", 7);
    figure(object, "uauc", 7);
    count(object, "uauc_users", 7);
    count(object, "uauc_skipped_users", 8);
    figure(object, "logloss", 8);
    putchar('\n');
}

static const char *word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "-";
}

/* Ranking figures: what was ranked, then a line for each cutoff. */
static void ranking_rows(const json_t *ranking)
{
    const json_t *row;
    size_t i;
    char cases[32], skipped[32];
    const bool sampled = json_is_integer(json_object_get(ranking, "negatives"));
    printf("\nranking of %s ", sampled ? "drawn candidates" : "the whole catalogue");
    if (sampled) {
        printf("(%lld for each liked item, seed %lld) ",
               (long long)json_integer_value(json_object_get(ranking, "negatives")),
               (long long)json_integer_value(json_object_get(ranking, "seed")));
    }
    printf("for %s %ss, %.1f candidates each; %s skipped\n\n%-6s  %7s  %7s  %7s  %7s\n",
           sella_count_text(json_integer_value(json_object_get(ranking, "cases")), cases,
                            sizeof cases),
           word(ranking, "per"), json_number_value(json_object_get(ranking, "candidates_mean")),
           sella_count_text(json_integer_value(json_object_get(ranking, "skipped")), skipped,
                            sizeof skipped),
           "K", "NDCG", "Recall", "MRR", "HitRate");
    json_array_foreach(json_object_get(ranking, "at"), i, row)
    {
        printf("%-6lld", (long long)json_integer_value(json_object_get(row, "k")));
        figure(row, "ndcg", 7);
        figure(row, "recall", 7);
        figure(row, "mrr", 7);
        figure(row, "hit_rate", 7);
        putchar('\n');
    }
}

void sella_show_figures(const json_t *figures, bool subsets)
{
    const char *name;
    json_t *part;
    json_t *parts = json_object_get(figures, "subsets");
    int width = 6;
    json_object_foreach(parts, name, part)
    {
        width = subsets && (int)strlen(name) > width ? (int)strlen(name) : width;
    }
    sella_show_text(word(figures, "method"));
    printf(" on ");
    sella_show_text(word(figures, "dataset"));
    printf(", %s\n\n%-*s  %10s  %7s  %7s  %7s  %8s  %8s\n", word(figures, "split"), width, "rows",
           "count", "AUC", "UAUC", "users", "skipped", "logloss");
    figures_row("all", width, figures);
    json_object_foreach(parts, name, part)
    {
        if (subsets) {
            figures_row(name, width, part);
        }
    }
    if (json_object_get(figures, "ranking") != NULL) {
        ranking_rows(json_object_get(figures, "ranking"));
    }
}

/* Mean and deviation of a part of summaries, for the keys of a list that ends with NULL. */
static void spread_row(const char *name, int width, const json_t *mean, const json_t *sd,
                       const char *const *key)
{
    printf("%-*s", width, name);
    for (; *key != NULL; key++) {
        figure(mean, *key, 7);
        figure(sd, *key, 7);
    }
    putchar('\n');
}

void sella_show_seeds(const json_t *summary, bool subsets)
{
    static const char *const of_rows[] = {"auc", "uauc", "logloss", NULL}, *const of_subset[] = {
                                                                               "auc", "uauc", NULL};
    static const char *const of_ranking[] = {"ndcg", "recall", "mrr", "hit_rate", NULL};
    const json_t *mean = json_object_get(summary, "mean"), *sd = json_object_get(summary, "sd"),
                 *run;
    const char *name;
    json_t *part;
    size_t i;
    sella_show_text(word(summary, "method"));
    printf(" on ");
    sella_show_text(word(summary, "dataset"));
    printf(", %s\n\n%-12s  %10s  %7s  %7s  %7s\n", word(summary, "split"), "seed", "count", "AUC",
           "UAUC", "logloss");
    json_array_foreach(json_object_get(summary, "runs"), i, run)
    {
        printf("%-12lld", (long long)json_integer_value(json_object_get(run, "seed")));
        count(run, "rows", 10);
        for (const char *const *key = of_rows; *key != NULL; key++) {
            figure(run, *key, 7);
        }
        putchar('\n');
    }
    const json_t *const both[] = {mean, sd};
    for (i = 0; i < 2; i++) {
        printf("%-12s  %10s", i == 0 ? "mean" : "sd", "");
        for (const char *const *key = of_rows; *key != NULL; key++) {
            figure(both[i], *key, 7);
        }
        putchar('\n');
    }
    if (subsets) {
        printf("\n%-12s  %7s  %7s  %7s  %7s\n", "rows", "AUC", "sd", "UAUC", "sd");
        json_object_foreach(json_object_get(mean, "subsets"), name, part)
        {
            spread_row(name, 12, part, json_object_get(json_object_get(sd, "subsets"), name),
                       of_subset);
        }
    }
    const json_t *first =
        json_object_get(json_array_get(json_object_get(summary, "runs"), 0), "ranking");
    if (first != NULL) {
        const json_t *at = json_object_get(first, "at");
        printf("\n%-12s  %7s  %7s  %7s  %7s  %7s  %7s  %7s  %7s\n", "K", "NDCG", "sd", "Recall",
               "sd", "MRR", "sd", "HitRate", "sd");
        json_array_foreach(at, i, run)
        {
            char k[24];
            snprintf(k, sizeof k, "%lld", (long long)json_integer_value(json_object_get(run, "k")));
            spread_row(k, 12,
                       json_array_get(json_object_get(json_object_get(mean, "ranking"), "at"), i),
                       json_array_get(json_object_get(json_object_get(sd, "ranking"), "at"), i),
                       of_ranking);
        }
    }
}

static int name_width(const json_t *points)
{
    const json_t *row;
    size_t i;
    int width = 5;
    json_array_foreach(points, i, row)
    {
        const int n = (int)strlen(word(row, "name"));
        width = n > width ? n : width;
    }
    return width;
}

void sella_show_sweep(const json_t *sweep, bool estimates)
{
    const json_t *points = json_object_get(sweep, "points"), *row;
    const char *best = json_string_value(json_object_get(sweep, "best"));
    const int width = name_width(points);
    size_t i;
    sella_show_text(word(sweep, "method"));
    printf(" on ");
    sella_show_text(word(sweep, "dataset"));
    printf(", %s\n\n", word(sweep, "split"));
    if (estimates) {
        printf("%-*s  %12s  %8s  %10s  %8s\n", width, "point", "tokens", "steps", "seconds",
               "peak MB");
        json_array_foreach(points, i, row)
        {
            printf("%-*s", width, word(row, "name"));
            count(row, "tokens", 12);
            count(row, "steps", 8);
            printf("  %10.0f  %8.0f\n", json_number_value(json_object_get(row, "seconds")),
                   json_number_value(json_object_get(row, "peak_mb")));
        }
        printf("\nestimated seconds of all: %.0f\n",
               json_number_value(json_object_get(sweep, "seconds")));
        return;
    }
    printf("%-*s  %4s  %7s  %7s  %7s  %7s  %7s  %8s\n", width, "point", "runs", "AUC", "sd", "UAUC",
           "sd", "logloss", "seconds");
    json_array_foreach(points, i, row)
    {
        const char *name = word(row, "name");
        printf("%-*s", width, name);
        count(row, "runs", 4);
        figure(row, "auc", 7);
        figure(row, "auc_sd", 7);
        figure(row, "uauc", 7);
        figure(row, "uauc_sd", 7);
        figure(row, "logloss", 7);
        if (json_object_get(row, "error") != NULL) {
            printf("  diverged");
        } else {
            printf("  %8.1f", json_number_value(json_object_get(row, "seconds")));
        }
        printf("%s\n", best != NULL && strcmp(best, name) == 0 ? "  best" : "");
    }
}

static void scalar(const json_t *value)
{
    if (json_is_string(value)) {
        sella_show_text(json_string_value(value));
    } else if (json_is_integer(value)) {
        printf("%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        printf("%.9g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        printf("%s", json_is_true(value) ? "yes" : "no");
    } else {
        printf("-");
    }
}

void sella_show_scalars(const json_t *object, int indent)
{
    const char *key;
    json_t *value;
    int width = 0;
    json_object_foreach((json_t *)object, key, value) {
        const int n = json_is_object(value) || json_is_array(value) ? 0 : (int)strlen(key);
        width = n > width ? n : width;
    }
    width = width > 40 ? 40 : width;
    json_object_foreach((json_t *)object, key, value) {
        if (!json_is_object(value) && !json_is_array(value)) {
            printf("%*s", indent, "");
            sella_show_text(key);
            printf("%*s  ", width > (int)strlen(key) ? width - (int)strlen(key) : 0, "");
            scalar(value);
            putchar('\n');
        }
    }
}
