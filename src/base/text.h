/* text.h - UTF-8, lines, numbers and near names.
 *
 * Does:     Strict helpers for hostile text: validation, a line reader with a length limit, number
 *           parsing to the end of the field with ranges, Latin-1 to UTF-8, nearest name for an
 *           unknown key or title.
 * Threads:  pure; one reader per thread.
 */
#ifndef SELLA_BASE_TEXT_H
#define SELLA_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A growing byte string, always NUL-terminated after the first append. */
typedef struct sella_text {
    char *data; /* [size + 1], owned */
    size_t size;
    size_t capacity;
} sella_text;
void sella_text_release(sella_text *text);
sella_status sella_text_append(sella_text *text, const char *data, size_t bytes, sella_err *err);
sella_status sella_text_format(sella_text *text, sella_err *err, const char *fmt, ...)
    SELLA_PRINTF(3, 4);

/* Offset of the first invalid byte, or `bytes` when all is valid UTF-8 (no surrogates, no
 * overlongs, <= U+10FFFF). */
size_t sella_utf8_valid(const char *data, size_t bytes);
/* Code points of valid UTF-8. */
size_t sella_utf8_count(const char *text);
/* Latin-1 bytes to a new UTF-8 string (free()). */
char *sella_latin1_to_utf8(const char *data, size_t bytes, sella_err *err);

/* Whole-field numbers: no blanks around, nothing left over, in range; SELLA_FORMAT with a sentence
 * that holds the text. `what` names the value ("rating"). inf and nan are refused. */
sella_status sella_parse_int(const char *text, size_t bytes, int64_t min, int64_t max,
                             const char *what, int64_t *out, sella_err *err);
sella_status sella_parse_real(const char *text, size_t bytes, double min, double max,
                              const char *what, double *out, sella_err *err);

/* "12,345,678" into text, which is returned; room >= 32. */
const char *sella_count_text(int64_t value, char *text, size_t room);
/* The shortest decimal text that reads back as exactly this finite value ("0.1", "1e-05"); room >=
 * 32. */
void sella_real_text(double value, char *out, size_t room);

/* Damerau-Levenshtein distance of two UTF-8 strings over bytes, case-insensitive for ASCII, cut at
 * `limit` (never more is returned; also for strings that differ over more than 255 bytes). */
int sella_text_distance(const char *a, const char *b, int limit);
/* Index of the candidate nearest to name, or -1 when none is within about a third of its length
 * (callers say "did you mean"). */
int sella_text_nearest(const char *name, const char *const *candidates, size_t count);

/* Lines over a mapped buffer: no copy, '\n' or "\r\n" ended, last line may lack its end, a byte
 * order mark at the start is skipped. A line longer than `limit` bytes is SELLA_FORMAT naming file
 * and line. */
typedef struct sella_lines {
    const char *path; /* for sentences, borrowed */
    const char *cursor;
    const char *end;
    size_t limit;  /* bytes a line may have */
    int64_t line;  /* 1-based number of the line last returned */
} sella_lines;
void sella_lines_init(sella_lines *lines, const char *path, const void *data, size_t bytes,
                      size_t limit);
/* *text = NULL at the end. The line is [text, text + *bytes), not NUL-terminated. */
sella_status sella_lines_next(sella_lines *lines, const char **text, size_t *bytes, sella_err *err);

#endif
