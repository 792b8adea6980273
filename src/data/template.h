/* template.h - a parsed prompt template: its pieces with placeholders.
 *
 * Does:     sella_template_open (data/prompt.h) parses and checks; prompt.c expands the pieces for
 *           one tokenizer and noun. The grammar of template files is in docs/formats.md.
 * Memory:   texts are borrowed from the template.
 * Threads:  pure.
 * Not here: tokens (prompt.c).
 */
#ifndef SELLA_DATA_TEMPLATE_H
#define SELLA_DATA_TEMPLATE_H

#include <stdbool.h>

#include "base/text.h"
#include "data/prompt.h"

typedef enum sella_piece {
    SELLA_PIECE_START,       /* before the history, without soft tokens */
    SELLA_PIECE_START_SLOTS, /* the same when the prompt has soft tokens */
    SELLA_PIECE_HISTORY,     /* one title of the history: {title}, perhaps {number} in front */
    SELLA_PIECE_EMPTY,       /* stands for an empty history */
    SELLA_PIECE_BETWEEN,     /* behind the history */
    SELLA_PIECE_USER,        /* holds {user} */
    SELLA_PIECE_ITEM,        /* holds {item} */
    SELLA_PIECE_WARM,        /* holds {warm} */
    SELLA_PIECE_TARGET,      /* the target's {title} */
    SELLA_PIECE_END,         /* up to the answer position */
    SELLA_PIECE_YES,
    SELLA_PIECE_NO,
    SELLA_PIECE_DISTIL,      /* distillation prompt, {title} */
    SELLA_PIECE_DISTIL_EOL,  /* the one-word form, {title} */
    SELLA_PIECE_USER_CODE,   /* {user} where a text stands in the slot of the user */
    SELLA_PIECE_ITEM_CODE,   /* {item} likewise */
    SELLA_PIECES
} sella_piece;

/* A piece for one noun and chat form: text, the mark ({title}, {user}, ...) if the piece has one,
 * text behind it. */
typedef struct sella_piece_text {
    sella_text before, after;
    bool marked;
    bool numbered; /* {number} stands in front of `before` */
} sella_piece_text;
void sella_piece_text_release(sella_piece_text *text);

/* chat: turns are written as <|im_start|>role ... <|im_end|>; otherwise as "### ..." headings. */
sella_status sella_template_expand(const sella_template *tmpl, sella_piece piece, const char *noun,
                                   bool chat, sella_piece_text *out, sella_err *err);

/* The pieces with texts in the slots of user and item may stand side by side. Other prompts do
 * without. */
sella_status sella_template_check_codes(const sella_template *tmpl, sella_err *err);

/* Source texts of the built-in templates: names[i] has texts[i]; names ends with NULL. */
extern const char *const sella_template_names[];
extern const char *const sella_template_texts[];

#endif
