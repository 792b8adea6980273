/* file.h - files: mapped reading, atomic writing, folders, fingerprints.
 *
 * Does:     Reading maps the whole file, read-only. Writing goes to a temporary file in the same
 *           folder, is fsynced, and appears under its name only by sella_write_commit (rename +
 *           fsync of the folder): a crash leaves the old file or none.
 * Memory:   a mapping is valid until sella_map_close.
 * Threads:  one object per thread; a mapping may be read by many.
 */
#ifndef SELLA_BASE_FILE_H
#define SELLA_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef struct sella_map {
    const uint8_t *data; /* [size], NULL when size = 0 */
    size_t size;
    char *path; /* owned copy, for error sentences */
} sella_map;

sella_status sella_map_open(const char *path, sella_map *out, sella_err *err);
void sella_map_close(sella_map *map);

/* open(2), with O_CLOEXEC and mode 0666, of what must be a regular file: a named pipe or a device
 * is refused, and never waited for. *fd is -1 on failure. */
sella_status sella_file_open(const char *path, int flags, int *fd, sella_err *err);

typedef struct sella_writer sella_writer;
/* Start writing PATH aside. */
sella_status sella_write_open(const char *path, sella_writer **out, sella_err *err);
sella_status sella_write_bytes(sella_writer *writer, const void *data, size_t bytes,
                               sella_err *err);
sella_status sella_write_format(sella_writer *writer, sella_err *err, const char *fmt, ...)
    SELLA_PRINTF(3, 4);
/* Flush, fsync, rename, fsync the folder; frees the writer in every case. A write error met earlier
 * is reported here too. */
sella_status sella_write_commit(sella_writer *writer, sella_err *err);
/* Drop what was written; NULL is fine. */
void sella_write_abandon(sella_writer *writer);
/* Can PATH be written? Tells it as sella_write_open would, before long work; nothing stays behind,
 * devices and pipes are not opened. */
sella_status sella_write_try(const char *path, sella_err *err);
/* Whole file at once, atomically. */
sella_status sella_write_file(const char *path, const void *data, size_t bytes, sella_err *err);
/* Append one line (adds '\n') in one write(2) call; used for metrics.jsonl. */
sella_status sella_append_line(const char *path, const char *line, sella_err *err);

/* "a/b" joined into a new string (free()); NULL only when memory is out. Variadic list ends with
 * NULL. */
char *sella_path_join(const char *first, ...);
/* The path as seen from everywhere, links resolved (free()); what does not exist stays as it is.
 * NULL only when memory is out. */
char *sella_path_absolute(const char *path);
bool sella_path_exists(const char *path);
bool sella_path_is_dir(const char *path);
/* mkdir -p. */
sella_status sella_dir_make(const char *path, sella_err *err);
/* Sorted names in a folder without "." and ".."; free with sella_names_free. */
sella_status sella_dir_list(const char *path, char ***names, size_t *count, sella_err *err);
void sella_names_free(char **names, size_t count);
/* Remove a file or a folder with all it holds; a missing path is fine. */
sella_status sella_path_remove(const char *path, sella_err *err);
/* Remove what killed writers left behind in a folder and below it: files NAME.new-DIGITS-DIGITS. */
sella_status sella_dir_sweep(const char *path, sella_err *err);
/* Bytes that can still be written to a file at path, which is there: free disk space, or less by
 * the file size limit. False: unknown. */
bool sella_disk_free(const char *path, uint64_t *bytes);
/* fsync the folder that holds path, so that a new name survives a power cut. Returns 0 or an
 * errno. */
int sella_path_sync_parent(const char *path);
/* Put a finished folder into its place: fsync its files, rename(tmp, path). Refused when PATH
 * exists and is not empty. */
sella_status sella_dir_publish(const char *tmp, const char *path, sella_err *err);
/* Copy one file, atomically at the destination. */
sella_status sella_file_copy(const char *from, const char *to, sella_err *err);

/* XXH3 64-bit of bytes (chained through `seed`) and of a file's content, read in pieces; for
 * fingerprints and checksums. */
uint64_t sella_hash_bytes(const void *data, size_t bytes, uint64_t seed);
sella_status sella_hash_file(const char *path, uint64_t *hash, sella_err *err);

#endif
