/* normalize.h - Unicode normalization form C.
 *
 * Does:     sella_nfc appends the NFC of a text, or says that the text is already NFC and appends
 *           nothing.
 * Threads:  pure.
 */
#ifndef SELLA_TOKENIZER_NORMALIZE_H
#define SELLA_TOKENIZER_NORMALIZE_H

#include "base/error.h"
#include "base/text.h"

/* text is valid UTF-8. *same = true: no change needed, `out` is untouched. Time is linear also in
 * long runs of combining marks. */
sella_status sella_nfc(const char *text, size_t bytes, sella_text *out, bool *same, sella_err *err);

#endif
