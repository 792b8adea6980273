/* data_fixture.h - a scratch folder, files in it, and imports from it, for the tests of data. */
#ifndef SELLA_TESTS_DATA_FIXTURE_H
#define SELLA_TESTS_DATA_FIXTURE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/dataset.h"
#include "scratch.h"
#include "sella/data.h"

/* Write folder/name (folders in name are made). */
static inline void put_bytes(const char *folder, const char *name, const void *data, size_t bytes)
{
    sella_err err = {0};
    char *path = sella_path_join(folder, name, NULL);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(sella_dir_make(path, &err), SELLA_OK);
    *slash = '/';
    /* not sella_write_file: no fsync for thousands of damaged copies */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static inline void put(const char *folder, const char *name, const char *text)
{
    put_bytes(folder, name, text, strlen(text));
}

/* Import folder/in_n[0 .. count) into folder/out, which is removed before; the error sentence stays
 * in err. *json may be NULL. */
static inline sella_status import_files(const char *folder, const char *const *in_n, int count,
                                        const char *out, sella_import_options options, char **json,
                                        sella_err *err)
{
    char *from[8], *to = sella_path_join(folder, out, NULL);
    const char *inputs[8];
    assert_true(count <= 8);
    for (int i = 0; i < count; i++) {
        inputs[i] = from[i] = sella_path_join(folder, in_n[i], NULL);
    }
    sella_path_remove(to, NULL);
    options.inputs = inputs;
    options.input_count = count;
    options.output = to;
    memset(err, 0, sizeof *err);
    sella_status status = sella_import(&options, NULL, json, err);
    if (status != SELLA_OK) {
        assert_int_equal(err->code, status);
        assert_true(err->text[0] != '\0');
        assert_false(sella_path_exists(to)); // nothing half-written
    }
    for (int i = 0; i < count; i++) {
        free(from[i]);
    }
    free(to);
    return status;
}

/* The same of one input. */
static inline sella_status import_into(const char *folder, const char *in, const char *out,
                                       sella_import_options options, sella_err *err)
{
    return import_files(folder, &in, 1, out, options, NULL, err);
}

static inline sella_dataset *open_in(const char *folder, const char *name)
{
    sella_err err = {0};
    sella_dataset *dataset = NULL;
    char *path = sella_path_join(folder, name, NULL);
    if (sella_dataset_open(path, &dataset, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    free(path);
    return dataset;
}

/* A file of ../shared, or NULL when it is not there; free(). */
static inline char *shared_path(const char *name)
{
    const char *base = getenv("SELLA_SHARED");
    char *path = sella_path_join(base && *base ? base : "../shared", name, NULL);
    if (path && !sella_path_exists(path)) {
        free(path);
        return NULL;
    }
    return path;
}

#define assert_says(err, part)                                                       \
    do {                                                                             \
        if (!strstr((err).text, part)) {                                             \
            fail_msg("'%s' does not say '%s'", (err).text, part);                    \
        }                                                                            \
    } while (0)

#endif
