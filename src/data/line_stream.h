/* line_stream.h - the lines of a file of any size, plain or gzip, in bounded memory.
 *
 * Does:     open -> next ... -> close. Compression is told by the first bytes, not by the name;
 *           several gzip members in a row are one text. Lines end with '\n' or "\r\n", the last one
 *           may lack its end, a UTF-8 byte order mark at the start is skipped.
 * Memory:   a few MiB, and at most the longest line that is allowed; a line is valid until the next
 *           one.
 * Threads:  one object per thread.
 * Not here: lines of a mapped file (base/text.h); named files of an archive (data/inputs.h).
 */
#ifndef SELLA_DATA_LINE_STREAM_H
#define SELLA_DATA_LINE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct sella_line_stream sella_line_stream;

/* limit: bytes a line may have. Returns SELLA_MISSING or SELLA_IO when the file cannot be read or
 * is none (a folder, a pipe, a device), SELLA_FORMAT when it is compressed in another way than with
 * gzip. */
sella_status sella_line_stream_open(const char *path, size_t limit, sella_line_stream **out,
                                    sella_err *err);
void sella_line_stream_close(sella_line_stream *stream);

/* The next line as [*text, *text + *bytes), not NUL-terminated; *text = NULL at the end.
 * Returns: SELLA_FORMAT for a line that is too long: the stream then stands behind it and may go
 *          on. SELLA_IO when the
 * file cannot be read on, which includes a gzip stream that is damaged (its checksum is verified)
 * or ends early: there is no going on. */
sella_status sella_line_stream_next(sella_line_stream *stream, const char **text, size_t *bytes,
                                    sella_err *err);

/* Number of the line last returned, from 1. */
int64_t sella_line_stream_line(const sella_line_stream *stream);
/* Bytes of the file read so far, and its size. */
double sella_line_stream_done(const sella_line_stream *stream);
double sella_line_stream_size(const sella_line_stream *stream);

#endif
