/* token_text.h - tokens as text that JSON can hold.
 *
 * Does:     Decodes ids; bytes that are no whole character (a token may hold a piece of one) become
 *           U+FFFD.
 * Memory:   *out is a new reference.
 * Threads:  pure.
 */
#ifndef SELLA_ENGINE_TOKEN_TEXT_H
#define SELLA_ENGINE_TOKEN_TEXT_H

#include <jansson.h>

#include "tokenizer/tokenizer.h"

/* One string of the n ids. */
sella_status sella_token_text(const sella_tokenizer *tokenizer, const int32_t *id_n, int n,
                              json_t **out, sella_err *err);

#endif
