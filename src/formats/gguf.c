/* gguf.c - the GGUF container: header, metadata table, tensor table.
 *
 * Every length in the file is compared with what is left of the file before it is used, so that
 * neither a count of 2^60 nor an offset past the end gets further than one sentence; counts are
 * bounded by the smallest size an element can have on disk. Easy to get wrong: dimensions are
 * stored fastest first; offsets count from the aligned end of the tensor table, not of the file.
 */
#include "formats/gguf.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"
#include "formats/gguf_value.h"
#include "formats/tensor_table.h"

enum {
    GGUF_KV_MIN = 8 + 1 + 4 + 1,          /* length, one byte of key, type, one byte of value */
    GGUF_TENSOR_MIN = 8 + 1 + 4 + 4 + 8,  /* length, one byte of name, rank, type, offset */
    GGUF_COUNT_MAX = 1 << 24,
    GGUF_KEY_MAX = 65535,
    GGUF_ALIGN_DEFAULT = 32,
    GGUF_ALIGN_MAX = 1 << 20
};

/* Types of tensors by their number in the file; name NULL = a number that was never used or was
 * withdrawn. */
static const struct {
    const char *name;
    uint16_t block; /* values */
    uint16_t bytes; /* of a block */
    bool readable;
    sella_dtype dtype;
} types[] = {
    [0] = {"F32", 1, 4, true, SELLA_DTYPE_F32},
    [1] = {"F16", 1, 2, true, SELLA_DTYPE_F16},
    [2] = {"Q4_0", 32, 18, true, SELLA_DTYPE_Q4_0},
    [3] = {"Q4_1", 32, 20, true, SELLA_DTYPE_Q4_1},
    [6] = {"Q5_0", 32, 22, true, SELLA_DTYPE_Q5_0},
    [7] = {"Q5_1", 32, 24, true, SELLA_DTYPE_Q5_1},
    [8] = {"Q8_0", 32, 34, true, SELLA_DTYPE_Q8_0},
    [9] = {"Q8_1", 32, 36, false, SELLA_DTYPE_F32},
    [10] = {"Q2_K", 256, 84, false, SELLA_DTYPE_F32},
    [11] = {"Q3_K", 256, 110, false, SELLA_DTYPE_F32},
    [12] = {"Q4_K", 256, 144, true, SELLA_DTYPE_Q4_K},
    [13] = {"Q5_K", 256, 176, true, SELLA_DTYPE_Q5_K},
    [14] = {"Q6_K", 256, 210, true, SELLA_DTYPE_Q6_K},
    [15] = {"Q8_K", 256, 292, false, SELLA_DTYPE_F32},
    [16] = {"IQ2_XXS", 256, 66, false, SELLA_DTYPE_F32},
    [17] = {"IQ2_XS", 256, 74, false, SELLA_DTYPE_F32},
    [18] = {"IQ3_XXS", 256, 98, false, SELLA_DTYPE_F32},
    [19] = {"IQ1_S", 256, 50, false, SELLA_DTYPE_F32},
    [20] = {"IQ4_NL", 32, 18, false, SELLA_DTYPE_F32},
    [21] = {"IQ3_S", 256, 110, false, SELLA_DTYPE_F32},
    [22] = {"IQ2_S", 256, 82, false, SELLA_DTYPE_F32},
    [23] = {"IQ4_XS", 256, 136, false, SELLA_DTYPE_F32},
    [24] = {"I8", 1, 1, false, SELLA_DTYPE_F32},
    [25] = {"I16", 1, 2, false, SELLA_DTYPE_F32},
    [26] = {"I32", 1, 4, false, SELLA_DTYPE_F32},
    [27] = {"I64", 1, 8, false, SELLA_DTYPE_F32},
    [28] = {"F64", 1, 8, false, SELLA_DTYPE_F32},
    [29] = {"IQ1_M", 256, 56, false, SELLA_DTYPE_F32},
    [30] = {"BF16", 1, 2, true, SELLA_DTYPE_BF16},
    [34] = {"TQ1_0", 256, 54, false, SELLA_DTYPE_F32},
    [35] = {"TQ2_0", 256, 66, false, SELLA_DTYPE_F32},
    [39] = {"MXFP4", 32, 17, false, SELLA_DTYPE_F32},
};
enum { TYPE_COUNT = sizeof types / sizeof *types };

struct sella_gguf {
    sella_map map;
    sella_gguf_value *value; /* [value_count] in the order of the file */
    int value_count;
    int *by_key;             /* [value_count] places in value, sorted by key */
    sella_tensor_table table;
};

static sella_status cut_short(const sella_gguf_cursor *c, const char *what, sella_err *err)
{
    return sella_err_set(err, SELLA_FORMAT, "%s: the file ends at byte %llu inside %s", c->path,
                         (unsigned long long)c->size, what);
}

static sella_status take_u32(sella_gguf_cursor *c, const char *what, uint32_t *out, sella_err *err)
{
    if (c->size - c->at < 4) {
        return cut_short(c, what, err);
    }
    *out = sella_u32_at(c->data + c->at);
    c->at += 4;
    return SELLA_OK;
}

static sella_status take_u64(sella_gguf_cursor *c, const char *what, uint64_t *out, sella_err *err)
{
    if (c->size - c->at < 8) {
        return cut_short(c, what, err);
    }
    *out = sella_u64_at(c->data + c->at);
    c->at += 8;
    return SELLA_OK;
}

static sella_status take_string(sella_gguf_cursor *c, const char *what, sella_span *out,
                                sella_err *err)
{
    uint64_t bytes = 0;
    uint64_t place = c->at;
    sella_status status = take_u64(c, what, &bytes, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (bytes > c->size - c->at) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: byte %llu: a text (%s) should take %llu bytes but %llu are left",
                             c->path, (unsigned long long)place, what, (unsigned long long)bytes,
                             (unsigned long long)(c->size - c->at));
    }
    *out = (sella_span){(const char *)c->data + c->at, (size_t)bytes};
    c->at += bytes;
    return SELLA_OK;
}

/* Step over `count` elements of an array. */
static sella_status skip_array(sella_gguf_cursor *c, const sella_gguf_value *v, sella_err *err)
{
    uint64_t size = sella_gguf_type_bytes(v->element);
    uint64_t least = size > 0 ? size : 8; /* a text has at least its length */
    if (v->element == SELLA_GGUF_ARRAY) {
        return sella_err_set(
            err, SELLA_UNSUPPORTED,
            "%s: key '%.*s' is an array of arrays; expected an array of numbers or texts", c->path,
            (int)v->key.bytes, v->key.data);
    }
    if (v->count > (c->size - c->at) / least) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: key '%.*s' should hold %llu values but %llu bytes are left",
                             c->path, (int)v->key.bytes, v->key.data, (unsigned long long)v->count,
                             (unsigned long long)(c->size - c->at));
    }
    if (size > 0) {
        c->at += v->count * size;
        return SELLA_OK;
    }
    for (uint64_t i = 0; i < v->count; i++) {
        sella_span text;
        sella_status status = take_string(c, "element of an array", &text, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    return SELLA_OK;
}

static sella_status read_value(sella_gguf_cursor *c, sella_gguf_value *v, sella_err *err)
{
    sella_status status = SELLA_OK;
    uint32_t type = 0;
    uint64_t place = c->at;
    SELLA_TRY(take_string(c, "a metadata key", &v->key, err));
    if (v->key.bytes == 0 || v->key.bytes > GGUF_KEY_MAX ||
        memchr(v->key.data, 0, v->key.bytes) != NULL ||
        sella_utf8_valid(v->key.data, v->key.bytes) != v->key.bytes) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: byte %llu: a metadata key is not a UTF-8 text of 1 to %d bytes",
                             c->path, (unsigned long long)place, GGUF_KEY_MAX);
    }
    SELLA_TRY(take_u32(c, "a metadata type", &type, err));
    if (type > SELLA_GGUF_TYPE_LAST) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: key '%.*s' has the unknown type %u; expected 0 to %d", c->path,
                             (int)v->key.bytes, v->key.data, type, SELLA_GGUF_TYPE_LAST);
    }
    v->type = (sella_gguf_type)type;
    v->count = 1;
    if (v->type == SELLA_GGUF_ARRAY) {
        SELLA_TRY(take_u32(c, "the type of an array", &type, err));
        SELLA_TRY(take_u64(c, "the length of an array", &v->count, err));
        if (type > SELLA_GGUF_TYPE_LAST) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s: key '%.*s' is an array of the unknown type %u", c->path,
                                 (int)v->key.bytes, v->key.data, type);
        }
        v->element = (sella_gguf_type)type;
        v->data = c->data + c->at;
        SELLA_TRY(skip_array(c, v, err));
    } else if (v->type == SELLA_GGUF_STRING) {
        v->data = c->data + c->at;
        sella_span text;
        SELLA_TRY(take_string(c, "a metadata value", &text, err));
    } else {
        v->data = c->data + c->at;
        uint64_t size = sella_gguf_type_bytes(v->type);
        if (size > c->size - c->at) {
            return cut_short(c, "a metadata value", err);
        }
        c->at += size;
    }
done:
    return status;
}

static int compare_spans(sella_span a, sella_span b)
{
    size_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_keys(const void *a, const void *b, void *value)
{
    const sella_gguf_value *v = value;
    return compare_spans(v[*(const int *)a].key, v[*(const int *)b].key);
}

static sella_status read_metadata(sella_gguf *file, sella_gguf_cursor *c, uint64_t count,
                                  sella_err *err)
{
    sella_status status = SELLA_OK;
    if (count > (c->size - c->at) / GGUF_KV_MIN || count > GGUF_COUNT_MAX) {
        return sella_err_set(
            err, SELLA_FORMAT, "%s: %llu metadata keys cannot be in the %llu bytes that are left",
            c->path, (unsigned long long)count, (unsigned long long)(c->size - c->at));
    }
    file->value_count = (int)count;
    file->value = sella_alloc((size_t)count, sizeof *file->value, c->path, err);
    file->by_key =
        file->value == NULL ? NULL : sella_alloc((size_t)count, sizeof *file->by_key, c->path, err);
    if (file->by_key == NULL) {
        return SELLA_MEMORY;
    }
    for (int i = 0; i < file->value_count; i++) {
        SELLA_TRY(read_value(c, &file->value[i], err));
        file->by_key[i] = i;
    }
    qsort_r(file->by_key, (size_t)count, sizeof *file->by_key, compare_keys, file->value);
    for (int i = 1; i < file->value_count; i++) {
        sella_span key = file->value[file->by_key[i]].key;
        if (compare_spans(key, file->value[file->by_key[i - 1]].key) == 0) {
            return sella_err_set(err, SELLA_FORMAT, "%s: key '%.*s' is there twice", c->path,
                                 (int)key.bytes, key.data);
        }
    }
done:
    return status;
}

/* Name, dimensions, type and offset of one tensor; the data pointer follows when the data's start
 * is known. */
static sella_status read_tensor(sella_gguf_cursor *c, sella_tensor *t, char **names,
                                uint64_t *offset, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_span name;
    uint32_t rank = 0, type = 0;
    uint64_t values = 0, blocks = 0;
    SELLA_TRY(take_string(c, "a tensor's name", &name, err));
    SELLA_TRY(sella_tensor_name(name.data, name.bytes, names, &t->name, c->path, err));
    SELLA_TRY(take_u32(c, "a tensor's rank", &rank, err));
    if (rank > SELLA_TENSOR_RANK_MAX) {
        return sella_err_set(err, SELLA_UNSUPPORTED,
                             "%s: tensor '%s' has %u dimensions; expected at most %d", c->path,
                             t->name, rank, SELLA_TENSOR_RANK_MAX);
    }
    t->rank = (int)rank;
    for (int i = t->rank - 1; i >= 0; i--) {
        uint64_t d = 0;
        SELLA_TRY(take_u64(c, "a tensor's shape", &d, err));
        if (d > INT64_MAX) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s: tensor '%s' has an impossible dimension of %llu", c->path,
                                 t->name, (unsigned long long)d);
        }
        t->shape[i] = (int64_t)d;
    }
    SELLA_TRY(take_u32(c, "a tensor's type", &type, err));
    SELLA_TRY(take_u64(c, "a tensor's offset", offset, err));
    if (type >= TYPE_COUNT || types[type].name == NULL) {
        return sella_err_set(err, SELLA_UNSUPPORTED, "%s: tensor '%s' has the unknown type %u",
                             c->path, t->name, type);
    }
    t->type_name = types[type].name;
    t->readable = types[type].readable;
    t->dtype = types[type].dtype;
    SELLA_TRY(sella_tensor_values(t, &values, c->path, err));
    uint64_t row = t->rank == 0 ? 1 : (uint64_t)t->shape[t->rank - 1];
    if (row % types[type].block != 0) {
        return sella_err_set(
            err, SELLA_FORMAT,
            "%s: tensor '%s' of type %s has rows of %llu values; expected a multiple of %d",
            c->path, t->name, t->type_name, (unsigned long long)row, types[type].block);
    }
    blocks = values / types[type].block;
    if (__builtin_mul_overflow(blocks, (uint64_t)types[type].bytes, &t->bytes)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: tensor '%s' is larger than any file", c->path,
                             t->name);
    }
done:
    return status;
}

static sella_status read_alignment(const sella_gguf *file, uint64_t *alignment, sella_err *err)
{
    int64_t value = GGUF_ALIGN_DEFAULT;
    if (sella_gguf_has(file, "general.alignment")) {
        sella_status status = sella_gguf_int(file, "general.alignment", &value, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    if (value < 1 || value > GGUF_ALIGN_MAX || (value & (value - 1)) != 0) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: general.alignment is %lld; expected a power of two up to %d",
                             file->map.path, (long long)value, GGUF_ALIGN_MAX);
    }
    *alignment = (uint64_t)value;
    return SELLA_OK;
}

static sella_status read_tensors(sella_gguf *file, sella_gguf_cursor *c, uint64_t count,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    uint64_t *offset = NULL;
    uint64_t alignment = 0;
    if (count > (c->size - c->at) / GGUF_TENSOR_MIN || count > GGUF_COUNT_MAX) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: %llu tensors cannot be in the %llu bytes that are left", c->path,
                             (unsigned long long)count, (unsigned long long)(c->size - c->at));
    }
    SELLA_TRY(read_alignment(file, &alignment, err));
    /* A name takes as much of the file as of the pool, less its length of 8 bytes: what is left
     * bounds all names. */
    uint64_t pool = c->size - c->at < count * (SELLA_TENSOR_NAME_MAX + 1)
                        ? c->size - c->at
                        : count * (SELLA_TENSOR_NAME_MAX + 1);
    SELLA_TRY(sella_tensor_table_init(&file->table, (int)count, (size_t)pool, c->path, err));
    offset = sella_alloc((size_t)count, sizeof *offset, c->path, err);
    if (offset == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    char *names = file->table.names;
    for (uint64_t i = 0; i < count; i++) {
        SELLA_TRY(read_tensor(c, &file->table.tensor[i], &names, &offset[i], err));
    }
    uint64_t start = (c->at + alignment - 1) / alignment * alignment;
    /* a file without tensor data may end before the padding */
    start = start < c->size ? start : c->size;
    for (uint64_t i = 0; i < count; i++) {
        sella_tensor *t = &file->table.tensor[i];
        if (offset[i] % alignment != 0) {
            SELLA_TRY(sella_err_set(
                err, SELLA_FORMAT,
                "%s: tensor '%s' starts at %llu, which is not a multiple of the alignment %llu",
                c->path, t->name, (unsigned long long)offset[i], (unsigned long long)alignment));
        }
        if (offset[i] > c->size - start || t->bytes > c->size - start - offset[i]) {
            SELLA_TRY(sella_err_set(
                err, SELLA_FORMAT,
                "%s: tensor '%s' needs %llu bytes from %llu on but the data has only %llu", c->path,
                t->name, (unsigned long long)t->bytes, (unsigned long long)offset[i],
                (unsigned long long)(c->size - start)));
        }
        t->data = c->data + start + offset[i];
    }
    SELLA_TRY(sella_tensor_table_index(&file->table, c->data + start, c->size - start, false,
                                       c->path, err));
done:
    free(offset);
    return status;
}

static sella_status read_file(sella_gguf *file, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_gguf_cursor c = {file->map.data, file->map.size, 0, file->map.path};
    uint32_t version = 0;
    uint64_t tensors = 0, keys = 0;
    if (c.size < 4 || memcmp(c.data, "GGUF", 4) != 0) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: this is not a GGUF file: it does not begin with GGUF", c.path);
    }
    c.at = 4;
    SELLA_TRY(take_u32(&c, "the header", &version, err));
    if (version != 0 && (version & 0xffff) == 0) {
        return sella_err_set(err, SELLA_UNSUPPORTED,
                             "%s: this GGUF file is big-endian; expected little-endian", c.path);
    }
    if (version < 2 || version > 3) {
        return sella_err_set(err, SELLA_UNSUPPORTED, "%s: GGUF version %u; expected 2 or 3", c.path,
                             version);
    }
    SELLA_TRY(take_u64(&c, "the header", &tensors, err));
    SELLA_TRY(take_u64(&c, "the header", &keys, err));
    SELLA_TRY(read_metadata(file, &c, keys, err));
    SELLA_TRY(read_tensors(file, &c, tensors, err));
done:
    return status;
}

sella_status sella_gguf_open(const char *path, sella_gguf **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = NULL;
    sella_gguf *file = sella_alloc(1, sizeof *file, path, err);
    if (file == NULL) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_map_open(path, &file->map, err));
    SELLA_TRY(read_file(file, err));
    *out = file;
    file = NULL;
done:
    sella_gguf_close(file);
    return status;
}

void sella_gguf_close(sella_gguf *file)
{
    if (file != NULL) {
        sella_tensor_table_release(&file->table);
        free(file->value);
        free(file->by_key);
        sella_map_close(&file->map);
        free(file);
    }
}

const char *sella_gguf_path(const sella_gguf *file)
{
    return file->map.path;
}

int sella_gguf_count(const sella_gguf *file)
{
    return file->table.count;
}

const sella_tensor *sella_gguf_at(const sella_gguf *file, int index)
{
    return index >= 0 && index < file->table.count ? &file->table.tensor[index] : NULL;
}

const sella_tensor *sella_gguf_find(const sella_gguf *file, const char *name)
{
    return sella_tensor_table_find(&file->table, name);
}

int sella_gguf_key_count(const sella_gguf *file)
{
    return file->value_count;
}

const sella_gguf_value *sella_gguf_value_at(const sella_gguf *file, int index)
{
    return &file->value[index];
}

const sella_gguf_value *sella_gguf_value_find(const sella_gguf *file, const char *key)
{
    sella_span want = {key, strlen(key)};
    int low = 0, high = file->value_count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const sella_gguf_value *v = &file->value[file->by_key[middle]];
        int order = compare_spans(want, v->key);
        if (order == 0) {
            return v;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}
