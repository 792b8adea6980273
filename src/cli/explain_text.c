/* explain_text.c - an explanation as tables with aligned bars (cli/explain_show.h). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/explain_show.h"
#include "cli/show.h"

enum { BAR_MOST = 40, BAR_LEAST = 8, KIND = 10 };

typedef struct page {
    int columns;
    bool colours;
} page;

#define GREEN "\x1b[32m"
#define RED "\x1b[31m"
#define CYAN "\x1b[36m"
#define BOLD "\x1b[1m"

const char *sella_member_word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

double sella_member_number(const json_t *object, const char *key)
{
    const double value = json_number_value(json_object_get(object, key));
    return fabs(value) < 0.00005 ? 0 : value;
}

const char *sella_explain_part_name(const json_t *part)
{
    static const char *const names[][2] = {{"user", "U"},
                                           {"item", "I"},
                                           {"warm", "W"},
                                           {"user text", "about U"},
                                           {"item text", "about I"},
                                           {"warm text", "about W"}};
    const char *name = sella_member_word(part, "part");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i][0]) == 0) {
            return names[i][1];
        }
    }
    return name;
}

const char *sella_explain_what(const json_t *without)
{
    const char *what = sella_member_word(without, "what");
    switch (what[0]) {
    case 'U': return "U, the user's feature";
    case 'I': return "I, the item's feature";
    case 'W': return "W, the warm token";
    default: return sella_member_word(without, "title");
    }
}

static void colour(const page *p, const char *code)
{
    if (p->colours) {
        fputs(code, stdout);
    }
}

static void end_colour(const page *p)
{
    colour(p, "\x1b[0m");
}

static void repeat(char c, int n)
{
    for (int i = 0; i < n; i++) {
        putchar(c);
    }
}

/* "   ###|      " or "      |##    ": half columns on each side of the zero line stand for `most`;
 * no blanks behind. */
static void signed_bar(const page *p, double value, double most, int half)
{
    const int n = most > 0 && isfinite(value) ? (int)lround(fabs(value) / most * half) : 0;
    repeat(' ', value < 0 ? half - n : half);
    if (value < 0) {
        colour(p, RED);
        repeat('#', n);
        end_colour(p);
    }
    putchar('|');
    if (value > 0) {
        colour(p, GREEN);
        repeat('#', n);
        end_colour(p);
    }
}

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

static int at_most(int a, int b)
{
    return a < b ? a : b;
}

/* ---- the logit ---- */

static void term_row(const page *p, const json_t *term, int indent, int label, double most,
                     int half)
{
    printf("%*s", indent, "");
    sella_show_cell(sella_member_word(term, "term"), label - indent);
    printf("  %8.4f  ", sella_member_number(term, "value"));
    signed_bar(p, sella_member_number(term, "value"), most, half);
    putchar('\n');
}

static void terms(const page *p, const json_t *object)
{
    const json_t *list = json_object_get(object, "terms");
    const json_t *term, *inner;
    size_t i, j;
    double most = 0;
    int label = 0;
    json_array_foreach((json_t *)list, i, term) {
        most = fmax(most, fabs(sella_member_number(term, "value")));
        label = at_least(label, 2 + sella_show_width(sella_member_word(term, "term")));
        json_array_foreach(json_object_get(term, "terms"), j, inner) {
            most = fmax(most, fabs(sella_member_number(inner, "value")));
            label = at_least(label, 4 + sella_show_width(sella_member_word(inner, "term")));
        }
    }
    if (json_array_size(list) == 0) {
        return;
    }
    label = at_most(label, p->columns - 12 - BAR_LEAST);
    const int half = at_most(at_least((p->columns - label - 14) / 2, BAR_LEAST / 2), BAR_MOST / 2);
    putchar('\n');
    sella_show_cell("logit, and what adds up to it", at_least(label, at_most(29, p->columns)));
    putchar('\n');
    json_array_foreach((json_t *)list, i, term) {
        term_row(p, term, 2, label, most, half);
        json_array_foreach(json_object_get(term, "terms"), j, inner) {
            term_row(p, inner, 4, label, most, half);
        }
    }
}

/* ---- with something taken out ---- */

static void without(const page *p, const json_t *object)
{
    const json_t *list = json_object_get(object, "without");
    const json_t *row;
    size_t i;
    double most = 0;
    int label = 8;
    json_array_foreach((json_t *)list, i, row) {
        most = fmax(most, fabs(sella_member_number(row, "delta")));
        label = at_least(label, sella_show_width(sella_explain_what(row)));
    }
    if (json_array_size(list) == 0) {
        return;
    }
    label = at_most(label, p->columns - 22 - BAR_LEAST);
    const int half = at_most(at_least((p->columns - label - 22) / 2, BAR_LEAST / 2), BAR_MOST / 2);
    printf("\n  ");
    sella_show_cell("without", label);
    printf("   score     adds\n");
    json_array_foreach((json_t *)list, i, row) {
        printf("  ");
        sella_show_cell(sella_explain_what(row), label);
        printf("  %6.4f  %+7.4f  ", sella_member_number(row, "score"),
               sella_member_number(row, "delta"));
        signed_bar(p, sella_member_number(row, "delta"), most, half);
        putchar('\n');
    }
}

/* ---- attention ---- */

/* Layers first .. last - 1 side by side, `bar` columns of bar each. */
static void attention_table(const page *p, const json_t *parts, const json_t *attention,
                            size_t first, size_t last, int label, int bar, double most)
{
    const json_t *part;
    size_t i;
    char head[32];
    printf("\n  ");
    sella_show_cell("attention from the answer", KIND + label);
    for (size_t k = first; k < last; k++) {
        snprintf(
            head, sizeof head, "layer %lld",
            (long long)json_integer_value(json_array_get(json_object_get(attention, "layers"), k)));
        printf("  %-*s", k + 1 < last ? 7 + bar : 0, head);
    }
    putchar('\n');
    json_array_foreach((json_t *)parts, i, part) {
        printf("  ");
        sella_show_cell(sella_explain_part_name(part), KIND - 1);
        putchar(' ');
        sella_show_cell(sella_member_word(part, "text"), label);
        for (size_t k = first; k < last; k++) {
            const double value = json_number_value(
                json_array_get(json_array_get(json_object_get(attention, "from_answer"), k), i));
            const int n = most > 0 ? (int)lround(value / most * bar) : 0;
            printf("  %6.4f%s", value, n > 0 ? " " : "");
            colour(p, CYAN);
            repeat('#', n);
            end_colour(p);
            if (k + 1 < last) {
                repeat(' ', bar - n + (n == 0));
            }
        }
        putchar('\n');
    }
}

static void attention(const page *p, const json_t *object)
{
    const json_t *parts = json_object_get(object, "parts"),
                 *map = json_object_get(object, "attention");
    const size_t layers = json_array_size(json_object_get(map, "layers"));
    const json_t *part;
    size_t i;
    double most = 0;
    int label = 6;
    json_array_foreach((json_t *)parts, i, part) {
        label = at_least(label, sella_show_width(sella_member_word(part, "text")));
        for (size_t k = 0; k < layers; k++) {
            most = fmax(most, json_number_value(json_array_get(
                                  json_array_get(json_object_get(map, "from_answer"), k), i)));
        }
    }
    if (layers == 0) {
        return;
    }
    label = at_most(at_least(label, 15), at_most(36, (p->columns - 2 - KIND) / 2));
    const int room = p->columns - 2 - KIND - label;
    const int across = at_most((int)layers, at_least(room / (9 + BAR_LEAST), 1));
    const int bar = at_most(at_least(room / across - 9, 1), BAR_MOST);
    for (size_t first = 0; first < layers; first += (size_t)across) {
        const size_t last = first + (size_t)across < layers ? first + (size_t)across : layers;
        attention_table(p, parts, map, first, last, label, bar, most);
    }
}

void sella_explain_text(const json_t *object)
{
    const page p = {sella_show_columns(), sella_show_colours()};
    const json_t *user = json_object_get(object, "user"),
                 *history = json_object_get(object, "history");
    char line[256];
    colour(&p, BOLD);
    sella_show_cell(sella_member_word(object, "title"),
                    at_most(sella_show_width(sella_member_word(object, "title")), p.columns));
    end_colour(&p);
    snprintf(line, sizeof line, "item %.60s for %s%.60s%s", sella_member_word(object, "item"),
             json_is_string(user) ? "user " : "somebody",
             json_is_string(user) ? json_string_value(user) : "",
             json_is_string(user) && !json_is_true(json_object_get(object, "known"))
                 ? ", never seen in training"
                 : "");
    putchar('\n');
    sella_show_cell(line, at_most(sella_show_width(line), p.columns));
    printf("\nscore %.4f, logit %.4f, %s\n", sella_member_number(object, "score"),
           sella_member_number(object, "logit"), sella_member_word(object, "method"));
    printf("history: %lld titles, %lld of them read\n",
           (long long)json_integer_value(json_object_get(history, "titles")),
           (long long)json_integer_value(json_object_get(history, "read")));
    terms(&p, object);
    without(&p, object);
    attention(&p, object);
}
