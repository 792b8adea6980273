/* line_object.h - chosen fields of one line that holds a JSON object or a Python dict literal,
 * without building a tree.
 *
 * Does:     scan checks the grammar of the whole line and finds the fields that are asked for among
 *           those of the outermost object; text turns a string among them into UTF-8. A line whose
 *           first key is in single quotes is a Python literal, as Amazon's metadata of 2014 is:
 *           strings in either quotes, True, False, None, tuples, trailing commas.
 * Memory:   values are borrowed from the line.
 * Threads:  pure.
 * Not here: JSON as a tree (base/json.h), which is an order of magnitude slower.
 */
#ifndef SELLA_DATA_LINE_OBJECT_H
#define SELLA_DATA_LINE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

/* Objects and arrays within each other. */
enum { SELLA_LINE_DEPTH = 64 };

typedef enum sella_line_kind {
    SELLA_LINE_ABSENT = 0,
    SELLA_LINE_NULL,   /* null, None */
    SELLA_LINE_BOOL,
    SELLA_LINE_NUMBER, /* data: its digits */
    SELLA_LINE_TEXT,   /* data: between the quotes, escapes as they are */
    SELLA_LINE_LIST,   /* an array or a tuple */
    SELLA_LINE_OBJECT
} sella_line_kind;

typedef struct sella_line_value {
    const char *data; /* [bytes] */
    size_t bytes;
    sella_line_kind kind;
    bool escaped; /* the string has a backslash */
    bool python;  /* its escapes are Python's */
} sella_line_value;

/* A name that is asked for; see SELLA_LINE_NAME. */
typedef struct sella_line_name {
    const char *text;
    size_t bytes;
} sella_line_name;
#define SELLA_LINE_NAME(literal) {literal, sizeof(literal) - 1}

/* value_n [count] out: kind is SELLA_LINE_ABSENT for a field that is not there.
 * Returns: SELLA_FORMAT when the line is not UTF-8, not exactly one object, or has one of the
 *          fields twice. */
sella_status sella_line_scan(const char *line, size_t bytes, const sella_line_name *name_n,
                             int count, sella_line_value *value_n, sella_err *err);

/* A string without its escapes replaces the contents of out. Bytes that Python 2 escaped one by one
 * ('\xc3\xa9') become the character they encode; half of a UTF-16 pair becomes U+FFFD. Returns:
 * SELLA_FORMAT when the result is not UTF-8 or an escape names no character. */
sella_status sella_line_text(const sella_line_value *value, sella_text *out, sella_err *err);

/* "a list", "a number", ... for sentences. */
const char *sella_line_kind_text(sella_line_kind kind);

#endif
