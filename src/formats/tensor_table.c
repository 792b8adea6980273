/* tensor_table.c - names and ranges of the tensors of one file. */
#include "formats/tensor_table.h"

#include "base/arena.h"
#include "base/text.h"

sella_status sella_tensor_table_init(sella_tensor_table *table, int count, size_t name_bytes,
                                     const char *path, sella_err *err)
{
    *table = (sella_tensor_table){.count = count};
    table->tensor = sella_alloc((size_t)count, sizeof *table->tensor, path, err);
    table->by_name = table->tensor == NULL
                         ? NULL
                         : sella_alloc((size_t)count, sizeof *table->by_name, path, err);
    table->names = table->by_name == NULL ? NULL : sella_alloc(name_bytes, 1, path, err);
    return table->names == NULL ? SELLA_MEMORY : SELLA_OK;
}

void sella_tensor_table_release(sella_tensor_table *table)
{
    free(table->tensor);
    free(table->by_name);
    free(table->names);
    *table = (sella_tensor_table){0};
}

sella_status sella_tensor_name(const char *data, uint64_t bytes, char **cursor, const char **out,
                               const char *path, sella_err *err)
{
    if (bytes == 0 || bytes > SELLA_TENSOR_NAME_MAX) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: a tensor's name has %llu bytes; expected 1 to %d", path,
                             (unsigned long long)bytes, SELLA_TENSOR_NAME_MAX);
    }
    if (memchr(data, 0, (size_t)bytes) != NULL || sella_utf8_valid(data, (size_t)bytes) != bytes) {
        return sella_err_set(err, SELLA_FORMAT, "%s: tensor name '%.*s' is not valid UTF-8 text",
                             path, (int)bytes, data);
    }
    memcpy(*cursor, data, (size_t)bytes);
    (*cursor)[bytes] = '\0';
    *out = *cursor;
    *cursor += bytes + 1;
    return SELLA_OK;
}

sella_status sella_tensor_values(const sella_tensor *tensor, uint64_t *values, const char *path,
                                 sella_err *err)
{
    /* A zero anywhere makes the product 0, but the other dimensions must still multiply without
     * overflow. */
    uint64_t nonzero = 1;
    bool empty = false;
    for (int i = 0; i < tensor->rank; i++) {
        int64_t d = tensor->shape[i];
        if (d < 0 || (d > 0 && __builtin_mul_overflow(nonzero, (uint64_t)d, &nonzero)) ||
            nonzero > INT64_MAX) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s: tensor '%s' has an impossible shape: dimension %d is %lld",
                                 path, tensor->name, i, (long long)d);
        }
        empty = empty || d == 0;
    }
    *values = empty ? 0 : nonzero;
    return SELLA_OK;
}

static int compare_names(const void *a, const void *b, void *table)
{
    const sella_tensor *tensor = ((const sella_tensor_table *)table)->tensor;
    return strcmp(tensor[*(const int *)a].name, tensor[*(const int *)b].name);
}

static int compare_ranges(const void *a, const void *b, void *table)
{
    const sella_tensor *tensor = ((const sella_tensor_table *)table)->tensor;
    const sella_tensor *x = &tensor[*(const int *)a], *y = &tensor[*(const int *)b];
    if (x->data != y->data) {
        return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    }
    /* empty ones first: they overlap nothing */
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : 0;
}

static sella_status check_ranges(sella_tensor_table *table, int *order, const uint8_t *data,
                                 uint64_t bytes, bool tile, const char *path, sella_err *err)
{
    uint64_t end = 0;
    const char *before = "the start of the data";
    qsort_r(order, (size_t)table->count, sizeof *order, compare_ranges, table);
    for (int i = 0; i < table->count; i++) {
        const sella_tensor *t = &table->tensor[order[i]];
        uint64_t start = (uint64_t)((const uint8_t *)t->data - data);
        if (start < end && t->bytes > 0) {
            return sella_err_set(
                err, SELLA_FORMAT,
                "%s: the data of tensors '%s' and '%s' overlap at byte %llu of the data", path,
                before, t->name, (unsigned long long)start);
        }
        if (tile && start > end) {
            return sella_err_set(
                err, SELLA_FORMAT,
                "%s: bytes %llu to %llu of the data, before tensor '%s', belong to no tensor", path,
                (unsigned long long)end, (unsigned long long)start, t->name);
        }
        if (start + t->bytes > end) {
            end = start + t->bytes;
            before = t->name;
        }
    }
    if (tile && end != bytes) {
        return sella_err_set(err, SELLA_FORMAT, "%s: %llu bytes at the end belong to no tensor",
                             path, (unsigned long long)(bytes - end));
    }
    return SELLA_OK;
}

sella_status sella_tensor_table_index(sella_tensor_table *table, const uint8_t *data,
                                      uint64_t bytes, bool tile, const char *path, sella_err *err)
{
    for (int i = 0; i < table->count; i++) {
        table->by_name[i] = i;
    }
    sella_status status = check_ranges(table, table->by_name, data, bytes, tile, path, err);
    if (status != SELLA_OK) {
        return status;
    }
    qsort_r(table->by_name, (size_t)table->count, sizeof *table->by_name, compare_names, table);
    for (int i = 1; i < table->count; i++) {
        const char *name = table->tensor[table->by_name[i]].name;
        if (strcmp(name, table->tensor[table->by_name[i - 1]].name) == 0) {
            return sella_err_set(err, SELLA_FORMAT, "%s: tensor '%s' is there twice", path, name);
        }
    }
    return SELLA_OK;
}

const sella_tensor *sella_tensor_table_find(const sella_tensor_table *table, const char *name)
{
    int low = 0, high = table->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const sella_tensor *t = &table->tensor[table->by_name[middle]];
        int order = strcmp(name, t->name);
        if (order == 0) {
            return t;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}
