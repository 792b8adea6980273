/* ref_file.h - reader of the named tensors that the Python scripts in tests/ref/ dump (writer:
 * tests/ref/ref_file.py).
 *
 * Does:     ref_open() reads a whole file, ref_f32()/ref_i32()/ref_f64()/ref_u8() find a tensor by
 *           name; what is missing or has another type or size fails the running test. Call from
 *           inside a cmocka test (or a setup function), then ref_close().
 * Layout:   little-endian. "SELLAREF", u32 version 1, u32 tensors; then each: u32 name bytes, name,
 *           u32 type (0 f32, 1 i32, 2 u8, 3 f64), u32 rank, u64 shape [rank], zeros up to a
 *           multiple of 8 from the file's start, data row-major, zeros up to a multiple of 8.
 * Memory:   pointers are borrowed from the ref_file until ref_close().
 */
#ifndef SELLA_TESTS_REF_FILE_H
#define SELLA_TESTS_REF_FILE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REF_F32, REF_I32, REF_U8, REF_F64, REF_RANK_MAX = 8 };

typedef struct ref_tensor {
    const char *name; /* not NUL-terminated */
    size_t name_bytes;
    int type;
    int rank;
    size_t shape[REF_RANK_MAX];
    size_t count;
    const void *data;
} ref_tensor;

typedef struct ref_file {
    const char *path;
    unsigned char *bytes;
    size_t size, at;
    ref_tensor *tensor; /* [count] */
    size_t count;
} ref_file;

static inline const void *ref_take(ref_file *file, size_t bytes)
{
    if (bytes > file->size - file->at) {
        fail_msg("%s: ends at byte %zu, %zu more were expected", file->path, file->size, bytes);
    }
    file->at += bytes;
    return file->bytes + file->at - bytes;
}

static inline uint32_t ref_u32(ref_file *file)
{
    uint32_t x;
    memcpy(&x, ref_take(file, sizeof x), sizeof x);
    return x;
}

static inline void ref_align(ref_file *file)
{
    ref_take(file, (8 - file->at % 8) % 8);
}

static inline void ref_read_tensor(ref_file *file, ref_tensor *tensor)
{
    static const size_t bytes[] = {4, 4, 1, 8};
    tensor->name_bytes = ref_u32(file);
    tensor->name = ref_take(file, tensor->name_bytes);
    tensor->type = (int)ref_u32(file);
    tensor->rank = (int)ref_u32(file);
    if (tensor->type < 0 || tensor->type > REF_F64 || tensor->rank < 0 ||
        tensor->rank > REF_RANK_MAX) {
        fail_msg("%s: tensor '%.*s' has type %d and rank %d", file->path, (int)tensor->name_bytes,
                 tensor->name, tensor->type, tensor->rank);
    }
    tensor->count = 1;
    for (int r = 0; r < tensor->rank; r++) {
        uint64_t n;
        memcpy(&n, ref_take(file, sizeof n), sizeof n);
        tensor->shape[r] = (size_t)n;
        tensor->count *= (size_t)n;
    }
    ref_align(file);
    tensor->data = ref_take(file, tensor->count * bytes[tensor->type]);
    ref_align(file);
}

static inline ref_file ref_open(const char *path)
{
    ref_file file = {.path = path};
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        fail_msg("%s: cannot be opened (tests run in the project's folder)", path);
    }
    assert_int_equal(fseek(stream, 0, SEEK_END), 0);
    file.size = (size_t)ftell(stream);
    rewind(stream);
    file.bytes = malloc(file.size + 1);
    assert_non_null(file.bytes);
    assert_int_equal(fread(file.bytes, 1, file.size, stream), file.size);
    fclose(stream);
    if (memcmp(ref_take(&file, 8), "SELLAREF", 8) != 0 || ref_u32(&file) != 1) {
        fail_msg("%s: is not a version 1 reference file", path);
    }
    file.count = ref_u32(&file);
    file.tensor = calloc(file.count + 1, sizeof *file.tensor);
    assert_non_null(file.tensor);
    for (size_t i = 0; i < file.count; i++) {
        ref_read_tensor(&file, &file.tensor[i]);
    }
    return file;
}

static inline void ref_close(ref_file *file)
{
    free(file->tensor);
    free(file->bytes);
    memset(file, 0, sizeof *file);
}

/* The tensor, or NULL when the file has none of that name. */
static inline const ref_tensor *ref_find(const ref_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++) {
        if (file->tensor[i].name_bytes == strlen(name) &&
            memcmp(file->tensor[i].name, name, strlen(name)) == 0) {
            return &file->tensor[i];
        }
    }
    return NULL;
}

static inline const void *ref_data(const ref_file *file, const char *name, int type, size_t *count)
{
    const ref_tensor *tensor = ref_find(file, name);
    if (count != NULL) {
        *count = 0;
    }
    if (tensor == NULL) {
        fail_msg("%s: has no tensor '%s'", file->path, name);
        return NULL;
    }
    if (tensor->type != type) {
        fail_msg("%s: tensor '%s' has type %d, not %d", file->path, name, tensor->type, type);
    }
    if (count != NULL) {
        *count = tensor->count;
    }
    return tensor->data;
}

/* Data of a tensor; *count (may be NULL) is its number of values. */
static inline const float *ref_f32(const ref_file *file, const char *name, size_t *count)
{
    return ref_data(file, name, REF_F32, count);
}

static inline const int32_t *ref_i32(const ref_file *file, const char *name, size_t *count)
{
    return ref_data(file, name, REF_I32, count);
}

static inline const double *ref_f64(const ref_file *file, const char *name, size_t *count)
{
    return ref_data(file, name, REF_F64, count);
}

static inline const uint8_t *ref_u8(const ref_file *file, const char *name, size_t *count)
{
    return ref_data(file, name, REF_U8, count);
}

/* One value of a tensor of any numeric type, for scalars and sizes. */
static inline double ref_number(const ref_file *file, const char *name, size_t index)
{
    const ref_tensor *tensor = ref_find(file, name);
    if (tensor == NULL || index >= tensor->count) {
        fail_msg("%s: has no value %zu of tensor '%s'", file->path, index, name);
        return 0;
    }
    switch (tensor->type) {
    case REF_F32:
        return (double)((const float *)tensor->data)[index];
    case REF_I32:
        return ((const int32_t *)tensor->data)[index];
    case REF_U8:
        return ((const uint8_t *)tensor->data)[index];
    default:
        return ((const double *)tensor->data)[index];
    }
}

/* Fail unless every |x - y| <= tolerance * (1 + |y|); names the worst place. y is the expected
 * one. */
static inline void ref_close_to(const char *what, const float *x, const float *y, size_t n,
                                double tolerance)
{
    size_t worst = 0;
    double worst_error = -1;
    for (size_t i = 0; i < n; i++) {
        const double scale = 1 + (y[i] < 0 ? -(double)y[i] : (double)y[i]);
        const double gap = (double)x[i] - (double)y[i], error = (gap < 0 ? -gap : gap) / scale;
        if (!(error <= worst_error)) { /* also true for NaN */
            worst_error = error;
            worst = i;
            if (error != error) {
                break;
            }
        }
    }
    if (n > 0 && !(worst_error <= tolerance)) {
        fail_msg("%s: value %zu of %zu is %.9g, expected %.9g (error %.3g, allowed %.3g)", what,
                 worst, n, (double)x[worst], (double)y[worst], worst_error, tolerance);
    }
}

#endif
