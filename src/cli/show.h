/* show.h - the objects that the library returns as JSON, printed: as they are, or as tables for
 * people.
 *
 * Memory:   json texts are borrowed.
 * Threads:  pure but for stdout.
 */
#ifndef SELLA_CLI_SHOW_H
#define SELLA_CLI_SHOW_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* Parse what the library returned. */
sella_status sella_show_parse(const char *json, json_t **out, sella_err *err);

/* The statistics of a data set folder that was just written: `json` as it is, or with NULL as
 * text. */
sella_status sella_show_dataset(const char *folder, const char *json, sella_err *err);

/* The figures object (docs/eval.md) as a table: all rows, then with `subsets` those that it has,
 * then ranking figures if it has them. */
void sella_show_figures(const json_t *figures, bool subsets);

/* The summary of several seeds (docs/train.md): a line a run, mean and standard deviation, with
 * `subsets` theirs, and ranking figures if there are any. */
void sella_show_seeds(const json_t *summary, bool subsets);
/* The table of a sweep, or of its estimates (docs/sweep.md). */
void sella_show_sweep(const json_t *sweep, bool estimates);

/* "key: value" lines for the scalars of an object, keys padded to one column; `indent` blanks in
 * front. */
void sella_show_scalars(const json_t *object, int indent);
/* Columns that a text takes on a terminal (wide characters take two). */
int sella_show_width(const char *text);
/* A text in exactly `width` columns: cut with "..." or filled with blanks behind; blanks and line
 * breaks at its ends are dropped, line breaks inside shown as blanks, other control characters as
 * '?'. */
void sella_show_cell(const char *text, int width);
/* Columns of the page: $COLUMNS, else the terminal that stdout is, else 80; 40 to 1000. */
int sella_show_columns(void);
/* Whether stdout is a terminal that understands colours, and the user wants them ($NO_COLOR is not
 * set). */
bool sella_show_colours(void);

/* A text without the control characters that a terminal would obey. */
void sella_show_text(const char *text);

#endif
