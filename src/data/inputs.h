/* inputs.h - named files out of a folder or a zip archive, in memory.
 *
 * Does:     open asks for files by name (without folders); each comes back mapped (folder) or
 *           unpacked into memory (zip), or empty when it is not there. Nothing is ever unpacked to
 *           disk. Limits: an archive may expand to SELLA_UNPACK_RATIO times its size and to
 *           SELLA_UNPACK_MAX bytes; entries that name a place outside the archive refuse it.
 * Memory:   blobs are owned by the caller: sella_blob_release each.
 * Threads:  pure.
 */
#ifndef SELLA_DATA_INPUTS_H
#define SELLA_DATA_INPUTS_H

#include <stdint.h>

#include "base/error.h"
#include "base/file.h"

enum { SELLA_UNPACK_RATIO = 100 };
#define SELLA_UNPACK_MAX (INT64_C(8) << 30)

typedef struct sella_blob {
    /* for sentences: "ml-1m.zip/ml-1m/ratings.dat"; NULL: the file is not there */
    char *path;
    const void *data; /* [size] */
    size_t size;
    sella_map map;
    void *unpacked;
} sella_blob;

/* blob_n [count] out, one for each of wanted_n [count]. */
sella_status sella_blobs_open(const char *path, const char *const *wanted_n, int count,
                              sella_blob *blob_n, sella_err *err);
void sella_blob_release(sella_blob *blob);

#endif
