/* prompt.c - the rendering of rows into tokens (data/prompt.h).
 *
 * Every piece and title is tokenized once; a row is the concatenation of cached ids. Template rules
 * (template.c) make sure that the ids are those of the whole text. Titles are tokenized as ordinary
 * text, so none can write a special token.
 *
 * Easy to get wrong: a title is tokenized together with what its piece has around it ("Like " +
 * title + "? Answer:"), since byte-pair merges cross their borders.
 */
#include "data/prompt.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/arena.h"
#include "data/template.h"

/* Ids of many texts behind one another. */
typedef struct id_pool {
    sella_ids ids;
    int64_t *start; // [count + 1]
} id_pool;

struct sella_prompter {
    const sella_template *tmpl;
    const sella_tokenizer *tokenizer;
    const char *const *titles;
    int32_t items;
    sella_piece_text piece[SELLA_PIECES];
    sella_ids before[SELLA_PIECES], after[SELLA_PIECES]; // ids of pieces without a title
    id_pool history, target;                             // by item: the title in its piece
    /* "1", "2", ... when the history is numbered */
    id_pool number;
    int32_t yes, no;
    int32_t slot_id[SELLA_SLOTS];
};

static const sella_piece slot_piece[SELLA_SLOTS] = {SELLA_PIECES, SELLA_PIECE_USER,
                                                    SELLA_PIECE_ITEM, SELLA_PIECE_WARM};

static void pool_release(id_pool *pool)
{
    sella_ids_release(&pool->ids);
    free(pool->start);
}

void sella_prompter_free(sella_prompter *prompter)
{
    if (!prompter) {
        return;
    }
    for (int p = 0; p < SELLA_PIECES; p++) {
        sella_piece_text_release(&prompter->piece[p]);
        sella_ids_release(&prompter->before[p]);
        sella_ids_release(&prompter->after[p]);
    }
    pool_release(&prompter->history);
    pool_release(&prompter->target);
    pool_release(&prompter->number);
    free(prompter);
}

/* ---- titles ---- */

static bool is_blank(utf8proc_int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP || category == UTF8PROC_CATEGORY_CC;
}

/* One line without blanks around; line breaks and other control characters inside become blanks. */
static sella_status clean_title(const char *title, sella_text *out, sella_err *err)
{
    size_t bytes = strlen(title), keep = 0;
    out->size = 0;
    if (sella_utf8_valid(title, bytes) != bytes) {
        return sella_err_set(err, SELLA_FORMAT, "the title '%.60s' is not UTF-8", title);
    }
    for (size_t at = 0; at < bytes;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)title + at,
                                              (utf8proc_ssize_t)(bytes - at), &c);
        assert(n > 0);
        bool blank = is_blank(c),
             control = utf8proc_category(c) == UTF8PROC_CATEGORY_CC || c == 0x2028 || c == 0x2029;
        if (!blank || out->size > 0) {
            sella_status status =
                sella_text_append(out, control ? " " : title + at, control ? 1 : (size_t)n, err);
            if (status != SELLA_OK) {
                return status;
            }
            keep = blank ? keep : out->size;
        }
        at += (size_t)n;
    }
    if (keep == 0) {
        return sella_text_append(out, "untitled", 8, err);
    }
    out->size = keep;
    out->data[keep] = '\0';
    return SELLA_OK;
}

static sella_status count_ids(const sella_tokenizer *tokenizer, const char *text, size_t bytes,
                              sella_ids *ids, sella_err *err)
{
    ids->count = 0;
    return sella_tokenizer_encode(tokenizer, text, bytes, false, ids, err);
}

/* Clean, and cut to the longest beginning (in characters) that a bisection finds within
 * SELLA_TITLE_TOKENS. */
static sella_status prepare_title(const sella_prompter *prompter, const char *title,
                                  sella_text *out, sella_ids *scratch, sella_err *err)
{
    sella_status status = clean_title(title, out, err);
    if (status != SELLA_OK || out->size <= SELLA_TITLE_TOKENS) { // a token has at least one byte
        return status;
    }
    SELLA_TRY(count_ids(prompter->tokenizer, out->data, out->size, scratch, err));
    size_t good = 0, bad = out->size;
    if (scratch->count <= SELLA_TITLE_TOKENS) {
        goto done;
    }
    for (;;) {
        size_t middle = good + (bad - good) / 2;
        while (middle > good && ((unsigned char)out->data[middle] & 0xc0) == 0x80) {
            middle--;
        }
        if (middle == good) {
            break;
        }
        SELLA_TRY(count_ids(prompter->tokenizer, out->data, middle, scratch, err));
        if (scratch->count <= SELLA_TITLE_TOKENS) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    while (good > 0 && out->data[good - 1] == ' ') {
        good--;
    }
    out->size = good;
    out->data[good] = '\0';
done:
    return status;
}

/* Append the ids of a piece around a title. */
static sella_status encode_titled(const sella_prompter *prompter, sella_piece piece,
                                  const char *title, sella_ids *ids, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_piece_text *text = &prompter->piece[piece];
    sella_text clean = {0}, whole = {0};
    sella_ids scratch = {0};
    SELLA_TRY(prepare_title(prompter, title, &clean, &scratch, err));
    SELLA_TRY(sella_text_append(&whole, text->before.data, text->before.size, err));
    SELLA_TRY(sella_text_append(&whole, clean.data, clean.size, err));
    SELLA_TRY(sella_text_append(&whole, text->after.data, text->after.size, err));
    SELLA_TRY(sella_tokenizer_encode(prompter->tokenizer, whole.data, whole.size, false, ids, err));
done:
    sella_text_release(&clean);
    sella_text_release(&whole);
    sella_ids_release(&scratch);
    return status;
}

/* ---- preparation ---- */

static sella_status pool_titles(sella_prompter *prompter, sella_piece piece, id_pool *pool,
                                sella_err *err)
{
    pool->start = sella_alloc((size_t)prompter->items + 1, sizeof *pool->start, "titles", err);
    if (!pool->start) {
        return SELLA_MEMORY;
    }
    for (int32_t i = 0; i < prompter->items; i++) {
        sella_status status = encode_titled(prompter, piece, prompter->titles[i], &pool->ids, err);
        if (status != SELLA_OK) {
            return status;
        }
        if (pool->ids.count > INT_MAX / 2) {
            return sella_err_set(err, SELLA_UNSUPPORTED,
                                 "the catalogue's titles have more than %d tokens", INT_MAX / 2);
        }
        pool->start[i + 1] = pool->ids.count;
    }
    return SELLA_OK;
}

static sella_status pool_numbers(sella_prompter *prompter, sella_err *err)
{
    id_pool *pool = &prompter->number;
    pool->start = sella_alloc(SELLA_PROMPT_TITLES + 1, sizeof *pool->start, "numbers", err);
    if (!pool->start) {
        return SELLA_MEMORY;
    }
    for (int n = 0; n < SELLA_PROMPT_TITLES; n++) {
        char text[16];
        int bytes = snprintf(text, sizeof text, "%d", n + 1);
        sella_status status = sella_tokenizer_encode(prompter->tokenizer, text, (size_t)bytes,
                                                     false, &pool->ids, err);
        if (status != SELLA_OK) {
            return status;
        }
        pool->start[n + 1] = pool->ids.count;
    }
    return SELLA_OK;
}

/* The answer must be one token: the score is a difference of two logits. */
static sella_status one_token(const sella_prompter *prompter, sella_piece piece, int32_t *id,
                              sella_err *err)
{
    sella_ids ids = {0};
    const sella_text *text = &prompter->piece[piece].before;
    sella_status status =
        sella_tokenizer_encode(prompter->tokenizer, text->data, text->size, false, &ids, err);
    if (status == SELLA_OK && ids.count != 1) {
        status = sella_err_set(
            err, SELLA_UNSUPPORTED,
            "the answer '%s' of the template has %d tokens in this model's vocabulary; expected 1",
            text->data, ids.count);
    }
    *id = status == SELLA_OK ? ids.id[0] : -1;
    sella_ids_release(&ids);
    return status;
}

static sella_status prepare(sella_prompter *prompter, const sella_template *tmpl, const char *noun,
                            sella_err *err)
{
    sella_status status = SELLA_OK;
    bool chat = sella_tokenizer_find(prompter->tokenizer, "<|im_start|>") >= 0 &&
                sella_tokenizer_find(prompter->tokenizer, "<|im_end|>") >= 0;
    for (int p = 0; p < SELLA_PIECES; p++) {
        sella_piece_text *text = &prompter->piece[p];
        bool titled = p == SELLA_PIECE_HISTORY || p == SELLA_PIECE_TARGET ||
                      p == SELLA_PIECE_DISTIL || p == SELLA_PIECE_DISTIL_EOL ||
                      p == SELLA_PIECE_USER_CODE || p == SELLA_PIECE_ITEM_CODE;
        SELLA_TRY(sella_template_expand(tmpl, (sella_piece)p, noun, chat, text, err));
        if (!titled) {
            SELLA_TRY(sella_tokenizer_encode(prompter->tokenizer, text->before.data,
                                             text->before.size, true, &prompter->before[p], err));
            SELLA_TRY(sella_tokenizer_encode(prompter->tokenizer, text->after.data,
                                             text->after.size, true, &prompter->after[p], err));
        }
    }
    SELLA_TRY(one_token(prompter, SELLA_PIECE_YES, &prompter->yes, err));
    SELLA_TRY(one_token(prompter, SELLA_PIECE_NO, &prompter->no, err));
    if (prompter->yes == prompter->no) {
        status = sella_err_set(
            err, SELLA_UNSUPPORTED,
            "the two answers of the template are the same token in this model's vocabulary");
        goto done;
    }
    SELLA_TRY(pool_titles(prompter, SELLA_PIECE_HISTORY, &prompter->history, err));
    SELLA_TRY(pool_titles(prompter, SELLA_PIECE_TARGET, &prompter->target, err));
    if (prompter->piece[SELLA_PIECE_HISTORY].numbered) {
        SELLA_TRY(pool_numbers(prompter, err));
    }
    int32_t reserved[SELLA_SLOTS - 1];
    int distinct = sella_tokenizer_reserved(prompter->tokenizer, reserved, SELLA_SLOTS - 1);
    for (int s = 1; s < SELLA_SLOTS; s++) {
        prompter->slot_id[s] = distinct == SELLA_SLOTS - 1 ? reserved[s - 1] : reserved[0];
    }
done:
    return status;
}

sella_status sella_prompter_new(const sella_template *tmpl, const sella_tokenizer *tokenizer,
                                const char *const *titles, int32_t items, const char *noun,
                                sella_prompter **out, sella_err *err)
{
    *out = NULL;
    sella_prompter *prompter = sella_alloc(1, sizeof *prompter, "a prompter", err);
    if (!prompter) {
        return SELLA_MEMORY;
    }
    prompter->tmpl = tmpl;
    prompter->tokenizer = tokenizer;
    prompter->titles = titles;
    prompter->items = items;
    sella_status status = prepare(prompter, tmpl, noun, err);
    if (status != SELLA_OK) {
        sella_prompter_free(prompter);
        return status;
    }
    *out = prompter;
    return SELLA_OK;
}

sella_status sella_prompter_check_codes(const sella_prompter *prompter, sella_err *err)
{
    return sella_template_check_codes(prompter->tmpl, err);
}

void sella_prompter_answers(const sella_prompter *prompter, int32_t *yes, int32_t *no)
{
    *yes = prompter->yes;
    *no = prompter->no;
}

/* ---- rows ---- */

/* A row under construction. */
typedef struct row_ids {
    sella_ids ids;
    uint8_t *slot; // [slots] sella_slot of each id
    int slots;
    bool wants_parts;
    sella_prompt_part *part; // [parts]
    int parts, part_room;
    int marked; // ids that belong to a part
} row_ids;

static sella_status take(row_ids *row, const int32_t *id_n, int n, uint8_t slot, sella_err *err)
{
    if (row->ids.count + n > row->slots) {
        int slots = (row->ids.count + n) * 2 + 256;
        uint8_t *bigger = realloc(row->slot, (size_t)slots);
        if (!bigger) {
            return sella_err_memory(err, "a prompt", (size_t)slots);
        }
        row->slot = bigger;
        row->slots = slots;
    }
    for (int i = 0; i < n; i++) {
        row->slot[row->ids.count] = slot;
        sella_status status = sella_ids_push(&row->ids, id_n[i], err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    return SELLA_OK;
}

/* What was taken since the last mark is a part of this name. */
static sella_status mark(row_ids *row, const char *name, int history, sella_err *err)
{
    if (!row->wants_parts || row->marked == row->ids.count) {
        return SELLA_OK;
    }
    if (row->parts == row->part_room) {
        int room = row->part_room * 2 + 16;
        sella_prompt_part *bigger = realloc(row->part, (size_t)room * sizeof *bigger);
        if (!bigger) {
            return sella_err_memory(err, "the parts of a prompt", (size_t)room * sizeof *bigger);
        }
        row->part = bigger;
        row->part_room = room;
    }
    row->part[row->parts++] = (sella_prompt_part){name, history, row->marked, row->ids.count - 1};
    row->marked = row->ids.count;
    return SELLA_OK;
}

static sella_status take_ids(row_ids *row, const sella_ids *ids, sella_err *err)
{
    return take(row, ids->id, ids->count, SELLA_SLOT_NONE, err);
}

/* A title in its piece: from the cache, or tokenized now for a text. */
static sella_status take_title(row_ids *row, const sella_prompter *prompter, sella_piece piece,
                               int32_t item, const char *text, sella_err *err)
{
    const id_pool *pool = piece == SELLA_PIECE_HISTORY ? &prompter->history : &prompter->target;
    if (!text) {
        assert(item >= 0 && item < prompter->items);
        return take(row, pool->ids.id + pool->start[item],
                    (int)(pool->start[item + 1] - pool->start[item]), SELLA_SLOT_NONE, err);
    }
    sella_ids ids = {0};
    sella_status status = encode_titled(prompter, piece, text, &ids, err);
    status = status == SELLA_OK ? take_ids(row, &ids, err) : status;
    sella_ids_release(&ids);
    return status;
}

static const sella_piece code_piece[SELLA_SLOTS] = {SELLA_PIECES, SELLA_PIECE_USER_CODE,
                                                    SELLA_PIECE_ITEM_CODE, SELLA_PIECES};

/* The text of a slot in its piece. */
static sella_status text_coded(const sella_prompter *prompter, int slot, const char *code,
                               sella_text *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_piece_text *piece = &prompter->piece[code_piece[slot]];
    assert(slot == SELLA_SLOT_USER || slot == SELLA_SLOT_ITEM);
    SELLA_TRY(sella_text_append(out, piece->before.data, piece->before.size, err));
    SELLA_TRY(sella_text_append(out, code, strlen(code), err));
    SELLA_TRY(sella_text_append(out, piece->after.data, piece->after.size, err));
done:
    return status;
}

static sella_status take_coded(row_ids *out, const sella_prompter *prompter, int slot,
                               const char *code, sella_err *err)
{
    sella_text text = {0};
    sella_ids ids = {0};
    sella_status status = text_coded(prompter, slot, code, &text, err);
    status = status == SELLA_OK ? sella_tokenizer_encode(prompter->tokenizer, text.data, text.size,
                                                         false, &ids, err)
                                : status;
    status = status == SELLA_OK ? take_ids(out, &ids, err) : status;
    sella_ids_release(&ids);
    sella_text_release(&text);
    return status;
}

static sella_piece start_piece(const sella_prompt_row *row)
{
    return row->slots || row->start_slots ? SELLA_PIECE_START_SLOTS : SELLA_PIECE_START;
}

/* The soft tokens with what the template says around them. */
static sella_status take_slots(row_ids *out, const sella_prompter *prompter,
                               const sella_prompt_row *row, sella_err *err)
{
    static const char *const token[SELLA_SLOTS] = {NULL, "user", "item", "warm"};
    static const char *const around[SELLA_SLOTS] = {NULL, "user text", "item text", "warm text"};
    sella_status status = SELLA_OK;
    for (int s = 1; s < SELLA_SLOTS; s++) {
        if (row->slots & (1u << s) && row->slot_text[s]) {
            SELLA_TRY(take_coded(out, prompter, s, row->slot_text[s], err));
            SELLA_TRY(mark(out, token[s], -1, err));
        } else if (row->slots & (1u << s)) {
            SELLA_TRY(take_ids(out, &prompter->before[slot_piece[s]], err));
            SELLA_TRY(mark(out, around[s], -1, err));
            for (int i = 0; i < (row->slot_tokens > 1 ? row->slot_tokens : 1); i++) {
                SELLA_TRY(take(out, &prompter->slot_id[s], 1, (uint8_t)s, err));
            }
            SELLA_TRY(mark(out, token[s], -1, err));
            SELLA_TRY(take_ids(out, &prompter->after[slot_piece[s]], err));
            SELLA_TRY(mark(out, around[s], -1, err));
        }
    }
done:
    return status;
}

static sella_status take_row(row_ids *out, const sella_prompter *prompter,
                             const sella_prompt_row *row, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (row->history_count > SELLA_PROMPT_TITLES) {
        return sella_err_set(err, SELLA_ARG, "a prompt shows %d titles; expected at most %d",
                             row->history_count, SELLA_PROMPT_TITLES);
    }
    SELLA_TRY(take_ids(out, &prompter->before[start_piece(row)], err));
    SELLA_TRY(mark(out, "start", -1, err));
    for (int h = 0; h < row->history_count; h++) {
        const char *text = row->history_text ? row->history_text[h] : NULL;
        if (prompter->number.start) {
            const id_pool *number = &prompter->number;
            SELLA_TRY(take(out, number->ids.id + number->start[h],
                           (int)(number->start[h + 1] - number->start[h]), SELLA_SLOT_NONE, err));
        }
        SELLA_TRY(take_title(out, prompter, SELLA_PIECE_HISTORY, text ? -1 : row->history_n[h],
                             text, err));
        SELLA_TRY(mark(out, "history", h, err));
    }
    if (row->history_count == 0) {
        SELLA_TRY(take_ids(out, &prompter->before[SELLA_PIECE_EMPTY], err));
        SELLA_TRY(mark(out, "empty", -1, err));
    }
    SELLA_TRY(take_ids(out, &prompter->before[SELLA_PIECE_BETWEEN], err));
    SELLA_TRY(mark(out, "between", -1, err));
    SELLA_TRY(take_slots(out, prompter, row, err));
    SELLA_TRY(take_title(out, prompter, SELLA_PIECE_TARGET, row->item, row->target_text, err));
    SELLA_TRY(mark(out, "target", -1, err));
    SELLA_TRY(take_ids(out, &prompter->before[SELLA_PIECE_END], err));
    SELLA_TRY(mark(out, "end", -1, err));
done:
    return status;
}

sella_status sella_prompt_render(const sella_prompter *prompter, const sella_prompt_row *row,
                                 sella_rows *rows, sella_err *err)
{
    row_ids out = {0};
    sella_status status = take_row(&out, prompter, row, err);
    if (status == SELLA_OK) {
        status = sella_rows_add(rows, out.ids.id, row->slots ? out.slot : NULL, out.ids.count,
                                row->slots ? row->ref : NULL, row->group, row->row, row->label,
                                row->weight, err);
    }
    sella_ids_release(&out.ids);
    free(out.slot);
    return status;
}

int sella_prompt_tail(const sella_prompter *prompter, int32_t item)
{
    assert(item >= 0 && item < prompter->items);
    return (int)(prompter->target.start[item + 1] - prompter->target.start[item]) +
           prompter->before[SELLA_PIECE_END].count;
}

sella_status sella_prompt_parts(const sella_prompter *prompter, const sella_prompt_row *row,
                                sella_prompt_part **part_p, int *parts, sella_err *err)
{
    row_ids out = {.wants_parts = true};
    sella_status status = take_row(&out, prompter, row, err);
    if (status != SELLA_OK) {
        free(out.part);
        out.part = NULL;
        out.parts = 0;
    }
    *part_p = out.part;
    *parts = out.parts;
    sella_ids_release(&out.ids);
    free(out.slot);
    return status;
}

sella_status sella_prompt_distil(const sella_prompter *prompter, int32_t item, int wording,
                                 sella_rows *rows, sella_err *err)
{
    sella_ids ids = {0};
    assert(item >= 0 && item < prompter->items);
    sella_status status =
        encode_titled(prompter, wording ? SELLA_PIECE_DISTIL_EOL : SELLA_PIECE_DISTIL,
                      prompter->titles[item], &ids, err);
    if (status == SELLA_OK) {
        status = sella_rows_add(rows, ids.id, NULL, ids.count, NULL, 0, item, 0.0f, 1.0f, err);
    }
    sella_ids_release(&ids);
    return status;
}

double sella_prompter_candidate_tokens(const sella_prompter *prompter, sella_slot_set slots)
{
    double tokens =
        prompter->before[SELLA_PIECE_BETWEEN].count + prompter->before[SELLA_PIECE_END].count;
    for (int s = 1; s < SELLA_SLOTS; s++) {
        if (slots & (1u << s)) {
            tokens +=
                prompter->before[slot_piece[s]].count + 1 + prompter->after[slot_piece[s]].count;
        }
    }
    return prompter->items > 0 ? tokens + (double)prompter->target.ids.count / prompter->items
                               : tokens;
}

/* ---- the same row as text ---- */

static sella_status text_titled(const sella_prompter *prompter, sella_piece piece,
                                const char *title, sella_text *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text clean = {0};
    sella_ids scratch = {0};
    SELLA_TRY(prepare_title(prompter, title, &clean, &scratch, err));
    SELLA_TRY(sella_text_append(out, prompter->piece[piece].before.data,
                                prompter->piece[piece].before.size, err));
    SELLA_TRY(sella_text_append(out, clean.data, clean.size, err));
    SELLA_TRY(sella_text_append(out, prompter->piece[piece].after.data,
                                prompter->piece[piece].after.size, err));
done:
    sella_text_release(&clean);
    sella_ids_release(&scratch);
    return status;
}

static sella_status text_plain(const sella_text *piece, sella_text *out, sella_err *err)
{
    return sella_text_append(out, piece->data, piece->size, err);
}

sella_status sella_prompt_text(const sella_prompter *prompter, const sella_prompt_row *row,
                               sella_text *text, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(text_plain(&prompter->piece[start_piece(row)].before, text, err));
    for (int h = 0; h < row->history_count; h++) {
        const char *title = row->history_text && row->history_text[h]
                                ? row->history_text[h]
                                : prompter->titles[row->history_n[h]];
        if (prompter->number.start) {
            SELLA_TRY(sella_text_format(text, err, "%d", h + 1));
        }
        SELLA_TRY(text_titled(prompter, SELLA_PIECE_HISTORY, title, text, err));
    }
    if (row->history_count == 0) {
        SELLA_TRY(text_plain(&prompter->piece[SELLA_PIECE_EMPTY].before, text, err));
    }
    SELLA_TRY(text_plain(&prompter->piece[SELLA_PIECE_BETWEEN].before, text, err));
    for (int s = 1; s < SELLA_SLOTS; s++) {
        if (row->slots & (1u << s) && row->slot_text[s]) {
            SELLA_TRY(text_coded(prompter, s, row->slot_text[s], text, err));
        } else if (row->slots & (1u << s)) {
            SELLA_TRY(text_plain(&prompter->piece[slot_piece[s]].before, text, err));
            for (int i = 0; i < (row->slot_tokens > 1 ? row->slot_tokens : 1); i++) {
                SELLA_TRY(sella_tokenizer_decode(prompter->tokenizer, &prompter->slot_id[s], 1,
                                                 text, err));
            }
            SELLA_TRY(text_plain(&prompter->piece[slot_piece[s]].after, text, err));
        }
    }
    SELLA_TRY(text_titled(prompter, SELLA_PIECE_TARGET,
                          row->target_text ? row->target_text : prompter->titles[row->item], text,
                          err));
    SELLA_TRY(text_plain(&prompter->piece[SELLA_PIECE_END].before, text, err));
done:
    return status;
}
