/* line_stream.c - lines of a plain or gzip file in bounded memory (data/line_stream.h).
 *
 * zlib and not libarchive, which does not compare a gzip member with its checksum.
 */
#include "data/line_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/arena.h"
#include "base/file.h"

enum { CHUNK = 1 << 18, PACKED = 1 << 16, MAGIC = 6, GZIP_WINDOW = 15 + 16 };

struct sella_line_stream {
    char *path;
    int file;
    size_t limit;
    int64_t line;
    double done, size;
    char *text; // [capacity]; what was read and not yet returned is [begin, end)
    size_t begin, end, capacity;
    size_t searched;       // no line ends before this place
    bool ended;            // nothing follows `end`
    unsigned char *packed; // [PACKED] as in the file
    size_t packed_bytes;   // of them still to be taken, at z.next_in when gzip
    bool gzip, inflating;  // inflating: within a member
    z_stream z;
};

void sella_line_stream_close(sella_line_stream *s)
{
    if (!s) {
        return;
    }
    if (s->gzip) {
        inflateEnd(&s->z);
    }
    if (s->file >= 0) {
        close(s->file);
    }
    free(s->text);
    free(s->packed);
    free(s->path);
    free(s);
}

static sella_status read_some(sella_line_stream *s, void *out, size_t room, size_t *bytes,
                              sella_err *err)
{
    ssize_t n;
    do {
        n = read(s->file, out, room);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        sella_err_errno(err, s->path, "read", errno);
        return SELLA_IO;
    }
    *bytes = (size_t)n;
    s->done += (double)n;
    return SELLA_OK;
}

/* Refuse what a program that reads text would read as garbage. */
static sella_status check_magic(const sella_line_stream *s, size_t bytes, sella_err *err)
{
    static const struct {
        const char *magic, *what;
        size_t bytes;
    } other[] = {{"PK\3\4", "a zip archive", 4},
                 {"\xfd\x37zXZ", "xz", 5},
                 {"\x28\xb5\x2f\xfd", "zstd", 4},
                 {"BZh", "bzip2", 3}};
    for (size_t o = 0; o < sizeof other / sizeof *other; o++) {
        if (bytes >= other[o].bytes && memcmp(s->packed, other[o].magic, other[o].bytes) == 0) {
            return sella_err_set(
                err, SELLA_FORMAT,
                "%s: is compressed as %s; expected lines of text, plain or compressed with gzip",
                s->path, other[o].what);
        }
    }
    return SELLA_OK;
}

sella_status sella_line_stream_open(const char *path, size_t limit, sella_line_stream **out,
                                    sella_err *err)
{
    sella_status status = SELLA_OK;
    struct stat about;
    sella_line_stream *s = sella_alloc(1, sizeof *s, "a reader", err);
    if (!s) {
        return SELLA_MEMORY;
    }
    s->file = -1;
    s->limit = limit;
    s->path = strdup(path);
    s->text = sella_alloc(CHUNK, 1, "a reader", err);
    s->packed = sella_alloc(PACKED, 1, "a reader", err);
    s->capacity = CHUNK;
    if (!s->path || !s->text || !s->packed) {
        status = sella_err_memory(err, "a reader", CHUNK);
        goto done;
    }
    SELLA_TRY(sella_file_open(path, O_RDONLY, &s->file, err));
    if (fstat(s->file, &about) != 0) {
        status = sella_err_errno(err, path, "opened", errno);
        goto done;
    }
    s->size = (double)about.st_size;
    for (size_t n = 1; n > 0 && s->packed_bytes < MAGIC; s->packed_bytes += n) {
        SELLA_TRY(read_some(s, s->packed + s->packed_bytes, PACKED - s->packed_bytes, &n, err));
    }
    SELLA_TRY(check_magic(s, s->packed_bytes, err));
    if (s->packed_bytes >= 2 && s->packed[0] == 0x1f && s->packed[1] == 0x8b) {
        if (inflateInit2(&s->z, GZIP_WINDOW) != Z_OK) {
            status = sella_err_memory(err, "a gzip reader", 1 << 15);
            goto done;
        }
        s->gzip = s->inflating = true;
        s->z.next_in = s->packed;
    } else if (s->packed_bytes > 0) {
        s->begin = s->packed_bytes >= 3 && memcmp(s->packed, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        memcpy(s->text, s->packed, s->packed_bytes);
        s->end = s->packed_bytes;
        s->searched = s->begin;
    }
    *out = s;
    s = NULL;
done:
    sella_line_stream_close(s);
    return status;
}

static sella_status damaged(const sella_line_stream *s, const char *what, sella_err *err)
{
    return sella_err_set(
        err, SELLA_IO,
        "%s: the gzip stream %s behind line %lld; expected a complete file: fetch it again",
        s->path, what, (long long)s->line);
}

/* Some bytes of text at `end`, or ended. Room is there. */
static sella_status inflate_some(sella_line_stream *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t room = s->capacity - s->end, before = s->end;
    while (s->end == before && !s->ended) {
        if (s->packed_bytes == 0) {
            SELLA_TRY(read_some(s, s->packed, PACKED, &s->packed_bytes, err));
            s->z.next_in = s->packed;
            if (s->packed_bytes == 0) {
                if (s->inflating) {
                    return damaged(s, "ends early", err);
                }
                s->ended = true;
                break;
            }
        }
        if (!s->inflating) { // behind a member: another one, or zeros that fill a block of a tape
            if (*s->z.next_in == 0) {
                s->z.next_in++;
                s->packed_bytes--;
                continue;
            }
            if (inflateReset(&s->z) != Z_OK) {
                return damaged(s, "cannot go on", err);
            }
            s->inflating = true;
        }
        s->z.avail_in = (uInt)s->packed_bytes;
        s->z.next_out = (unsigned char *)s->text + s->end;
        s->z.avail_out = (uInt)(room < CHUNK ? room : CHUNK);
        size_t offered = s->z.avail_out;
        int result = inflate(&s->z, Z_NO_FLUSH);
        s->packed_bytes = s->z.avail_in;
        s->end += offered - s->z.avail_out;
        if (result == Z_STREAM_END) {
            s->inflating = false;
        } else if (result == Z_MEM_ERROR) {
            return sella_err_memory(err, "a gzip reader", 1 << 15);
        } else if (result != Z_OK && result != Z_BUF_ERROR) {
            return damaged(s, "is damaged", err);
        }
    }
done:
    return status;
}

static sella_status fill(sella_line_stream *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t n;
    bool first = s->gzip && s->line == 0 && s->end == 0;
    if (s->begin > 0) {
        memmove(s->text, s->text + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->searched -= s->begin;
        s->begin = 0;
    }
    if (s->capacity - s->end < CHUNK / 4) {
        char *bigger = realloc(s->text, s->capacity * 2); // ends: a line is at most `limit` long
        if (!bigger) {
            return sella_err_memory(err, "a line", s->capacity * 2);
        }
        s->text = bigger;
        s->capacity *= 2;
    }
    if (s->gzip) {
        do {
            SELLA_TRY(inflate_some(s, err));
        } while (first && s->end < 3 && !s->ended);
        if (first && s->end >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0) {
            s->begin = s->searched = 3;
        }
    } else {
        SELLA_TRY(read_some(s, s->text + s->end, s->capacity - s->end, &n, err));
        s->end += n;
        s->ended = n == 0;
    }
done:
    return status;
}

sella_status sella_line_stream_next(sella_line_stream *s, const char **text, size_t *bytes,
                                    sella_err *err)
{
    bool too_long = false;
    *text = NULL;
    *bytes = 0;
    for (;;) {
        const char *stop =
            s->searched < s->end ? memchr(s->text + s->searched, '\n', s->end - s->searched) : NULL;
        size_t length = stop ? (size_t)(stop - s->text) - s->begin : s->end - s->begin;
        if (!stop && s->ended && length == 0 && !too_long) {
            return SELLA_OK;
        }
        if (!stop && length > s->limit) { // forget what there is of it
            too_long = true;
            s->begin = s->searched = s->end;
            length = 0;
        }
        if (!stop && !s->ended) {
            s->searched = s->end;
            sella_status status = fill(s, err);
            if (status != SELLA_OK) {
                return status;
            }
            continue;
        }
        const char *start = s->text + s->begin;
        s->line++;
        s->begin += length + (stop != NULL);
        s->searched = s->begin;
        if (too_long || length > s->limit) {
            return sella_err_set(err, SELLA_FORMAT, "the line has more than %zu bytes", s->limit);
        }
        *text = start;
        *bytes = length - (length > 0 && start[length - 1] == '\r');
        return SELLA_OK;
    }
}

int64_t sella_line_stream_line(const sella_line_stream *s)
{
    return s->line;
}

double sella_line_stream_done(const sella_line_stream *s)
{
    return s->done;
}

double sella_line_stream_size(const sella_line_stream *s)
{
    return s->size;
}
