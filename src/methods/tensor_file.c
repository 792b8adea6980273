/* tensor_file.c - parameter tables in safetensors files (methods/tensor_file.h). */
#include "methods/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "formats/safetensors.h"

sella_status sella_tensors_write(const char *path, const sella_param_table *const *tables, int n,
                                 sella_err *err)
{
    int count = 0, at = 0;
    for (int t = 0; t < n; t++) {
        count += tables[t] ? tables[t]->count : 0;
    }
    sella_tensor_out *out = sella_alloc((size_t)count, sizeof *out, "a list of tensors", err);
    if (!out) {
        return SELLA_MEMORY;
    }
    for (int t = 0; t < n; t++) {
        for (int i = 0; tables[t] && i < tables[t]->count; i++) {
            const sella_param *param = &tables[t]->param[i];
            out[at++] = (sella_tensor_out){
                param->name, param->rank, {param->shape[0], param->shape[1]}, param->data};
        }
    }
    sella_status status = sella_safetensors_write(path, out, count, NULL, err);
    free(out);
    return status;
}

/* What is wrong with the tensor that a row asks for, or NULL. */
static const char *fault(const sella_tensor *tensor, const sella_param *param)
{
    if (!tensor) {
        return "is missing";
    }
    if (!tensor->readable || tensor->dtype != SELLA_DTYPE_F32) {
        return "is not F32";
    }
    bool fits = tensor->rank == param->rank && tensor->shape[0] == param->shape[0] &&
                (param->rank == 1 || tensor->shape[1] == param->shape[1]);
    return fits ? NULL : "has another shape";
}

static sella_status check_row(const sella_safetensors *file, const sella_param *param,
                              sella_text *misses, sella_err *err)
{
    const char *what = fault(sella_safetensors_find(file, param->name), param);
    if (!what) {
        return SELLA_OK;
    }
    sella_status status = sella_text_format(misses, err, "%s%s [%lld", misses->size ? ", " : "",
                                            param->name, (long long)param->shape[0]);
    if (status == SELLA_OK && param->rank == 2) {
        status = sella_text_format(misses, err, ", %lld", (long long)param->shape[1]);
    }
    return status == SELLA_OK ? sella_text_format(misses, err, "] %s", what) : status;
}

sella_status sella_tensors_read(const char *path, sella_param_table *const *tables, int n,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_safetensors *file = NULL;
    sella_text misses = {0};
    SELLA_TRY(sella_safetensors_open(path, &file, err));
    for (int t = 0; t < n; t++) {
        for (int i = 0; tables[t] && i < tables[t]->count; i++) {
            SELLA_TRY(check_row(file, &tables[t]->param[i], &misses, err));
        }
    }
    if (misses.size) {
        status = sella_err_set(err, SELLA_SHAPE, "%s: expected %.700s", path, misses.data);
        goto done;
    }
    for (int t = 0; t < n; t++) {
        for (int i = 0; tables[t] && i < tables[t]->count; i++) {
            sella_param *param = &tables[t]->param[i];
            memcpy(param->data, sella_safetensors_find(file, param->name)->data,
                   param->count * sizeof(float));
        }
        if (tables[t]) {
            SELLA_TRY(sella_param_check_finite(tables[t], false, path, err));
        }
    }
done:
    sella_text_release(&misses);
    sella_safetensors_close(file);
    return status;
}

sella_status sella_tensors_shape(const char *path, const char *name, int64_t *rows, int64_t *cols,
                                 sella_err *err)
{
    sella_safetensors *file = NULL;
    sella_status status = sella_safetensors_open(path, &file, err);
    if (status != SELLA_OK) {
        return status;
    }
    const sella_tensor *tensor = sella_safetensors_find(file, name);
    if (!tensor) {
        status = sella_err_set(err, SELLA_MISSING, "%s: has no tensor %s", path, name);
    } else if (tensor->rank < 1 || tensor->rank > 2) {
        status = sella_err_set(err, SELLA_SHAPE, "%s: %s has %d dimensions; expected 1 or 2", path,
                               name, tensor->rank);
    } else {
        *rows = tensor->shape[0];
        *cols = tensor->rank == 2 ? tensor->shape[1] : 1;
    }
    sella_safetensors_close(file);
    return status;
}

bool sella_tensors_has(const char *path, const char *name)
{
    int64_t rows, cols;
    return sella_tensors_shape(path, name, &rows, &cols, NULL) == SELLA_OK;
}
