/* title_text.h - a title out of a web page's data as people read it.
 *
 * Does:     HTML character references become characters (once: "&amp;amp;" is "&amp;"), runs of
 *           white space and control characters become one blank, none stands at the ends, and what
 *           is longer than a title may be is cut between two characters.
 * Threads:  pure.
 */
#ifndef SELLA_DATA_TITLE_TEXT_H
#define SELLA_DATA_TITLE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

/* Replaces the contents of out; out->size = 0 when nothing is left.
 *
 *   text  in   [bytes] valid UTF-8
 *   cut   out  was it too long; may be NULL
 *
 * Returns: SELLA_OK or SELLA_MEMORY. */
sella_status sella_title_clean(const char *text, size_t bytes, sella_text *out, bool *cut,
                               sella_err *err);

#endif
