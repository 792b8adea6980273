/* template.c - parsing and checking of prompt templates (data/template.h; grammar:
 * docs/formats.md).
 *
 * Pieces are tokenized one by one and their ids joined. So that the ids are those of the whole
 * text, one piece may only follow another where every pre-tokenizer cuts: around a soft token,
 * behind a line break, or between text and a single blank with text behind it.
 */
#include "data/template.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"

enum { TEMPLATE_MAX = 64 << 10, PIECE_MAX = 8 << 10 };

/* What a piece may hold: its mark, which it then must hold once; {number} in front; {turn:...}. */
static const struct {
    const char *name;
    const char *mark;
    bool numbered, turns, required;
    const char *preset;
} rules[SELLA_PIECES] = {
    [SELLA_PIECE_START] = {"start", NULL, false, true, false, ""},
    [SELLA_PIECE_START_SLOTS] = {"start_slots", NULL, false, true, false, NULL}, // as start
    [SELLA_PIECE_HISTORY] = {"history", "title", true, false, true, NULL},
    [SELLA_PIECE_EMPTY] = {"empty", NULL, false, false, true, NULL},
    [SELLA_PIECE_BETWEEN] = {"between", NULL, false, true, false, ""},
    [SELLA_PIECE_USER] = {"user", "user", false, false, false, "{user}"},
    [SELLA_PIECE_ITEM] = {"item", "item", false, false, false, "{item}"},
    [SELLA_PIECE_WARM] = {"warm", "warm", false, false, false, "{warm}"},
    [SELLA_PIECE_TARGET] = {"target", "title", false, false, true, NULL},
    [SELLA_PIECE_END] = {"end", NULL, false, true, false, ""},
    [SELLA_PIECE_YES] = {"yes", NULL, false, false, true, NULL},
    [SELLA_PIECE_NO] = {"no", NULL, false, false, true, NULL},
    [SELLA_PIECE_DISTIL] = {"distil", "title", false, false, false, "{Noun}: {title}"},
    /* as user, where that has words */
    [SELLA_PIECE_USER_CODE] = {"user_code", "user", false, false, false, " Person {user};"},
    [SELLA_PIECE_ITEM_CODE] = {"item_code", "item", false, false, false, " Candidate {item};"},
    [SELLA_PIECE_DISTIL_EOL] = {"distil_eol", "title", false, false, false,
                                "The {noun} \"{title}\" means in one word:"},
};

struct sella_template {
    char *source;
    char *piece[SELLA_PIECES]; // with placeholders
};

void sella_template_free(sella_template *tmpl)
{
    if (tmpl) {
        for (int p = 0; p < SELLA_PIECES; p++) {
            free(tmpl->piece[p]);
        }
        free(tmpl->source);
        free(tmpl);
    }
}

const char *sella_template_text(const sella_template *tmpl)
{
    return tmpl->source;
}

void sella_piece_text_release(sella_piece_text *text)
{
    sella_text_release(&text->before);
    sella_text_release(&text->after);
    *text = (sella_piece_text){0};
}

/* ---- placeholders ---- */

static const struct {
    const char *name, *chat, *plain;
} turns[] = {
    {"turn:system", "<|im_start|>system\n", "### Instruction\n"},
    {"turn:user", "<|im_start|>user\n", "### Input\n"},
    {"turn:assistant", "<|im_start|>assistant\n", "### Response\n"},
    {"turn:end", "<|im_end|>\n", ""},
};

static sella_status append_noun(sella_text *out, const char *noun, bool capital, sella_err *err)
{
    size_t at = out->size;
    sella_status status = sella_text_append(out, noun, strlen(noun), err);
    if (status == SELLA_OK && capital && out->data[at] >= 'a' && out->data[at] <= 'z') {
        out->data[at] = (char)(out->data[at] - 'a' + 'A');
    }
    return status;
}

/* One {name}. *is_mark / *is_number tell that it is not text. */
static sella_status placeholder(sella_piece piece, const char *name, size_t bytes, const char *noun,
                                bool chat, sella_text *out, bool *is_mark, bool *is_number,
                                sella_err *err)
{
    *is_mark = *is_number = false;
    if (bytes == 4 && (memcmp(name, "noun", 4) == 0 || memcmp(name, "Noun", 4) == 0)) {
        return append_noun(out, noun, name[0] == 'N', err);
    }
    if (rules[piece].mark && bytes == strlen(rules[piece].mark) &&
        memcmp(name, rules[piece].mark, bytes) == 0) {
        *is_mark = true;
        return SELLA_OK;
    }
    if (rules[piece].numbered && bytes == 6 && memcmp(name, "number", 6) == 0) {
        *is_number = true;
        return SELLA_OK;
    }
    for (size_t t = 0; rules[piece].turns && t < sizeof turns / sizeof *turns; t++) {
        if (bytes == strlen(turns[t].name) && memcmp(name, turns[t].name, bytes) == 0) {
            const char *text = chat ? turns[t].chat : turns[t].plain;
            return sella_text_append(out, text, strlen(text), err);
        }
    }
    return sella_err_set(err, SELLA_FORMAT,
                         "piece '%s' has the placeholder {%.*s}, which it cannot hold",
                         rules[piece].name, (int)(bytes < 40 ? bytes : 40), name);
}

sella_status sella_template_expand(const sella_template *tmpl, sella_piece piece, const char *noun,
                                   bool chat, sella_piece_text *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *text = tmpl->piece[piece];
    *out = (sella_piece_text){0};
    SELLA_TRY(sella_text_append(&out->before, "", 0, err));
    SELLA_TRY(sella_text_append(&out->after, "", 0, err));
    for (const char *at = text; *at;) {
        sella_text *into = out->marked ? &out->after : &out->before;
        if ((*at == '{' || *at == '}') && at[1] == *at) {
            SELLA_TRY(sella_text_append(into, at, 1, err));
            at += 2;
        } else if (*at == '{') {
            bool mark, number;
            const char *close = strchr(at, '}');
            if (!close) {
                status = sella_err_set(
                    err, SELLA_FORMAT,
                    "piece '%s' has a { without }; a brace itself is written {{ or }}",
                    rules[piece].name);
                goto done;
            }
            SELLA_TRY(placeholder(piece, at + 1, (size_t)(close - at - 1), noun, chat, into, &mark,
                                  &number, err));
            if ((mark && out->marked) || (number && at != text)) {
                status = sella_err_set(err, SELLA_FORMAT, "piece '%s' has %.*s %s",
                                       rules[piece].name, (int)(close - at + 1), at,
                                       mark ? "twice" : "not at its beginning");
                goto done;
            }
            out->marked |= mark;
            out->numbered |= number;
            at = close + 1;
        } else if (*at == '}') {
            status =
                sella_err_set(err, SELLA_FORMAT,
                              "piece '%s' has a } without {; a brace itself is written {{ or }}",
                              rules[piece].name);
            goto done;
        } else {
            size_t run = strcspn(at, "{}");
            SELLA_TRY(sella_text_append(into, at, run, err));
            at += run;
        }
    }
    if (rules[piece].mark && !out->marked) {
        status = sella_err_set(err, SELLA_FORMAT, "piece '%s' lacks {%s}", rules[piece].name,
                               rules[piece].mark);
    }
done:
    if (status != SELLA_OK) {
        sella_piece_text_release(out);
    }
    return status;
}

/* ---- checks ---- */

/* How a piece begins and ends, as far as cuts matter. */
typedef enum edge {
    EDGE_NOTHING, /* the piece is empty */
    EDGE_SLOT,    /* a soft token */
    EDGE_TEXT,    /* anything but blanks */
    EDGE_BLANK,   /* begins: one blank, then text */
    EDGE_LINE,    /* ends: a line break */
    EDGE_BAD
} edge;

typedef struct edges {
    edge begin, end;
} edges;

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t';
}

static edges edges_of(const sella_piece_text *text, bool title)
{
    const sella_text *before = &text->before, *after = &text->after;
    edges e = {EDGE_NOTHING, EDGE_NOTHING};
    if (text->numbered) {
        e.begin = EDGE_TEXT;
    } else if (before->size > 0) {
        char first = before->data[0], second = before->size > 1        ? before->data[1]
                                               : text->marked && title ? 'x'
                                                                       : ' ';
        e.begin = !is_blank(first)                    ? EDGE_TEXT
                  : first == ' ' && !is_blank(second) ? EDGE_BLANK
                                                      : EDGE_BAD;
    } else if (text->marked) {
        e.begin = title ? EDGE_TEXT : EDGE_SLOT;
    }
    const sella_text *last = text->marked ? after : before;
    if (last->size > 0) {
        char c = last->data[last->size - 1];
        e.end = c == '\n' ? EDGE_LINE : is_blank(c) ? EDGE_BAD : EDGE_TEXT;
    } else if (text->marked) {
        e.end = title ? EDGE_TEXT : EDGE_SLOT;
    }
    return e;
}

/* May b follow a? */
static bool joins(edge end, edge begin)
{
    if (begin == EDGE_BAD || end == EDGE_BAD) {
        return false;
    }
    return end == EDGE_SLOT || begin == EDGE_SLOT || end == EDGE_LINE || begin == EDGE_BLANK;
}

static sella_status check_join(const edges *edge_p, int first, int second, sella_err *err)
{
    if (edge_p[first].end == EDGE_NOTHING || edge_p[second].begin == EDGE_NOTHING ||
        joins(edge_p[first].end, edge_p[second].begin)) {
        return SELLA_OK;
    }
    return sella_err_set(err, SELLA_FORMAT,
                         "piece '%s' cannot follow '%s': end that with a line break (\\n), or "
                         "begin this with a single blank",
                         rules[second].name, rules[first].name);
}

/* All pieces in one chat form: placeholders, and every pair of pieces that a prompt can put side by
 * side. */
static sella_status check_form(const sella_template *tmpl, bool chat, sella_err *err)
{
    sella_status status = SELLA_OK;
    edges edge_p[SELLA_PIECES];
    for (int p = 0; p < SELLA_PIECES; p++) {
        sella_piece_text text;
        SELLA_TRY(sella_template_expand(tmpl, (sella_piece)p, "item", chat, &text, err));
        char first = text.before.size > 0 ? text.before.data[0] : 'x';
        edge_p[p] = edges_of(&text, rules[p].mark && strcmp(rules[p].mark, "title") == 0);
        bool number_ends = !text.numbered || (text.before.size > 0 &&
                                              !(first >= '0' && first <= '9') && !(first & 0x80));
        sella_piece_text_release(&text);
        if (!number_ends) {
            status = sella_err_set(
                err, SELLA_FORMAT,
                "piece '%s': {number} is not followed by a plain separator such as '. '",
                rules[p].name);
            goto done;
        }
        if (edge_p[p].begin == EDGE_NOTHING &&
            (p == SELLA_PIECE_EMPTY || p == SELLA_PIECE_YES || p == SELLA_PIECE_NO)) {
            status = sella_err_set(err, SELLA_FORMAT, "piece '%s' is empty", rules[p].name);
            goto done;
        }
    }
    for (int h = SELLA_PIECE_HISTORY; h <= SELLA_PIECE_EMPTY; h++) {
        SELLA_TRY(check_join(edge_p, SELLA_PIECE_START, h, err));
        SELLA_TRY(check_join(edge_p, SELLA_PIECE_START_SLOTS, h, err));
        SELLA_TRY(check_join(edge_p, h, SELLA_PIECE_BETWEEN, err));
    }
    SELLA_TRY(check_join(edge_p, SELLA_PIECE_HISTORY, SELLA_PIECE_HISTORY, err));
    bool between = edge_p[SELLA_PIECE_BETWEEN].begin != EDGE_NOTHING;
    for (int first = between ? SELLA_PIECE_BETWEEN : SELLA_PIECE_HISTORY;
         first < SELLA_PIECE_TARGET; first++) {
        int second = first < SELLA_PIECE_USER ? SELLA_PIECE_USER : first + 1;
        for (; second <= SELLA_PIECE_TARGET; second++) {
            SELLA_TRY(check_join(edge_p, first, second, err));
        }
    }
    SELLA_TRY(check_join(edge_p, SELLA_PIECE_TARGET, SELLA_PIECE_END, err));
done:
    return status;
}

/* What a piece is that the file lacks. */
static const char *preset_of(const sella_template *tmpl, int p)
{
    const int slot = p == SELLA_PIECE_USER_CODE   ? SELLA_PIECE_USER
                     : p == SELLA_PIECE_ITEM_CODE ? SELLA_PIECE_ITEM
                                                  : p;
    if (slot != p && strcmp(tmpl->piece[slot], rules[slot].preset) != 0) {
        return tmpl->piece[slot];
    }
    return p == SELLA_PIECE_START_SLOTS ? tmpl->piece[SELLA_PIECE_START] : rules[p].preset;
}

static sella_status check_all(sella_template *tmpl, sella_err *err)
{
    for (int p = 0; p < SELLA_PIECES; p++) {
        const char *preset = preset_of(tmpl, p);
        if (!tmpl->piece[p] && rules[p].required) {
            return sella_err_set(err, SELLA_FORMAT, "the piece '%s' is missing", rules[p].name);
        }
        if (!tmpl->piece[p] && !(tmpl->piece[p] = strdup(preset ? preset : ""))) {
            return sella_err_memory(err, "a template", strlen(preset));
        }
    }
    sella_status status = check_form(tmpl, false, err);
    status = status == SELLA_OK ? check_form(tmpl, true, err) : status;
    if (status != SELLA_OK) {
        return status;
    }
    if (strcmp(tmpl->piece[SELLA_PIECE_YES], tmpl->piece[SELLA_PIECE_NO]) == 0) {
        return sella_err_set(err, SELLA_FORMAT, "the pieces 'yes' and 'no' are equal");
    }
    return SELLA_OK;
}

sella_status sella_template_check_codes(const sella_template *tmpl, sella_err *err)
{
    static const sella_piece chain[] = {SELLA_PIECE_HISTORY,   SELLA_PIECE_EMPTY,
                                        SELLA_PIECE_BETWEEN,   SELLA_PIECE_USER_CODE,
                                        SELLA_PIECE_ITEM_CODE, SELLA_PIECE_TARGET};
    sella_status status = SELLA_OK;
    for (int chat = 0; chat < 2; chat++) {
        edges edge_p[SELLA_PIECES] = {0};
        for (size_t i = 0; i < sizeof chain / sizeof *chain; i++) {
            sella_piece_text text;
            SELLA_TRY(sella_template_expand(tmpl, chain[i], "item", chat, &text, err));
            edge_p[chain[i]] = edges_of(&text, true); // a code is text, as a title
            sella_piece_text_release(&text);
        }
        const bool between = edge_p[SELLA_PIECE_BETWEEN].begin != EDGE_NOTHING;
        for (int p = between ? SELLA_PIECE_BETWEEN : SELLA_PIECE_HISTORY; p <= SELLA_PIECE_BETWEEN;
             p++) {
            SELLA_TRY(check_join(edge_p, p, SELLA_PIECE_USER_CODE, err));
        }
        SELLA_TRY(check_join(edge_p, SELLA_PIECE_USER_CODE, SELLA_PIECE_ITEM_CODE, err));
        SELLA_TRY(check_join(edge_p, SELLA_PIECE_ITEM_CODE, SELLA_PIECE_TARGET, err));
    }
done:
    return status;
}

/* ---- the file ---- */

/* Append one "..." with its escapes; *at moves behind the closing quote. */
static sella_status quoted(const char **at, const char *end, sella_text *out, sella_err *err)
{
    const char *p = *at + 1;
    for (; p < end && *p != '"'; p++) {
        char c = *p;
        if (c == '\\') {
            p++;
            c = p == end                  ? 0
                : *p == 'n'               ? '\n'
                : *p == 't'               ? '\t'
                : *p == '"' || *p == '\\' ? *p
                                          : 0;
            if (!c) {
                return sella_err_set(err, SELLA_FORMAT,
                                     "unknown escape; expected \\n, \\t, \\\" or \\\\");
            }
        }
        sella_status status = sella_text_append(out, &c, 1, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    if (p == end) {
        return sella_err_set(err, SELLA_FORMAT, "the text has no closing quote");
    }
    if (out->size > PIECE_MAX) {
        return sella_err_set(err, SELLA_FORMAT, "the piece has more than %d bytes", (int)PIECE_MAX);
    }
    *at = p + 1;
    return SELLA_OK;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    return at;
}

static int find_piece(const char *name, size_t bytes)
{
    for (int p = 0; p < SELLA_PIECES; p++) {
        if (strlen(rules[p].name) == bytes && memcmp(rules[p].name, name, bytes) == 0) {
            return p;
        }
    }
    return -1;
}

/* One line: a comment, `name = "text"`, or `"text"` that continues the piece above. */
static sella_status parse_line(sella_template *tmpl, const char *line, size_t bytes, int *piece,
                               sella_text *text, sella_err *err)
{
    const char *end = line + bytes, *at = skip_blanks(line, end);
    if (at == end || *at == '#') {
        return SELLA_OK;
    }
    if (*at != '"') {
        const char *name = at;
        while (at < end && ((*at >= 'a' && *at <= 'z') || *at == '_')) {
            at++;
        }
        size_t length = (size_t)(at - name);
        int found = find_piece(name, length);
        at = skip_blanks(at, end);
        if (length == 0 || at == end || *at != '=') {
            return sella_err_set(err, SELLA_FORMAT, "expected name = \"text\"");
        }
        if (found < 0) {
            return sella_err_set(err, SELLA_FORMAT, "there is no piece named '%.*s'",
                                 (int)(length < 40 ? length : 40), name);
        }
        if (tmpl->piece[found]) {
            return sella_err_set(err, SELLA_FORMAT, "the piece '%s' occurs twice",
                                 rules[found].name);
        }
        *piece = found;
        text->size = 0;
        at = skip_blanks(at + 1, end);
    }
    if (*piece < 0 || at == end || *at != '"') {
        return sella_err_set(err, SELLA_FORMAT, "expected name = \"text\"");
    }
    sella_status status = quoted(&at, end, text, err);
    if (status != SELLA_OK) {
        return status;
    }
    at = skip_blanks(at, end);
    if (at < end && *at != '#') {
        return sella_err_set(err, SELLA_FORMAT, "text stands behind the closing quote");
    }
    free(tmpl->piece[*piece]);
    /* what an empty text leaves behind is of the piece before */
    tmpl->piece[*piece] = strndup(text->data ? text->data : "", text->size);
    return tmpl->piece[*piece] ? SELLA_OK : sella_err_memory(err, "a template", text->size);
}

static sella_status parse(sella_template *tmpl, const char *where, sella_err *err)
{
    static const char head[] = "sella-template 1";
    sella_status status = SELLA_OK;
    sella_lines lines;
    sella_text text = {0};
    const char *line;
    size_t bytes, size = strlen(tmpl->source);
    int piece = -1;
    sella_lines_init(&lines, where, tmpl->source, size, PIECE_MAX * 2);
    SELLA_TRY(sella_lines_next(&lines, &line, &bytes, err));
    if (!line || bytes != sizeof head - 1 || memcmp(line, head, bytes) != 0) {
        status = sella_err_set(err, SELLA_FORMAT,
                               "%s:1: is not a template; its first line must be '%s'", where, head);
        goto done;
    }
    for (;;) {
        SELLA_TRY(sella_lines_next(&lines, &line, &bytes, err));
        if (!line) {
            break;
        }
        status = parse_line(tmpl, line, bytes, &piece, &text, err);
        if (status != SELLA_OK) {
            sella_err_prefix(err, status, "%s:%lld", where, (long long)lines.line);
            goto done;
        }
    }
    status = check_all(tmpl, err);
    if (status != SELLA_OK) {
        sella_err_prefix(err, status, "%s", where);
    }
done:
    sella_text_release(&text);
    return status;
}

static sella_status read_source(const char *name, char **source, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    for (int i = 0; sella_template_names[i]; i++) {
        if (strcmp(name, sella_template_names[i]) == 0) {
            *source = strdup(sella_template_texts[i]);
            return *source ? SELLA_OK
                           : sella_err_memory(err, "a template", strlen(sella_template_texts[i]));
        }
    }
    if (!sella_path_exists(name)) {
        return sella_err_set(err, SELLA_MISSING,
                             "template '%s' is neither paper nor compact nor a file that is there",
                             name);
    }
    SELLA_TRY(sella_map_open(name, &map, err));
    if (map.size == 0 || map.size > TEMPLATE_MAX) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: has %zu bytes; a template has 1 to %d", name,
                               map.size, (int)TEMPLATE_MAX);
        goto done;
    }
    size_t bad = sella_utf8_valid((const char *)map.data, map.size);
    for (size_t i = 0; i < map.size && bad == map.size; i++) {
        bad =
            map.data[i] < 0x20 && map.data[i] != '\n' && map.data[i] != '\r' && map.data[i] != '\t'
                ? i
                : bad;
    }
    if (bad != map.size) {
        status = sella_err_set(err, SELLA_FORMAT,
                               "%s: byte %zu is a control character or not UTF-8", name, bad);
        goto done;
    }
    *source = strndup((const char *)map.data, map.size);
    status = *source ? SELLA_OK : sella_err_memory(err, "a template", map.size);
done:
    sella_map_close(&map);
    return status;
}

sella_status sella_template_open(const char *name, sella_template **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = NULL;
    sella_template *tmpl = sella_alloc(1, sizeof *tmpl, "a template", err);
    if (!tmpl) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(read_source(name, &tmpl->source, err));
    SELLA_TRY(parse(tmpl, name, err));
    *out = tmpl;
    tmpl = NULL;
done:
    sella_template_free(tmpl);
    return status;
}
