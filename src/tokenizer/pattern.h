/* pattern.h - Oniguruma patterns of tokenizer.json as PCRE2 patterns.
 *
 * Does:     Copies what both engines read alike, writes \s and \S as the Unicode property
 *           White_Space (PCRE2's \s also holds U+180E), and refuses by name what they read
 *           differently: \w \b \h \R ..., ^ and $, nested or intersected classes, verbs, recursion.
 * Threads:  pure.
 */
#ifndef SELLA_TOKENIZER_PATTERN_H
#define SELLA_TOKENIZER_PATTERN_H

#include "base/error.h"
#include "base/text.h"

enum { SELLA_PATTERN_BYTES_MAX = 8192 };

/* `where` begins the sentence on error. Appends to out. */
sella_status sella_pattern_translate(const char *pattern, size_t bytes, const char *where,
                                     sella_text *out, sella_err *err);

#endif
