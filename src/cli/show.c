/* show.c - tables for people (cli/show.h). */
#include "cli/show.h"

#include <string.h>

#include "base/json.h"

sella_status sella_show_parse(const char *json, json_t **out, sella_err *err)
{
    *out = json_loads(json, JSON_ALLOW_NUL, NULL); // our own text; a token may be a NUL byte
    return *out != NULL ? SELLA_OK : sella_err_memory(err, "an answer", strlen(json));
}

const char *sella_show_count(json_int_t value, char *text, size_t room)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
    size_t at = 0;
    for (int i = 0; i < n && at + 2 < room; i++) {
        text[at++] = digits[i];
        const int left = n - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-') {
            text[at++] = ',';
        }
    }
    text[at] = '\0';
    return text;
}

void sella_show_text(const char *text)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        putchar(c < 0x20 || c == 0x7f ? '?' : c);
    }
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
    printf("  %*s", width, json_is_integer(value) ? sella_show_count(json_integer_value(value), text, sizeof text) : "-");
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
        printf("(%lld for each liked item, seed %lld) ", (long long)json_integer_value(json_object_get(ranking, "negatives")),
               (long long)json_integer_value(json_object_get(ranking, "seed")));
    }
    printf("for %s %ss, %.1f candidates each; %s skipped\n\n%-6s  %7s  %7s  %7s  %7s\n",
           sella_show_count(json_integer_value(json_object_get(ranking, "cases")), cases, sizeof cases), word(ranking, "per"),
           json_number_value(json_object_get(ranking, "candidates_mean")),
           sella_show_count(json_integer_value(json_object_get(ranking, "skipped")), skipped, sizeof skipped), "K", "NDCG", "Recall", "MRR", "HitRate");
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
    printf(", %s\n\n%-*s  %10s  %7s  %7s  %7s  %8s  %8s\n", word(figures, "split"), width, "rows", "count", "AUC", "UAUC", "users", "skipped", "logloss");
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
