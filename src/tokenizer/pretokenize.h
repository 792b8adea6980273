/* pretokenize.h - splitting of a text into pre-tokens by regular expressions.
 *
 * Does:     _add for each step -> _run. Each step splits every piece of the step before it; a match
 *           and what lies between two matches are pieces of their own ("Isolated"). Patterns are
 *           written for Oniguruma, as tokenizer.json has them, and are translated for PCRE2; what
 *           the two engines understand differently is refused.
 * Threads:  _run is safe from many threads on one splitter.
 * Limits:   characters are classed as in PCRE2's Unicode version (14 in Debian 12), \s as
 *           White_Space.
 */
#ifndef SELLA_TOKENIZER_PRETOKENIZE_H
#define SELLA_TOKENIZER_PRETOKENIZE_H

#include "base/error.h"

enum { SELLA_SPLITTER_STEPS_MAX = 8 };

typedef struct sella_splitter sella_splitter;

/* Pattern of the GPT-2, Llama 3 and Qwen2 pre-tokenizers, and one that isolates each digit.
 * Oniguruma's syntax. */
extern const char sella_pattern_gpt2[];
extern const char sella_pattern_llama3[];
extern const char sella_pattern_qwen2[];
extern const char sella_pattern_digit[];
extern const char sella_pattern_digits[];

sella_status sella_splitter_new(sella_splitter **out, sella_err *err);
void sella_splitter_free(sella_splitter *splitter);
/* `where` begins the sentence on error. */
sella_status sella_splitter_add(sella_splitter *splitter, const char *pattern, size_t bytes,
                                const char *where, sella_err *err);

typedef sella_status (*sella_piece_call)(void *user, const char *text, size_t bytes,
                                         sella_err *err);
/* Call for each piece in order; pieces are never empty. text is valid UTF-8. SELLA_FORMAT when a
 * pattern needs too many steps. */
sella_status sella_splitter_run(const sella_splitter *splitter, const char *text, size_t bytes,
                                sella_piece_call call, void *user, sella_err *err);

#endif
