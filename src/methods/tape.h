/* tape.h - an append-only file of finished records, so that long work without an optimizer
 * (distillation, scoring) goes on where it was killed.
 *
 * Does:     open(key) gives back the records that are complete -> append ... -> close -> the caller
 *           removes the file when its artifact is there. A chunk of records is written with its
 *           length and hash; a torn or foreign tail is cut off, a tape of another key starts empty.
 *           sella_tape_run does all of this for work in equal blocks.
 * Layout:   32 bytes {"SELLATAP", u64 record bytes, u64 key, u64 0}, then chunks {u64 records, u64
 *           XXH3 of data, data}, little-endian.
 * Memory:   records not yet written are buffered by the tape.
 * Threads:  one writer.
 */
#ifndef SELLA_METHODS_TAPE_H
#define SELLA_METHODS_TAPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "sella/talk.h"

typedef struct sella_tape sella_tape;

/*   record  in  bytes    of one record
 *   key     in           hash of all that the records follow from
 *   seconds in  seconds  between flushes; 0: every append is flushed
 *   data    out [capacity * record] records that are there, from the first; *count how many
 */
sella_status sella_tape_open(const char *path, size_t record, uint64_t key, double seconds,
                             void *data, int64_t capacity, int64_t *count, sella_tape **out,
                             sella_err *err);
sella_status sella_tape_append(sella_tape *tape, const void *data, int64_t records, sella_err *err);
sella_status sella_tape_flush(sella_tape *tape, sella_err *err);
/* Flushes nothing: call sella_tape_flush before to keep what is buffered. NULL is fine. */
void sella_tape_close(sella_tape *tape);

/* Work whose records are kept on a tape. */
typedef struct sella_tape_work {
    const char *what, *unit; /* "distil", "items": in progress and errors */
    const char *path;        /* of the tape */
    size_t record;           /* these three as in sella_tape_open */
    uint64_t key;
    double seconds;
    int64_t block;           /* records made at once, > 0 */
    /* Make records first .. first + n - 1, n <= block: out [n * record]. */
    sella_status (*make)(void *user, int64_t first, int64_t n, void *out, sella_err *err);
    void *user;
    const sella_talk *talk;
} sella_tape_work;

/* Make the records that the tape does not have yet: data [count * record] holds all of them, and so
 * does the tape. SELLA_INTERRUPTED when talk wants to stop; what is finished stays on the tape. */
sella_status sella_tape_run(const sella_tape_work *work, int64_t count, void *data, sella_err *err);

#endif
