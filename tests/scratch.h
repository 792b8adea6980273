/* scratch.h - a folder of its own for each test program, and small files in it.
 *
 * Does:     scratch_make() -> scratch_file(name) ... -> scratch_remove(). Include after <cmocka.h>.
 * Memory:   names are malloc'd: free() them. */
#ifndef SELLA_TESTS_SCRATCH_H
#define SELLA_TESTS_SCRATCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

/* Scratch folders in memory where there is such a place: imports, checkpoints and stores sync every
 * file they write, and some tests write thousands. */
static inline void scratch_in_memory(void)
{
    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
}

/* The folder's path; free() it after scratch_remove. */
static inline char *scratch_make(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = sella_path_join(tmp && tmp[0] ? tmp : "/tmp", "sella-test-XXXXXX", NULL);
    assert_non_null(path);
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void scratch_remove(char *path)
{
    assert_int_equal(sella_path_remove(path, NULL), SELLA_OK);
    free(path);
}

/* Write a file with stdio (not with the code under test) and return its path. */
static inline char *scratch_file(const char *folder, const char *name, const void *data,
                                 size_t bytes)
{
    char *path = sella_path_join(folder, name, NULL);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Does the file hold exactly this text? */
static inline bool scratch_holds(const char *path, const char *text)
{
    char buffer[65536];
    FILE *file = fopen(path, "rb");
    if (!file) {
        return false;
    }
    size_t bytes = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    return bytes == strlen(text) && memcmp(buffer, text, bytes) == 0;
}

/* True under `make test-full`. */
static inline bool scratch_full(void)
{
    const char *text = getenv("SELLA_FULL");
    return text && text[0] == '1';
}

#endif
