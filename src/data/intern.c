/* intern.c - external ids as strings, numbered by first appearance (data/intern.h). */
#include "data/intern.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"

void sella_intern_release(sella_intern *intern)
{
    free(intern->bytes);
    free(intern->start);
    free(intern->table);
    *intern = (sella_intern){0};
}

const char *sella_intern_text(const sella_intern *intern, int32_t index)
{
    return intern->bytes + intern->start[index];
}

/* Table index of the id, or of the empty entry where it belongs. */
static size_t spot(const sella_intern *intern, const char *id, size_t bytes)
{
    size_t i = (size_t)sella_hash_bytes(id, bytes, 0) & (intern->table_size - 1);
    for (; intern->table[i]; i = (i + 1) & (intern->table_size - 1)) {
        size_t start = intern->start[intern->table[i] - 1];
        if (intern->start[intern->table[i]] - start == bytes + 1 &&
            memcmp(intern->bytes + start, id, bytes) == 0) {
            break;
        }
    }
    return i;
}

int32_t sella_intern_find(const sella_intern *intern, const char *id, size_t bytes)
{
    return intern->table_size == 0 ? -1 : intern->table[spot(intern, id, bytes)] - 1;
}

static sella_status intern_grow(sella_intern *intern, size_t bytes, sella_err *err)
{
    if (intern->count >= INT32_MAX / 4) {
        return sella_err_set(err, SELLA_UNSUPPORTED, "there are more than %d different ids",
                             INT32_MAX / 4);
    }
    if (intern->size + bytes + 1 > intern->capacity) {
        size_t capacity = (intern->size + bytes + 1) * 2;
        char *bigger = realloc(intern->bytes, capacity);
        if (!bigger) {
            return sella_err_memory(err, "ids", capacity);
        }
        intern->bytes = bigger;
        intern->capacity = capacity;
    }
    if (intern->count + 2 > intern->starts) {
        int32_t starts = intern->starts * 2 + 64;
        size_t *bigger = realloc(intern->start, (size_t)starts * sizeof *bigger);
        if (!bigger) {
            return sella_err_memory(err, "ids", (size_t)starts * sizeof *bigger);
        }
        bigger[0] = 0;
        intern->start = bigger;
        intern->starts = starts;
    }
    if ((size_t)intern->count * 2 + 2 > intern->table_size) {
        size_t size = intern->table_size ? intern->table_size * 2 : 256;
        int32_t *table = sella_alloc(size, sizeof *table, "ids", err);
        if (!table) {
            return SELLA_MEMORY;
        }
        free(intern->table);
        intern->table = table;
        intern->table_size = size;
        for (int32_t n = 0; n < intern->count; n++) {
            const char *id = sella_intern_text(intern, n);
            intern->table[spot(intern, id, intern->start[n + 1] - intern->start[n] - 1)] = n + 1;
        }
    }
    return SELLA_OK;
}

sella_status sella_intern_add(sella_intern *intern, const char *id, size_t bytes, int32_t *index,
                              bool *fresh, sella_err *err)
{
    int32_t known = sella_intern_find(intern, id, bytes);
    if (fresh) {
        *fresh = known < 0;
    }
    if (known >= 0) {
        *index = known;
        return SELLA_OK;
    }
    sella_status status = intern_grow(intern, bytes, err);
    if (status != SELLA_OK) {
        return status;
    }
    intern->table[spot(intern, id, bytes)] = intern->count + 1;
    memcpy(intern->bytes + intern->size, id, bytes);
    intern->bytes[intern->size + bytes] = '\0';
    intern->size += bytes + 1;
    *index = intern->count++;
    intern->start[intern->count] = intern->size;
    return SELLA_OK;
}

sella_status sella_id_check(const char *id, size_t bytes, const char *what, sella_err *err)
{
    if (bytes == 0) {
        return sella_err_set(err, SELLA_FORMAT, "the %s id is empty", what);
    }
    if (bytes > SELLA_ID_MAX) {
        return sella_err_set(err, SELLA_FORMAT,
                             "the %s id '%.40s...' has %zu bytes; expected at most %d", what, id,
                             bytes, SELLA_ID_MAX);
    }
    if (sella_utf8_valid(id, bytes) != bytes) {
        return sella_err_set(err, SELLA_FORMAT, "the %s id '%.*s' is not UTF-8", what, (int)bytes,
                             id);
    }
    if (id[0] == ' ' || id[bytes - 1] == ' ') {
        return sella_err_set(err, SELLA_FORMAT, "the %s id '%.*s' has blanks around it", what,
                             (int)bytes, id);
    }
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)id[i] < 0x20 || id[i] == 0x7f) {
            return sella_err_set(err, SELLA_FORMAT, "the %s id '%.*s' has a control character",
                                 what, (int)bytes, id);
        }
    }
    return SELLA_OK;
}
