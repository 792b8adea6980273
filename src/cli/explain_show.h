/* explain_show.h - an explanation (the object of docs/explain.md) for people: on a terminal, and as
 * a page for a browser.
 *
 * Memory:   the object is borrowed.
 * Threads:  pure but for stdout.
 */
#ifndef SELLA_CLI_EXPLAIN_SHOW_H
#define SELLA_CLI_EXPLAIN_SHOW_H

#include <jansson.h>

#include "base/error.h"

/* Tables with aligned bars on stdout, as wide as the terminal; coloured where it is one. */
void sella_explain_text(const json_t *explanation);
/* One self-contained HTML page at `path`, written aside and renamed: attention maps as inline SVG,
 * for light and dark screens. */
sella_status sella_explain_html(const json_t *explanation, const char *path, sella_err *err);

/* A member of the object: a text ("" when it is not there); a figure as it is printed with four
 * digits, so that what rounds to nothing is 0, not -0. */
const char *sella_member_word(const json_t *object, const char *key);
double sella_member_number(const json_t *object, const char *key);
/* What the two call a part of the prompt: "history", "<User_ID>", ...; and the name of one row of
 * "without". */
const char *sella_explain_part_name(const json_t *part);
const char *sella_explain_what(const json_t *without);

#endif
