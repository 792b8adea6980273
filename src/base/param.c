/* param.c - the parameter table (base/param.h). */
#include "base/param.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void sella_param_table_init(sella_param_table *table)
{
    *table = (sella_param_table){0};
}

void sella_param_table_release(sella_param_table *table)
{
    for (int i = 0; i < table->count; i++) {
        free(table->param[i].data);
        free(table->param[i].grad);
    }
    free(table->param);
    *table = (sella_param_table){0};
}

/* [count] zeros, 64-byte aligned. */
static sella_status values_new(size_t count, const char *name, const char *what, float **out,
                               sella_err *err)
{
    char label[SELLA_PARAM_NAME_MAX + 40];
    snprintf(label, sizeof label, "%s '%s'", what, name);
    size_t bytes;
    if (__builtin_mul_overflow(count, sizeof(float), &bytes) || bytes > SIZE_MAX - 64) {
        return sella_err_memory(err, label, SIZE_MAX);
    }
    bytes = (bytes + 63) / 64 * 64;
    *out = aligned_alloc(64, bytes);
    if (!*out) {
        return sella_err_memory(err, label, bytes);
    }
    memset(*out, 0, bytes);
    return SELLA_OK;
}

static sella_status table_grow(sella_param_table *table, sella_err *err)
{
    if (table->count < table->capacity) {
        return SELLA_OK;
    }
    int capacity = table->capacity ? table->capacity * 2 : 16;
    sella_param *param = realloc(table->param, (size_t)capacity * sizeof *param);
    if (!param) {
        return sella_err_memory(err, "a parameter table", (size_t)capacity * sizeof *param);
    }
    table->param = param;
    table->capacity = capacity;
    return SELLA_OK;
}

sella_status sella_param_add(sella_param_table *table, const char *name, int64_t rows, int64_t cols,
                             sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param param = {
        .rank = cols == 0 ? 1 : 2, .shape = {rows, cols == 0 ? 1 : cols}, .decay = true};
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof param.name) {
        return sella_err_set(err, SELLA_ARG, "tensor name '%.40s' has %zu bytes; expected 1 to %d",
                             name, length, SELLA_PARAM_NAME_MAX - 1);
    }
    if (sella_param_find(table, name)) {
        return sella_err_set(err, SELLA_ARG, "tensor '%s' is in the table already", name);
    }
    if (rows < 1 || cols < 0) {
        return sella_err_set(err, SELLA_SHAPE,
                             "tensor '%s' has shape [%lld, %lld]; expected positive sizes", name,
                             (long long)rows, (long long)cols);
    }
    if (__builtin_mul_overflow((size_t)rows, (size_t)param.shape[1], &param.count)) {
        return sella_err_memory(err, name, SIZE_MAX);
    }
    memcpy(param.name, name, length + 1);
    SELLA_TRY(table_grow(table, err));
    SELLA_TRY(values_new(param.count, name, "tensor", &param.data, err));
    SELLA_TRY(sella_param_train(&param, true, err));
    table->param[table->count++] = param;
    return SELLA_OK;
done:
    free(param.data);
    return status;
}

sella_param *sella_param_find(const sella_param_table *table, const char *name)
{
    for (int i = 0; i < table->count; i++) {
        if (strcmp(table->param[i].name, name) == 0) {
            return &table->param[i];
        }
    }
    return NULL;
}

sella_status sella_param_train(sella_param *param, bool trainable, sella_err *err)
{
    if (trainable && !param->grad) {
        sella_status status =
            values_new(param->count, param->name, "the gradient of", &param->grad, err);
        if (status != SELLA_OK) {
            return status;
        }
    } else if (!trainable) {
        free(param->grad);
        param->grad = NULL;
    }
    param->trainable = trainable;
    return SELLA_OK;
}

void sella_param_grad_zero(sella_param_table *table)
{
    for (int i = 0; i < table->count; i++) {
        if (table->param[i].grad) {
            memset(table->param[i].grad, 0, table->param[i].count * sizeof(float));
        }
    }
}

size_t sella_param_total(const sella_param_table *table, bool only_trainable)
{
    size_t total = 0;
    for (int i = 0; i < table->count; i++) {
        if (table->param[i].trainable || !only_trainable) {
            total += table->param[i].count;
        }
    }
    return total;
}

/* First index whose value is not finite, or count. Blocks are summed as x * 0 (NaN when any is not
 * finite), which vectorises. */
static size_t first_not_finite(const float *x, size_t count)
{
    enum { BLOCK = 4096 };
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t end = count - start < BLOCK ? count : start + BLOCK;
        float sum[8] = {0};
        size_t i = start;
        for (; i + 8 <= end; i += 8) {
            for (int j = 0; j < 8; j++) {
                sum[j] += x[i + (size_t)j] * 0.0f;
            }
        }
        bool finite = true;
        for (int j = 0; j < 8; j++) {
            finite = finite && !isnan(sum[j]);
        }
        for (size_t k = finite ? i : start; k < end; k++) {
            if (!isfinite(x[k])) {
                return k;
            }
        }
    }
    return count;
}

sella_status sella_param_check_finite(const sella_param_table *table, bool grads, const char *what,
                                      sella_err *err)
{
    for (int i = 0; i < table->count; i++) {
        const sella_param *param = &table->param[i];
        const float *x = grads ? param->grad : param->data;
        size_t k = x ? first_not_finite(x, param->count) : param->count;
        if (k < param->count) {
            size_t cols = (size_t)param->shape[1];
            return sella_err_set(err, SELLA_DIVERGED,
                                 "%s: %s '%s' is not finite (%g at row %zu, column %zu)", what,
                                 grads ? "the gradient of" : "tensor", param->name, (double)x[k],
                                 k / cols, k % cols);
        }
    }
    return SELLA_OK;
}
