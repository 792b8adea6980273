/* model.h - a pretrained backbone by itself: tokenize a text, run it, look at the logits.
 *
 * Does:     How anyone checks the engine against another one (`sella inspect MODEL --text`).
 * Memory:   the JSON text is owned by the caller: free().
 * Threads:  internally parallel.
 */
#ifndef SELLA_MODEL_H
#define SELLA_MODEL_H

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *json: {"ids","tokens","top":[{"id","token","logit"} x10, descending],"hidden":[last layer, last
 * token, after the final norm]}, no special tokens added; with logits_of ("Yes,No") also
 * "logits_of": {text: logit of the first token of that text}. text: UTF-8, at least one token.
 * weights: "expanded" to f32, as "stored", or "auto" (NULL): by free memory. */
SELLA_API sella_status sella_model_text(const char *model, const char *text, const char *logits_of,
                                        const char *weights, const sella_talk *talk, char **json,
                                        sella_err *err);

#ifdef __cplusplus
}
#endif
#endif
