/* explain_html.c - an explanation as one HTML page without scripts (cli/explain_show.h).
 *
 * A map of T x T weights would be thousands of rectangles: cells of one shade are one path instead.
 * The shade grows with the square root of the weight, which keeps small weights visible beside the
 * large one that the first token usually takes.
 */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/explain_show.h"
#include "cli/show.h"

enum { SHADES = 16, TOP = 5, LABEL_TEXT = 20, LABEL_BYTES = 100, LETTER = 5 };

static const char style[] =
    ":root{color-scheme:light "
    "dark;--ink:#1b1f24;--dim:#59636e;--line:#d1d9e0;--back:#fff;--cell:#0a58ca;--up:#1a7f37;--"
    "down:#c0362c}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--line:#3d444d;--back:#"
    "0d1117;--cell:#ffd24a;--up:#4ac26b;--down:#ff7b72}}\n"
    "body{margin:2rem auto;padding:0 "
    "1rem;max-width:76rem;background:var(--back);color:var(--ink);font:15px/1.5 "
    "system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:0 0 .3rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 "
    ".5rem}p{margin:.3rem 0;max-width:60rem}\n"
    ".dim{color:var(--dim)}.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}\n"
    "th,td{padding:.15rem .6rem .15rem 0;text-align:left;border-bottom:1px solid "
    "var(--line);vertical-align:middle}\n"
    "th{font-weight:600;color:var(--dim)}td.n,th.n{text-align:right;font-variant-numeric:tabular-"
    "nums;white-space:nowrap}\n"
    "td.t{overflow-wrap:anywhere;min-width:8rem}td.p{white-space:nowrap}td.i{padding-left:1.2rem}"
    "td.b{width:40%;min-width:7rem}\n"
    ".s{position:relative;height:.8rem}.s:before{content:'';position:absolute;left:50%;top:-.2rem;"
    "bottom:-.2rem;border-left:1px solid var(--dim)}\n"
    ".s "
    "i{position:absolute;top:0;height:100%}.u{left:50%;background:var(--up)}.d{right:50%;"
    "background:var(--down)}\n"
    ".a i{display:block;height:.8rem;background:var(--cell);opacity:.75}\n"
    "svg{display:block}svg text{fill:var(--ink);font:8px "
    "ui-monospace,monospace;white-space:pre}svg .k{font-weight:700;fill:var(--up)}\n"
    "svg path{fill:var(--cell)}svg .g{fill:none;stroke:var(--line);stroke-width:.7}svg "
    ".r{fill:transparent}svg .r:hover{fill:var(--cell);fill-opacity:.12}\n"
    "@media (max-width:40rem){th,td{padding-right:.35rem}td.t{min-width:6rem}"
    "td.b{min-width:4.5rem}}\n"
    "@media "
    "print{body{max-width:none;margin:0}.scroll{overflow:visible}svg{max-width:100%;height:auto}}"
    "\n";

/* Text as HTML text; control characters, which HTML forbids, become U+FFFD. */
static sella_status escape(sella_text *out, const char *text, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (const char *at = text; *at; at++) {
        const char *as = *at == '&'    ? "&amp;"
                         : *at == '<'  ? "&lt;"
                         : *at == '>'  ? "&gt;"
                         : *at == '"'  ? "&quot;"
                         : *at == '\'' ? "&#39;"
                                       : NULL;
        const unsigned char c = (unsigned char)*at;
        if (as == NULL && (c == 0x7f || (c < 0x20 && c != '\n' && c != '\t'))) {
            as = "&#xFFFD;";
        }
        SELLA_TRY(as != NULL ? sella_text_append(out, as, strlen(as), err)
                             : sella_text_append(out, at, 1, err));
    }
done:
    return status;
}

static sella_status put(sella_text *out, const char *html, sella_err *err)
{
    return sella_text_append(out, html, strlen(html), err);
}

static double largest(const json_t *list, const char *key)
{
    const json_t *entry;
    size_t i;
    double most = 0;
    json_array_foreach((json_t *)list, i, entry) {
        most = fmax(most, fabs(sella_member_number(entry, key)));
        most = fmax(most, largest(json_object_get(entry, "terms"), key));
    }
    return most;
}

/* A cell with a bar to the right of its middle (for) or to the left (against). */
static sella_status signed_bar(sella_text *out, double value, double most, sella_err *err)
{
    const double width = most > 0 && isfinite(value) ? 50 * fabs(value) / most : 0;
    return sella_text_format(
        out, err, "<td class=b><div class=s><i class=%s style=\"width:%.2f%%\"></i></div></td>",
        value < 0 ? "d" : "u", width);
}

/* ---- head, terms, what is taken out ---- */

static sella_status put_head(sella_text *out, const json_t *object, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *user = json_string_value(json_object_get(object, "user"));
    const json_t *history = json_object_get(object, "history");
    SELLA_TRY(put(out,
                  "<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><meta name=viewport "
                  "content=\"width=device-width,initial-scale=1\">\n<title>",
                  err));
    SELLA_TRY(escape(out, sella_member_word(object, "title"), err));
    SELLA_TRY(put(out, " - explained</title>\n<style>\n", err));
    SELLA_TRY(put(out, style, err));
    SELLA_TRY(put(out, "</style>\n<body>\n<h1>", err));
    SELLA_TRY(escape(out, sella_member_word(object, "title"), err));
    SELLA_TRY(put(out, "</h1>\n<p class=dim>item ", err));
    SELLA_TRY(escape(out, sella_member_word(object, "item"), err));
    SELLA_TRY(put(out, user != NULL ? " for user " : " for somebody", err));
    SELLA_TRY(escape(out, user != NULL ? user : "", err));
    SELLA_TRY(put(out,
                  user != NULL && !json_is_true(json_object_get(object, "known"))
                      ? ", never seen in training"
                      : "",
                  err));
    SELLA_TRY(sella_text_format(
        out, err, "; method %s; %lld titles in the history, %lld of them read</p>\n",
        sella_member_word(object, "method"),
        (long long)json_integer_value(json_object_get(history, "titles")),
        (long long)json_integer_value(json_object_get(history, "read"))));
    SELLA_TRY(sella_text_format(out, err, "<p>Score <b>%.4f</b>, logit <b>%.4f</b>.</p>\n",
                                sella_member_number(object, "score"),
                                sella_member_number(object, "logit")));
done:
    return status;
}

static sella_status put_terms(sella_text *out, const json_t *list, const char *inset, double most,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *term;
    size_t i;
    json_array_foreach((json_t *)list, i, term) {
        SELLA_TRY(sella_text_format(out, err, "<tr><td class=\"t%s\">", inset));
        SELLA_TRY(escape(out, sella_member_word(term, "term"), err));
        SELLA_TRY(
            sella_text_format(out, err, "</td><td class=n>%+.4f</td>",
                              sella_member_number(term, "value")));
        SELLA_TRY(signed_bar(out, sella_member_number(term, "value"), most, err));
        SELLA_TRY(put(out, "</tr>\n", err));
        SELLA_TRY(put_terms(out, json_object_get(term, "terms"), " i", most, err));
    }
done:
    return status;
}

static sella_status put_without(sella_text *out, const json_t *list, sella_err *err)
{
    sella_status status = SELLA_OK;
    const double most = largest(list, "delta");
    const json_t *row;
    size_t i;
    SELLA_TRY(put(out,
                  "<h2>With something taken out</h2>\n<p class=dim>What each soft token and each "
                  "title of the history adds: the score minus the score without it.</p>\n<div "
                  "class=scroll><table><tr><th>without</th><th class=n>score</th><th "
                  "class=n>adds</th><th></th></tr>\n",
                  err));
    json_array_foreach((json_t *)list, i, row) {
        SELLA_TRY(put(out, "<tr><td class=t>", err));
        SELLA_TRY(escape(out, sella_explain_what(row), err));
        SELLA_TRY(sella_text_format(out, err, "</td><td class=n>%.4f</td><td class=n>%+.4f</td>",
                                    sella_member_number(row, "score"),
                                    sella_member_number(row, "delta")));
        SELLA_TRY(signed_bar(out, sella_member_number(row, "delta"), most, err));
        SELLA_TRY(put(out, "</tr>\n", err));
    }
    SELLA_TRY(put(out, "</table></div>\n", err));
done:
    return status;
}

/* ---- attention ---- */

static long long layer_of(const json_t *attention, size_t k)
{
    return (long long)json_integer_value(json_array_get(json_object_get(attention, "layers"), k));
}

static sella_status put_from_answer(sella_text *out, const json_t *parts, const json_t *attention,
                                    sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *from = json_object_get(attention, "from_answer"), *part;
    const size_t layers = json_array_size(from);
    size_t i;
    double most = 0;
    for (size_t k = 0; k < layers; k++) {
        for (i = 0; i < json_array_size(parts); i++) {
            most = fmax(most, json_number_value(json_array_get(json_array_get(from, k), i)));
        }
    }
    SELLA_TRY(put(out,
                  "<h2>Attention from the answer</h2>\n<p class=dim>What the position that answers "
                  "takes from each part of the prompt, mean over heads.</p>\n<div "
                  "class=scroll><table><tr><th>part</th><th>text</th>",
                  err));
    for (size_t k = 0; k < layers; k++) {
        SELLA_TRY(sella_text_format(out, err, "<th class=n>layer %lld</th><th></th>",
                                    layer_of(attention, k)));
    }
    SELLA_TRY(put(out, "</tr>\n", err));
    json_array_foreach((json_t *)parts, i, part) {
        SELLA_TRY(put(out, "<tr><td class=p>", err));
        SELLA_TRY(escape(out, sella_explain_part_name(part), err));
        SELLA_TRY(put(out, "</td><td class=t>", err));
        SELLA_TRY(escape(out, sella_member_word(part, "text"), err));
        SELLA_TRY(put(out, "</td>", err));
        for (size_t k = 0; k < layers; k++) {
            const double value = json_number_value(json_array_get(json_array_get(from, k), i));
            SELLA_TRY(
                sella_text_format(out, err,
                                  "<td class=n>%.4f</td><td class=a style=\"width:%.1f%%\"><i "
                                  "style=\"width:%.2f%%\"></i></td>",
                                  value, 50.0 / (double)layers, most > 0 ? 100 * value / most : 0));
        }
        SELLA_TRY(put(out, "</tr>\n", err));
    }
    SELLA_TRY(put(out, "</table></div>\n", err));
done:
    return status;
}

static double weight(const json_t *map, size_t row, size_t column)
{
    return json_number_value(json_array_get(json_array_get(map, row), column));
}

static int shade_of(double w)
{
    const int shade = (int)lround(SHADES * sqrt(w > 0 ? w : 0));
    return shade < SHADES ? shade : SHADES;
}

/* One path of all cells of each shade: runs of equal cells are one rectangle. */
static sella_status put_cells(sella_text *out, const json_t *map, size_t T, int cell,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int shade = 1; shade <= SHADES; shade++) {
        bool any = false;
        for (size_t y = 0; y < T; y++) {
            for (size_t x = 0, end; x <= y; x = end) {
                for (end = x; end <= y && shade_of(weight(map, y, end)) == shade; end++) {
                }
                if (end == x) {
                    end++;
                    continue;
                }
                if (!any) {
                    SELLA_TRY(sella_text_format(out, err, "<path fill-opacity=\"%.3f\" d=\"",
                                                (double)shade / SHADES));
                    any = true;
                }
                SELLA_TRY(sella_text_format(out, err, "M%zu %zuh%zuv%dh-%zuz", x * (size_t)cell,
                                            y * (size_t)cell, (end - x) * (size_t)cell, cell,
                                            (end - x) * (size_t)cell));
            }
        }
        if (any) {
            SELLA_TRY(put(out, "\"/>\n", err));
        }
    }
done:
    return status;
}

/* A token's text on one line, cut after `room` characters. */
static sella_status put_token(sella_text *out, const json_t *tokens, size_t t, int room,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    char text[LABEL_BYTES];
    const char *from = json_string_value(json_array_get(tokens, t));
    size_t used = 0;
    for (int n = 0; from != NULL && *from && n < room; n++) {
        size_t bytes = 1;
        while (((unsigned char)from[bytes] & 0xc0) == 0x80) {
            bytes++;
        }
        if (used + bytes >= sizeof text) {
            break;
        }
        memcpy(text + used, *from == '\n' || *from == '\t' ? " " : from, bytes);
        used += bytes;
        from += bytes;
    }
    text[used] = '\0';
    SELLA_TRY(escape(out, text, err));
    if (from != NULL && *from) {
        SELLA_TRY(put(out, "\xE2\x80\xA6", err));
    }
done:
    return status;
}

/* A row that can be pointed at: the tokens that it takes most from. */
static sella_status put_row_title(sella_text *out, const json_t *map, const json_t *tokens,
                                  size_t y, size_t T, int cell, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t best[TOP], count = 0;
    for (size_t x = 0; x <= y; x++) {
        if (count == TOP && weight(map, y, x) <= weight(map, y, best[TOP - 1])) {
            continue;
        }
        size_t at = count < TOP ? count++ : TOP - 1;
        for (; at > 0 && weight(map, y, best[at - 1]) < weight(map, y, x); at--) {
            best[at] = best[at - 1];
        }
        best[at] = x;
    }
    SELLA_TRY(sella_text_format(out, err, "<rect class=r y=%zu width=%zu height=%d><title>%zu ",
                                y * (size_t)cell, T * (size_t)cell, cell, y));
    SELLA_TRY(put_token(out, tokens, y, 24, err));
    SELLA_TRY(put(out, " takes from", err));
    for (size_t b = 0; b < count; b++) {
        SELLA_TRY(sella_text_format(out, err, "%s %zu ", b > 0 ? "," : "", best[b]));
        SELLA_TRY(put_token(out, tokens, best[b], 24, err));
        SELLA_TRY(sella_text_format(out, err, " %.3f", weight(map, y, best[b])));
    }
    SELLA_TRY(put(out, "</title></rect>\n", err));
done:
    return status;
}

/* Room for the longest label: letters of a fixed width, cut as put_token cuts. */
static int label_room(const json_t *tokens)
{
    const json_t *token;
    size_t i;
    int most = 0;
    json_array_foreach((json_t *)tokens, i, token) {
        const int width = sella_show_width(json_string_value(token));
        most = width > most ? width : most;
    }
    return 8 + LETTER * (most < 2 * LABEL_TEXT ? most : 2 * LABEL_TEXT);
}

static sella_status put_labels(sella_text *out, const json_t *tokens, const json_t *soft, size_t T,
                               int cell, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (size_t t = 0; t < T; t++) {
        const json_t *slot;
        size_t i;
        const char *kind = "";
        const double middle = ((double)t + 0.5) * cell + 2.5;
        json_array_foreach((json_t *)soft, i, slot) {
            kind = (size_t)json_integer_value(json_object_get(slot, "position")) == t ? " class=k"
                                                                                      : kind;
        }
        SELLA_TRY(
            sella_text_format(out, err, "<text%s x=-4 y=%.1f text-anchor=end>", kind, middle));
        SELLA_TRY(put_token(out, tokens, t, LABEL_TEXT, err));
        SELLA_TRY(sella_text_format(out, err,
                                    "</text><text%s transform=\"translate(%.1f -4) rotate(-90)\">",
                                    kind, middle));
        SELLA_TRY(put_token(out, tokens, t, LABEL_TEXT, err));
        SELLA_TRY(put(out, "</text>\n", err));
    }
done:
    return status;
}

static sella_status put_map(sella_text *out, const json_t *object, size_t k, sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *attention = json_object_get(object, "attention"),
                 *tokens = json_object_get(object, "tokens"),
                 *parts = json_object_get(object, "parts"), *part;
    const json_t *map = json_array_get(json_object_get(attention, "head_mean"), k);
    const size_t T = json_array_size(tokens);
    const int cell = T < 40 ? 18 : T < 80 ? 12 : 9, room = label_room(tokens);
    const long long side = (long long)T * cell, whole = side + room + 4;
    size_t i;
    SELLA_TRY(sella_text_format(out, err,
                                "<h2>Attention in layer %lld, mean over %lld heads</h2>\n<div "
                                "class=scroll><svg width=%lld height=%lld viewBox=\"%d %d %lld "
                                "%lld\" role=img aria-label=\"Attention map of layer %lld\">\n",
                                layer_of(attention, k),
                                (long long)json_integer_value(json_object_get(attention, "heads")),
                                whole, whole, -room, -room, whole, whole, layer_of(attention, k)));
    SELLA_TRY(put_cells(out, map, T, cell, err));
    SELLA_TRY(put(out, "<path class=g d=\"", err));
    json_array_foreach((json_t *)parts, i, part) {
        const long long at = (long long)json_integer_value(json_object_get(part, "first")) * cell;
        SELLA_TRY(
            sella_text_format(out, err, "M%lld %lldv%lldM0 %lldh%lld", at, at, side - at, at, at));
    }
    SELLA_TRY(sella_text_format(out, err, "M0 0v%lldh%lldz\"/>\n", side, side));
    SELLA_TRY(put_labels(out, tokens, json_object_get(object, "soft"), T, cell, err));
    for (size_t y = 0; y < T; y++) {
        SELLA_TRY(put_row_title(out, map, tokens, y, T, cell, err));
    }
    SELLA_TRY(put(out, "</svg></div>\n", err));
done:
    return status;
}

sella_status sella_explain_html(const json_t *object, const char *path, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text out = {0};
    const json_t *terms = json_object_get(object, "terms"),
                 *without = json_object_get(object, "without"),
                 *attention = json_object_get(object, "attention");
    const size_t layers = json_array_size(json_object_get(attention, "layers"));
    SELLA_TRY(put_head(&out, object, err));
    if (json_array_size(terms) > 0) {
        SELLA_TRY(
            put(&out, "<h2>What adds up to the logit</h2>\n<div class=scroll><table>\n", err));
        SELLA_TRY(put_terms(&out, terms, "", largest(terms, "value"), err));
        SELLA_TRY(put(&out, "</table></div>\n", err));
    }
    if (json_array_size(without) > 0) {
        SELLA_TRY(put_without(&out, without, err));
    }
    if (layers > 0) {
        SELLA_TRY(put_from_answer(&out, json_object_get(object, "parts"), attention, err));
        SELLA_TRY(
            put(&out,
                "<p class=dim>In the maps below a row is what one token takes from the tokens "
                "before it and from itself; shades grow with the square root of the weight. Lines "
                "part the pieces of the prompt; soft tokens are named in colour.</p>\n",
                err));
    }
    for (size_t k = 0; k < layers; k++) {
        SELLA_TRY(put_map(&out, object, k, err));
    }
    SELLA_TRY(put(&out, "</body></html>\n", err));
    SELLA_TRY(sella_write_file(path, out.data, out.size, err));
done:
    sella_text_release(&out);
    return status;
}
