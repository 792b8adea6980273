/* inputs.c - named files out of a folder or a zip archive (data/inputs.h). */
#include "data/inputs.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void sella_blob_release(sella_blob *blob)
{
    sella_map_close(&blob->map);
    free(blob->unpacked);
    free(blob->path);
    *blob = (sella_blob){0};
}

/* True for names that a careless program would write outside its folder. */
static bool leaves_archive(const char *name)
{
    for (const char *at = name; *at;) {
        size_t part = strcspn(at, "/\\");
        if ((part == 2 && memcmp(at, "..", 2) == 0) || (part == 0 && at == name)) {
            return true;
        }
        at += part + (at[part] != '\0');
    }
    return false;
}

static sella_status archive_failed(struct archive *archive, const char *path, sella_err *err)
{
    const char *why = archive_error_string(archive);
    return sella_err_set(err, SELLA_FORMAT,
                         "%s: could not be read as a zip archive: %s; expected a folder or a "
                         "complete zip archive",
                         path, why ? why : "it ends too early");
}

typedef struct unpacker {
    struct archive *archive;
    const char *path;
    int64_t limit; // bytes that may still be unpacked
} unpacker;

static sella_status unpack(unpacker *u, const char *entry, sella_blob *blob, sella_err *err)
{
    enum { CHUNK = 1 << 16 };
    sella_status status = SELLA_OK;
    sella_text out = {0};
    char *chunk = malloc(CHUNK);
    if (!chunk) {
        return sella_err_memory(err, "an archive", CHUNK);
    }
    for (;;) {
        la_ssize_t n = archive_read_data(u->archive, chunk, CHUNK);
        if (n < 0) {
            status = archive_failed(u->archive, u->path, err);
            goto done;
        }
        if (n == 0) {
            break;
        }
        u->limit -= n;
        if (u->limit < 0) {
            status = sella_err_set(
                err, SELLA_FORMAT,
                "%s: expands to more than %d times its size or 8 GiB: refused as a zip bomb",
                u->path, (int)SELLA_UNPACK_RATIO);
            goto done;
        }
        SELLA_TRY(sella_text_append(&out, chunk, (size_t)n, err));
    }
    blob->path = sella_path_join(u->path, entry, NULL);
    if (!blob->path) {
        status = sella_err_memory(err, "a path", strlen(entry));
        goto done;
    }
    blob->unpacked = out.data;
    blob->data = out.data;
    blob->size = out.size;
    out = (sella_text){0};
done:
    sella_text_release(&out);
    free(chunk);
    return status;
}

static sella_status take_entry(unpacker *u, struct archive_entry *entry,
                               const char *const *wanted_n, int count, sella_blob *blob_n,
                               sella_err *err)
{
    const char *name = archive_entry_pathname_utf8(entry);
    name = name ? name : archive_entry_pathname(entry);
    if (!name) {
        return SELLA_OK; // a name that cannot be read is not a wanted one
    }
    if (leaves_archive(name)) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: the entry '%.100s' names a place outside the archive", u->path,
                             name);
    }
    if (archive_entry_filetype(entry) != AE_IFREG) {
        return SELLA_OK;
    }
    const char *slash = strrchr(name, '/');
    for (int w = 0; w < count; w++) {
        if (strcmp(slash ? slash + 1 : name, wanted_n[w]) == 0) {
            if (blob_n[w].path) {
                return sella_err_set(err, SELLA_FORMAT, "%s: holds %s twice", u->path, wanted_n[w]);
            }
            return unpack(u, name, &blob_n[w], err);
        }
    }
    return SELLA_OK;
}

static sella_status open_archive(const char *path, const char *const *wanted_n, int count,
                                 sella_blob *blob_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    unpacker u = {.path = path};
    struct archive_entry *entry;
    SELLA_TRY(sella_map_open(path, &map, err));
    u.archive = archive_read_new();
    if (!u.archive) {
        status = sella_err_memory(err, "an archive", 1);
        goto done;
    }
    u.limit = map.size < (size_t)(SELLA_UNPACK_MAX / SELLA_UNPACK_RATIO)
                  ? (int64_t)map.size * SELLA_UNPACK_RATIO
                  : SELLA_UNPACK_MAX;
    if (archive_read_support_format_zip(u.archive) != ARCHIVE_OK ||
        archive_read_open_memory(u.archive, map.data, map.size) != ARCHIVE_OK) {
        status = archive_failed(u.archive, path, err);
        goto done;
    }
    for (;;) {
        int result = archive_read_next_header(u.archive, &entry);
        if (result == ARCHIVE_EOF) {
            break;
        }
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
            status = archive_failed(u.archive, path, err);
            goto done;
        }
        SELLA_TRY(take_entry(&u, entry, wanted_n, count, blob_n, err));
    }
done:
    archive_read_free(u.archive);
    sella_map_close(&map);
    return status;
}

static sella_status open_folder(const char *path, const char *const *wanted_n, int count,
                                sella_blob *blob_n, sella_err *err)
{
    for (int w = 0; w < count; w++) {
        char *file = sella_path_join(path, wanted_n[w], NULL);
        if (!file) {
            return sella_err_memory(err, "a path", strlen(path));
        }
        if (!sella_path_exists(file)) {
            free(file);
            continue;
        }
        blob_n[w].path = file;
        sella_status status = sella_map_open(file, &blob_n[w].map, err);
        if (status != SELLA_OK) {
            return status;
        }
        blob_n[w].data = blob_n[w].map.data;
        blob_n[w].size = blob_n[w].map.size;
    }
    return SELLA_OK;
}

sella_status sella_blobs_open(const char *path, const char *const *wanted_n, int count,
                              sella_blob *blob_n, sella_err *err)
{
    for (int w = 0; w < count; w++) {
        blob_n[w] = (sella_blob){0};
    }
    sella_status status = sella_path_is_dir(path)
                              ? open_folder(path, wanted_n, count, blob_n, err)
                              : open_archive(path, wanted_n, count, blob_n, err);
    for (int w = 0; w < count && status != SELLA_OK; w++) {
        sella_blob_release(&blob_n[w]);
    }
    return status;
}
