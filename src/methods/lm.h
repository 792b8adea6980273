/* lm.h - the language-model half of a method: template, prompter, adapter and the direction that a
 * logit is read along.
 *
 * Does:     open -> render queries to rows -> logits of answers. z = (head[yes] - head[no]) .
 *           hidden, so that sigmoid(z) is the two-way softmax of eq (3).
 * Memory:   owns template, prompter and adapter; tokenizer, backbone and titles are borrowed and
 *           must outlive it.
 * Threads:  rendering is pure.
 * Paper:    eqs (1) to (3).
 */
#ifndef SELLA_METHODS_LM_H
#define SELLA_METHODS_LM_H

#include "backbone/pass.h"
#include "data/prompt.h"
#include "methods/codes.h"
#include "methods/scorer.h"

typedef struct sella_lm {
    sella_backbone *backbone; /* NULL: rendering only */
    sella_template *tmpl;
    sella_prompter *prompter;
    sella_lora *lora;         /* NULL: the bare backbone */
    sella_window window;
    int32_t length;
    sella_slot_set slots;     /* of soft tokens */
    int tokens;               /* soft tokens of a slot */
    const sella_codes *codes; /* texts in the slots of user and item instead; NULL: none */
    int C;
    int32_t yes, no;          /* label tokens */
    float *direction;         /* [C] head[yes] - head[no]; NULL without a backbone */
} sella_lm;

/* template: name or path. backbone may be NULL: then only rendering works and `tokenizer` is used.
 * The adapter is NULL at first; a slot holds one soft token unless out->tokens is set. */
sella_status sella_lm_open(const sella_settings *settings, const char *tmpl,
                           sella_backbone *backbone, const sella_tokenizer *tokenizer,
                           const char *const *titles, int32_t items, const char *noun,
                           sella_slot_set slots, sella_lm *out, sella_err *err);
void sella_lm_release(sella_lm *lm);

/* Texts in the slots of user and item from now on: codes are borrowed. SELLA_FORMAT when the
 * template does not fit. */
sella_status sella_lm_codes(sella_lm *lm, const sella_codes *codes, sella_err *err);

/* What the prompt of one query shows: the history window of the settings is applied here. ref
 * [SELLA_SLOTS] or NULL without soft tokens. Pointers in *out are borrowed from the query. */
sella_status sella_lm_row(const sella_lm *lm, const sella_query *query, const int32_t *ref,
                          int64_t row, float label, sella_prompt_row *out, sella_err *err);
/* Append that prompt. */
sella_status sella_lm_render(const sella_lm *lm, const sella_query *query, const int32_t *ref,
                             int64_t row, float label, sella_rows *rows, sella_err *err);

/* Only the tokenizer of a backbone (GGUF file or folder), for planning without its weights. */
sella_status sella_lm_tokenizer(const char *model, sella_tokenizer **out, sella_err *err);

/* history.window and history.length of the settings. */
void sella_lm_window(const sella_settings *settings, sella_window *window, int32_t *length);
/* lora.* of the settings. */
sella_status sella_lm_lora_config(const sella_settings *settings, sella_lora_config *out,
                                  sella_err *err);

/* Save the template that a run uses as RUN/template.txt, unless it is there. */
sella_status sella_lm_save_template(const sella_run *run, sella_err *err);
/* Open for a run: its template.txt, titles and noun; adapter: load RUN/adapter. */
sella_status sella_lm_open_run(const sella_run *run, sella_backbone *backbone, sella_slot_set slots,
                               bool adapter, sella_lm *out, sella_err *err);

/* Queries of rows of the data set that a run is trained on, in the run's own numbers; histories are
 * borrowed from the data set. *query_n [k]: free(). */
sella_status sella_lm_queries(const sella_dataset *dataset, sella_split_id split,
                              const int64_t *index_k, int64_t k, sella_query **query_n,
                              sella_err *err);

#endif
