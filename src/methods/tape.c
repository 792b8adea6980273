/* tape.c - append-only record of finished work (methods/tape.h). */
#include "methods/tape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

enum { TAPE_HEAD = 32, CHUNK_HEAD = 16 };

struct sella_tape {
    int fd;
    char *path;
    size_t record;
    double seconds, last; // of the last flush
    sella_text buffer;    // records not yet written
};

static void head_of(const sella_tape *tape, uint64_t key, uint8_t head[TAPE_HEAD])
{
    memset(head, 0, TAPE_HEAD);
    memcpy(head, "SELLATAP", 8);
    sella_u64_put(head + 8, tape->record);
    sella_u64_put(head + 16, key);
}

/* Bytes of the file that are good; their records go to data. 0: nothing fits, not even the head. */
static size_t read_good(const sella_map *map, const sella_tape *tape, uint64_t key, uint8_t *data,
                        int64_t capacity, int64_t *count)
{
    uint8_t head[TAPE_HEAD];
    head_of(tape, key, head);
    if (map->size < TAPE_HEAD || memcmp(map->data, head, TAPE_HEAD) != 0) {
        return 0;
    }
    size_t at = TAPE_HEAD;
    while (map->size - at >= CHUNK_HEAD) {
        uint64_t records = sella_u64_at(map->data + at), hash = sella_u64_at(map->data + at + 8);
        if (records == 0 || records > (uint64_t)(capacity - *count) ||
            records > (map->size - at - CHUNK_HEAD) / tape->record) {
            break;
        }
        size_t bytes = (size_t)records * tape->record;
        if (sella_hash_bytes(map->data + at + CHUNK_HEAD, bytes, 0) != hash) {
            break;
        }
        memcpy(data + (size_t)*count * tape->record, map->data + at + CHUNK_HEAD, bytes);
        *count += (int64_t)records;
        at += CHUNK_HEAD + bytes;
    }
    return at;
}

static sella_status write_all(sella_tape *tape, const void *data, size_t bytes, sella_err *err)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        ssize_t n = write(tape->fd, at, bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return sella_err_errno(err, tape->path, "written", n < 0 ? errno : ENOSPC);
        }
        at += n;
        bytes -= (size_t)n;
    }
    return SELLA_OK;
}

sella_status sella_tape_open(const char *path, size_t record, uint64_t key, double seconds,
                             void *data, int64_t capacity, int64_t *count, sella_tape **out,
                             sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    size_t good = 0;
    *count = 0;
    *out = NULL;
    sella_tape *tape = sella_alloc(1, sizeof *tape, "a tape", err);
    if (!tape) {
        return SELLA_MEMORY;
    }
    *tape = (sella_tape){
        .fd = -1, .path = strdup(path), .record = record, .seconds = seconds, .last = sella_now()};
    if (!tape->path) {
        status = sella_err_memory(err, "a path", strlen(path));
        goto done;
    }
    if (sella_path_exists(path)) {
        SELLA_TRY(sella_map_open(path, &map, err));
        good = read_good(&map, tape, key, data, capacity, count);
        sella_map_close(&map);
    }
    SELLA_TRY(sella_file_open(path, O_WRONLY | O_CREAT, &tape->fd, err));
    if (ftruncate(tape->fd, (off_t)good) != 0 || lseek(tape->fd, 0, SEEK_END) < 0) {
        status = sella_err_errno(err, path, "opened for writing", errno);
        goto done;
    }
    if (good == 0) {
        uint8_t head[TAPE_HEAD];
        head_of(tape, key, head);
        SELLA_TRY(write_all(tape, head, sizeof head, err));
    }
done:
    if (status != SELLA_OK) {
        sella_tape_close(tape);
        tape = NULL;
    }
    *out = tape;
    return status;
}

sella_status sella_tape_flush(sella_tape *tape, sella_err *err)
{
    sella_status status = SELLA_OK;
    uint8_t head[CHUNK_HEAD];
    if (tape->buffer.size == 0) {
        return SELLA_OK;
    }
    sella_u64_put(head, tape->buffer.size / tape->record);
    sella_u64_put(head + 8, sella_hash_bytes(tape->buffer.data, tape->buffer.size, 0));
    SELLA_TRY(write_all(tape, head, sizeof head, err));
    SELLA_TRY(write_all(tape, tape->buffer.data, tape->buffer.size, err));
    if (fsync(tape->fd) != 0) {
        status = sella_err_errno(err, tape->path, "synced", errno);
        goto done;
    }
    tape->buffer.size = 0;
    tape->last = sella_now();
done:
    return status;
}

sella_status sella_tape_append(sella_tape *tape, const void *data, int64_t records, sella_err *err)
{
    sella_status status =
        sella_text_append(&tape->buffer, data, (size_t)records * tape->record, err);
    if (status == SELLA_OK && sella_now() - tape->last >= tape->seconds) {
        status = sella_tape_flush(tape, err);
    }
    return status;
}

void sella_tape_close(sella_tape *tape)
{
    if (!tape) {
        return;
    }
    if (tape->fd >= 0) {
        close(tape->fd);
    }
    sella_text_release(&tape->buffer);
    free(tape->path);
    free(tape);
}

sella_status sella_tape_run(const sella_tape_work *work, int64_t count, void *data, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tape *tape = NULL;
    sella_progress progress;
    int64_t first = 0;
    SELLA_TRY(sella_tape_open(work->path, work->record, work->key, work->seconds, data, count,
                              &first, &tape, err));
    sella_progress_start(&progress, work->talk, work->what, work->unit, (double)count,
                         (double)first);
    while (first < count) {
        const int64_t n = count - first < work->block ? count - first : work->block;
        char *out = (char *)data + (size_t)first * work->record;
        if (sella_stop_wanted(work->talk)) {
            SELLA_TRY(sella_tape_flush(tape, err));
            status = sella_err_set(err, SELLA_INTERRUPTED,
                                   "%s was stopped after %lld of %lld %s; --resume goes on",
                                   work->what, (long long)first, (long long)count, work->unit);
            goto done;
        }
        SELLA_TRY(work->make(work->user, first, n, out, err));
        SELLA_TRY(sella_tape_append(tape, out, n, err));
        first += n;
        sella_progress_step(&progress, (double)first, NULL);
    }
    SELLA_TRY(sella_tape_flush(tape, err));
    sella_progress_end(&progress);
done:
    sella_tape_close(tape);
    return status;
}
