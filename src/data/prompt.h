/* prompt.h - templates and the rendering of rows into tokens.
 *
 * Does:     A template is a small text file of named pieces: what stands before the history, one
 *           history title, what stands for an empty history, between, the target with or without
 *           soft tokens, the suffix, and the two answers. A prompter joins a template with a
 *           tokenizer and a catalogue: it tokenizes every piece and title once, then renders rows
 *           by concatenation, so that equal histories give equal token prefixes.
 * Memory:   the prompter owns its token cache; tokenizer and titles are borrowed and must outlive
 *           it.
 * Threads:  rendering is pure after sella_prompter_new.
 * Paper:    Figs 2, 3, 4; REFERENCE section 2 (contents; the wording is ours). SPEC section 3:
 *           `paper` (ChatML, title list, soft tokens before the target title), `compact` (history
 *           first, then the target, a suffix of a few tokens; soft tokens after the history, so
 *           that what stands before them is shared).
 */
#ifndef SELLA_DATA_PROMPT_H
#define SELLA_DATA_PROMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "data/history.h"
#include "data/tree.h"
#include "tokenizer/tokenizer.h"

typedef struct sella_template sella_template;
/* name: "paper", "compact", or a path of a template file (docs/formats.md has its grammar). */
sella_status sella_template_open(const char *name, sella_template **out, sella_err *err);
void sella_template_free(sella_template *tmpl);
/* The template's whole source text, for saving in a run; re-opening that file gives the same
 * template. */
const char *sella_template_text(const sella_template *tmpl);

/* Which soft tokens the prompt holds (ablations remove some): bits (1u << SELLA_SLOT_x). 0: the
 * stage-1 prompt. */
typedef unsigned sella_slot_set;
#define SELLA_SLOT_SET_USER_ITEM (1u << SELLA_SLOT_USER | 1u << SELLA_SLOT_ITEM)
#define SELLA_SLOT_SET_ALL (SELLA_SLOT_SET_USER_ITEM | 1u << SELLA_SLOT_WARM)

/* Tokens of a title that prompts show (longer ones are cut at a character), and titles of a history
 * that one prompt may hold. */
enum { SELLA_TITLE_TOKENS = 64, SELLA_PROMPT_TITLES = 2048 };
/* Soft tokens that a slot may hold. */
enum { SELLA_SLOT_TOKENS = 64 };

typedef struct sella_prompter sella_prompter;
/* titles [items]; noun is put where the template says {noun}. Checks that the two answers are
 * distinct single tokens. */
sella_status sella_prompter_new(const sella_template *tmpl, const sella_tokenizer *tokenizer,
                                const char *const *titles, int32_t items, const char *noun,
                                sella_prompter **out, sella_err *err);
void sella_prompter_free(sella_prompter *prompter);
/* SELLA_FORMAT when the template cannot have texts in the slots of user and item. */
sella_status sella_prompter_check_codes(const sella_prompter *prompter, sella_err *err);
/* Token ids of the two answers. */
void sella_prompter_answers(const sella_prompter *prompter, int32_t *yes, int32_t *no);

/* One row: the window is already applied. Titles that the catalogue lacks (--free-titles) are given
 *          as text:
 * history_text[i] != NULL replaces history_n[i]; target_text likewise. */
typedef struct sella_prompt_row {
    const int32_t *history_n;
    const char *const *history_text; /* NULL: none */
    int history_count;
    int32_t item;
    const char *target_text; /* NULL: the title of item; then `item` is not looked at */
    sella_slot_set slots;
    int slot_tokens;          /* soft tokens of each slot, 1 to SELLA_SLOT_TOKENS; 0: 1 */
    /* NULL: soft tokens; otherwise what stands in the slot (user and item only) */
    const char *slot_text[SELLA_SLOTS];
    bool start_slots;         /* begin as prompts with soft tokens do, also when slots is 0 */
    int32_t ref[SELLA_SLOTS]; /* by sella_slot */
    int32_t group;
    int64_t row;
    float label;
    float weight;
} sella_prompt_row;

/* Append the rendered row to rows. */
sella_status sella_prompt_render(const sella_prompter *prompter, const sella_prompt_row *row,
                                 sella_rows *rows, sella_err *err);
/* Tokens of a row from its target piece on: what stands before depends on the item through its soft
 * tokens alone. */
int sella_prompt_tail(const sella_prompter *prompter, int32_t item);
/* A part of a rendered row: its tokens first .. last. */
typedef struct sella_prompt_part {
    /* "start", "history" (one title), "empty", "between", "user", "item", "warm" (each the soft
     * tokens alone; a code with the words around it), "user text", "item text", "warm text" (what
     * the template says around it), "target", "end" */
    const char *name;
    int history;      /* place of the title in the row's history; -1 for other parts */
    int first, last;
} sella_prompt_part;
/* The parts of a row in order, none empty; together they are all its tokens. *part_p [*parts]:
 * free(). */
sella_status sella_prompt_parts(const sella_prompter *prompter, const sella_prompt_row *row,
                                sella_prompt_part **part_p, int *parts, sella_err *err);

/* The row's whole text, as people read it; tokenized as one text (special tokens on) it gives the
 * row's ids, unless a title spells out a special token, which in rows is ordinary text. */
sella_status sella_prompt_text(const sella_prompter *prompter, const sella_prompt_row *row,
                               sella_text *text, sella_err *err);
/* Append the distillation prompt of one item (Fig. 3); wording: 0 = title ("Movie: <title>"), 1 =
 * eol (one-word form). */
sella_status sella_prompt_distil(const sella_prompter *prompter, int32_t item, int wording,
                                 sella_rows *rows, sella_err *err);
/* Average tokens that a candidate costs over the catalogue: all after the history (SPEC: at most 15
 * for compact on ML-1M). */
double sella_prompter_candidate_tokens(const sella_prompter *prompter, sella_slot_set slots);

#endif
