/* safetensors.c - reading and writing of safetensors files. */
#include "formats/safetensors.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/tensor_table.h"

enum { HEADER_MAX = 100 * 1000 * 1000, ALIGN = 64 };

/* Every dtype of the format whose values are whole bytes; `dtype` is meaningful where readable. */
static const struct {
    const char *name;
    uint64_t bytes;
    bool readable;
    sella_dtype dtype;
} types[] = {
    {"F32", 4, true, SELLA_DTYPE_F32},      {"F16", 2, true, SELLA_DTYPE_F16},
    {"BF16", 2, true, SELLA_DTYPE_BF16},    {"F64", 8, false, SELLA_DTYPE_F32},
    {"I64", 8, false, SELLA_DTYPE_F32},     {"I32", 4, false, SELLA_DTYPE_F32},
    {"I16", 2, false, SELLA_DTYPE_F32},     {"I8", 1, false, SELLA_DTYPE_F32},
    {"U64", 8, false, SELLA_DTYPE_F32},     {"U32", 4, false, SELLA_DTYPE_F32},
    {"U16", 2, false, SELLA_DTYPE_F32},     {"U8", 1, false, SELLA_DTYPE_F32},
    {"BOOL", 1, false, SELLA_DTYPE_F32},    {"F8_E4M3", 1, false, SELLA_DTYPE_F32},
    {"F8_E5M2", 1, false, SELLA_DTYPE_F32}, {"F8_E8M0", 1, false, SELLA_DTYPE_F32},
    {"C64", 8, false, SELLA_DTYPE_F32},
};

struct sella_safetensors {
    sella_map map;
    json_t *header;
    const json_t *meta; /* in header, or NULL */
    sella_tensor_table table;
};

static sella_status read_shape(const json_t *entry, sella_tensor *t, const char *path,
                               sella_err *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: tensor '%s' has no shape", path, t->name);
    }
    if (rank > SELLA_TENSOR_RANK_MAX) {
        return sella_err_set(err, SELLA_UNSUPPORTED,
                             "%s: tensor '%s' has %zu dimensions; expected at most %d", path,
                             t->name, rank, SELLA_TENSOR_RANK_MAX);
    }
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *d = json_array_get(shape, i);
        if (!json_is_integer(d) || json_integer_value(d) < 0) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s: tensor '%s': dimension %zu is not a whole number >= 0", path,
                                 t->name, i);
        }
        t->shape[i] = json_integer_value(d);
    }
    return SELLA_OK;
}

static sella_status read_tensor(const json_t *entry, const uint8_t *data, uint64_t data_bytes,
                                sella_tensor *t, const char *path, sella_err *err)
{
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    size_t k = 0;
    while (k < sizeof types / sizeof *types && (type == NULL || strcmp(type, types[k].name) != 0)) {
        k++;
    }
    if (k == sizeof types / sizeof *types) {
        return sella_err_set(err, SELLA_UNSUPPORTED, "%s: tensor '%s' has the unknown type '%.40s'",
                             path, t->name, type ? type : "");
    }
    t->type_name = types[k].name;
    t->readable = types[k].readable;
    t->dtype = types[k].dtype;
    sella_status status = read_shape(entry, t, path, err);
    uint64_t values = 0;
    if (status == SELLA_OK) {
        status = sella_tensor_values(t, &values, path, err);
    }
    if (status != SELLA_OK) {
        return status;
    }
    const json_t *range = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(range, 0), *last = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first) ||
        (uint64_t)json_integer_value(last) > data_bytes) {
        return sella_err_set(
            err, SELLA_FORMAT,
            "%s: tensor '%s': data_offsets are not two places within the %llu bytes of data", path,
            t->name, (unsigned long long)data_bytes);
    }
    uint64_t need = 0;
    t->data = data + json_integer_value(first);
    t->bytes = (uint64_t)(json_integer_value(last) - json_integer_value(first));
    if (__builtin_mul_overflow(values, types[k].bytes, &need) || need != t->bytes) {
        return sella_err_set(
            err, SELLA_FORMAT,
            "%s: tensor '%s' has %llu bytes; its shape holds %llu values of type %s", path, t->name,
            (unsigned long long)t->bytes, (unsigned long long)values, t->type_name);
    }
    return SELLA_OK;
}

static sella_status check_meta(const sella_safetensors *file, sella_err *err)
{
    const char *key;
    json_t *value;
    if (file->meta != NULL && !json_is_object(file->meta)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: __metadata__ is not a map of texts",
                             file->map.path);
    }
    json_object_foreach((json_t *)file->meta, key, value) {
        if (!json_is_string(value)) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s: the value of __metadata__ '%.80s' is not a text",
                                 file->map.path, key);
        }
    }
    return SELLA_OK;
}

static sella_status read_header(sella_safetensors *file, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *path = file->map.path;
    if (file->map.size < 8) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: the file has %zu bytes; a safetensors file has at least 8", path,
                             file->map.size);
    }
    uint64_t length = sella_u64_at(file->map.data);
    if (length > HEADER_MAX || length > file->map.size - 8) {
        return sella_err_set(
            err, SELLA_FORMAT, "%s: the header should take %llu bytes; expected at most %zu", path,
            (unsigned long long)length,
            file->map.size - 8 < HEADER_MAX ? file->map.size - 8 : (size_t)HEADER_MAX);
    }
    const uint8_t *data = file->map.data + 8 + length;
    uint64_t data_bytes = file->map.size - 8 - length;
    if (length == 0 || file->map.data[8] != '{') {
        return sella_err_set(err, SELLA_FORMAT, "%s: the header is not a JSON object", path);
    }
    SELLA_TRY(sella_json_parse((const char *)file->map.data + 8, (size_t)length, path,
                               &file->header, err));
    if (!json_is_object(file->header)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: the header is not a JSON object", path);
    }
    file->meta = json_object_get(file->header, "__metadata__");
    SELLA_TRY(check_meta(file, err));
    size_t count = json_object_size(file->header) - (file->meta != NULL ? 1 : 0);
    if (count > INT32_MAX) {
        return sella_err_set(err, SELLA_FORMAT, "%s: %zu tensors are too many", path, count);
    }
    /* Each name stands in the header, so that its bytes bound the pool. */
    SELLA_TRY(sella_tensor_table_init(&file->table, (int)count, (size_t)length + count, path, err));
    const char *name;
    json_t *entry;
    char *cursor = file->table.names;
    sella_tensor *t = file->table.tensor;
    json_object_foreach(file->header, name, entry) {
        if (entry == file->meta) {
            continue;
        }
        SELLA_TRY(sella_tensor_name(name, strlen(name), &cursor, &t->name, path, err));
        SELLA_TRY(read_tensor(entry, data, data_bytes, t++, path, err));
    }
    SELLA_TRY(sella_tensor_table_index(&file->table, data, data_bytes, true, path, err));
done:
    return status;
}

sella_status sella_safetensors_open(const char *path, sella_safetensors **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = NULL;
    sella_safetensors *file = sella_alloc(1, sizeof *file, path, err);
    if (file == NULL) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_map_open(path, &file->map, err));
    SELLA_TRY(read_header(file, err));
    *out = file;
    file = NULL;
done:
    sella_safetensors_close(file);
    return status;
}

void sella_safetensors_close(sella_safetensors *file)
{
    if (file != NULL) {
        sella_tensor_table_release(&file->table);
        json_decref(file->header);
        sella_map_close(&file->map);
        free(file);
    }
}

int sella_safetensors_count(const sella_safetensors *file)
{
    return file->table.count;
}

const sella_tensor *sella_safetensors_at(const sella_safetensors *file, int index)
{
    return index >= 0 && index < file->table.count ? &file->table.tensor[index] : NULL;
}

const sella_tensor *sella_safetensors_find(const sella_safetensors *file, const char *name)
{
    return sella_tensor_table_find(&file->table, name);
}

const char *sella_safetensors_meta(const sella_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(file->meta, key));
}

void sella_safetensors_meta_each(const sella_safetensors *file,
                                 void (*each)(void *user, const char *key, const char *value),
                                 void *user)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)file->meta, key, value) {
        each(user, key, json_string_value(value));
    }
}

/* One entry of the header; *offset advances past the tensor's data. */
static sella_status describe(json_t *header, const sella_tensor_out *t, uint64_t *offset,
                             const char *path, sella_err *err)
{
    sella_tensor shape = {.name = t->name, .rank = t->rank};
    uint64_t values = 0, end = 0;
    if (t->rank < 0 || t->rank > SELLA_TENSOR_RANK_MAX ||
        json_object_get(header, t->name) != NULL) {
        return sella_err_set(err, SELLA_ARG, "%s: tensor '%s' has rank %d or is there twice", path,
                             t->name, t->rank);
    }
    memcpy(shape.shape, t->shape, sizeof shape.shape);
    sella_status status = sella_tensor_values(&shape, &values, path, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (__builtin_mul_overflow(values, sizeof(float), &end) ||
        __builtin_add_overflow(end, *offset, &end) || end > INT64_MAX) {
        return sella_err_set(err, SELLA_ARG, "%s: tensor '%s' is too large to write", path,
                             t->name);
    }
    json_t *dims = json_array();
    for (int i = 0; dims != NULL && i < t->rank; i++) {
        json_array_append_new(dims, json_integer(t->shape[i]));
    }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", dims, "data_offsets",
                              (json_int_t)*offset, (json_int_t)end);
    if (json_object_set_new(header, t->name, entry) != 0) {
        return sella_err_set(err, SELLA_ARG,
                             "%s: the tensor name '%.80s' is not valid UTF-8, or memory is out",
                             path, t->name);
    }
    *offset = end;
    return SELLA_OK;
}

static sella_status write_header(sella_writer *writer, const json_t *header, const char *path,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    uint8_t length[8];
    char blanks[ALIGN];
    char *text = sella_json_line(header);
    if (text == NULL) {
        return sella_err_memory(err, path, 0);
    }
    size_t bytes = strlen(text);
    size_t padded = (8 + bytes + ALIGN - 1) / ALIGN * ALIGN - 8; /* blanks are part of the header */
    if (padded > HEADER_MAX) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG,
                                "%s: the header takes %zu bytes; expected at most %d", path, padded,
                                HEADER_MAX));
    }
    memset(blanks, ' ', sizeof blanks);
    for (int i = 0; i < 8; i++) {
        length[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    }
    SELLA_TRY(sella_write_bytes(writer, length, sizeof length, err));
    SELLA_TRY(sella_write_bytes(writer, text, bytes, err));
    SELLA_TRY(sella_write_bytes(writer, blanks, padded - bytes, err));
done:
    free(text);
    return status;
}

sella_status sella_safetensors_write(const char *path, const sella_tensor_out *tensors, int count,
                                     const char *const *meta, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_writer *writer = NULL;
    json_t *header = json_object();
    json_t *notes = json_pack("{s:s}", "format", "pt");
    uint64_t offset = 0;
    if (header == NULL || notes == NULL) {
        SELLA_TRY(sella_err_memory(err, path, 0));
    }
    for (int i = 0; meta != NULL && meta[i] != NULL; i += 2) {
        if (meta[i + 1] == NULL ||
            json_object_set_new(notes, meta[i], json_string(meta[i + 1])) != 0) {
            SELLA_TRY(sella_err_set(
                err, SELLA_ARG, "%s: the value of metadata '%.80s' is missing or not valid UTF-8",
                path, meta[i]));
        }
    }
    json_object_set(header, "__metadata__", notes);
    for (int i = 0; i < count; i++) {
        SELLA_TRY(describe(header, &tensors[i], &offset, path, err));
    }
    SELLA_TRY(sella_write_open(path, &writer, err));
    SELLA_TRY(write_header(writer, header, path, err));
    for (int i = 0; i < count; i++) {
        uint64_t values = 1;
        for (int d = 0; d < tensors[i].rank; d++) {
            values *= (uint64_t)tensors[i].shape[d];
        }
        SELLA_TRY(sella_write_bytes(writer, tensors[i].data, (size_t)values * sizeof(float), err));
    }
    sella_writer *finished = writer;
    writer = NULL;
    SELLA_TRY(sella_write_commit(finished, err));
done:
    sella_write_abandon(writer);
    json_decref(notes);
    json_decref(header);
    return status;
}
