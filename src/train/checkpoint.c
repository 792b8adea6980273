/* checkpoint.c - checkpoint folders (train/checkpoint.h).
 *
 * DONE is written last inside a folder that is made aside and then renamed, so a folder with the
 * right name is complete; its sizes and hashes find what a disk lost afterwards.
 */
#include "train/checkpoint.h"

#include <inttypes.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "formats/safetensors.h"

enum { FORMAT_VERSION = 1, JSON_LIMIT = 64 << 20, FILES = 4 };

static const char *const file_names[FILES] = {"params.safetensors", "moments.safetensors",
                                              "best.safetensors", "position.json"};

/* The tensors of one file: where they live here. */
typedef struct list {
    sella_tensor_out *tensor; /* [count] */
    float **data;             /* [count] the same places, writable */
    int count;
} list;

static void list_release(list *l)
{
    free(l->tensor);
    free(l->data);
    *l = (list){0};
}

static sella_status list_alloc(list *l, int capacity, sella_err *err)
{
    l->tensor = sella_alloc((size_t)capacity, sizeof *l->tensor, "a checkpoint", err);
    l->data = sella_alloc((size_t)capacity, sizeof *l->data, "a checkpoint", err);
    return l->tensor && l->data ? SELLA_OK : SELLA_MEMORY;
}

static void list_add(list *l, const char *name, int rank, int64_t rows, int64_t cols, float *data)
{
    l->tensor[l->count] =
        (sella_tensor_out){.name = name, .rank = rank, .shape = {rows, cols}, .data = data};
    l->data[l->count++] = data;
}

/* Trainable rows of all tables; values are best's when it is not NULL. */
static sella_status list_params(const sella_checkpoint *state, float *const *best, list *l,
                                sella_err *err)
{
    int rows = 0, k = 0;
    for (int t = 0; t < state->n; t++) {
        rows += state->tables[t]->count;
    }
    sella_status status = list_alloc(l, rows, err);
    for (int t = 0; status == SELLA_OK && t < state->n; t++) {
        for (int i = 0; i < state->tables[t]->count; i++) {
            sella_param *param = &state->tables[t]->param[i];
            if (param->trainable) {
                list_add(l, param->name, param->rank, param->shape[0], param->shape[1],
                         best ? best[k] : param->data);
                k++;
            }
        }
    }
    return status;
}

static sella_status list_moments(const sella_optimizer *optimizer, list *l, sella_err *err)
{
    const int n = sella_optimizer_state_count(optimizer);
    sella_status status = list_alloc(l, n, err);
    for (int i = 0; status == SELLA_OK && i < n; i++) {
        const char *name;
        float *data;
        size_t count;
        sella_optimizer_state_at(optimizer, i, &name, &data, &count);
        list_add(l, name, 1, (int64_t)count, 0, data);
    }
    return status;
}

/* The list of file f; empty when the state has no such part. */
static sella_status list_of_file(const sella_checkpoint *state, int f, list *l, sella_err *err)
{
    *l = (list){0};
    switch (f) {
    case 0: return list_params(state, NULL, l, err);
    case 1: return state->optimizer ? list_moments(state->optimizer, l, err) : SELLA_OK;
    case 2: return state->best ? list_params(state, state->best, l, err) : SELLA_OK;
    default: return SELLA_OK;
    }
}

static sella_status join(char **out, const char *dir, const char *name, sella_err *err)
{
    *out = sella_path_join(dir, name, NULL);
    return *out ? SELLA_OK : sella_err_memory(err, "a path", strlen(dir) + strlen(name) + 2);
}

/* Hash of DONE's other members, so that the marker is checked as the files are. */
static sella_status done_digits(const json_t *done, char digits[17], sella_err *err)
{
    json_t *others = json_copy((json_t *)(uintptr_t)done);
    char *line = NULL;
    if (others) {
        (void)json_object_del(others, "check");
        line = sella_json_line(others);
    }
    json_decref(others);
    if (!line) {
        return sella_err_memory(err, "a checkpoint", 0);
    }
    snprintf(digits, 17, "%016" PRIx64, sella_hash_bytes(line, strlen(line), 0));
    free(line);
    return SELLA_OK;
}

/* ---- save ---- */

static sella_status write_done(const char *dir, int64_t step, const sella_checkpoint *state,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = NULL;
    json_t *files = json_object();
    json_t *done = json_pack("{s:i, s:I, s:O?}", "format", FORMAT_VERSION, "step", (json_int_t)step,
                             "files", files);
    if (!done || !files) {
        status = sella_err_memory(err, "a checkpoint", 0);
        goto done;
    }
    for (int f = 0; f < FILES; f++) {
        char digits[17];
        sella_map map;
        SELLA_TRY(join(&path, dir, file_names[f], err));
        if (sella_path_exists(path)) {
            SELLA_TRY(sella_map_open(path, &map, err));
            snprintf(digits, sizeof digits, "%016" PRIx64, sella_hash_bytes(map.data, map.size, 0));
            json_object_set_new(
                files, file_names[f],
                json_pack("{s:I, s:s}", "bytes", (json_int_t)map.size, "hash", digits));
            sella_map_close(&map);
        }
        free(path);
        path = NULL;
    }
    if (state->optimizer) {
        json_t *rows = json_array();
        for (int i = 0; i < sella_optimizer_row_count(state->optimizer); i++) {
            json_array_append_new(
                rows, json_integer((json_int_t)sella_optimizer_row_steps(state->optimizer, i)));
        }
        json_object_set_new(done, "optimizer_steps",
                            json_integer((json_int_t)sella_optimizer_steps(state->optimizer)));
        json_object_set_new(done, "row_steps", rows);
    }
    char digits[17];
    SELLA_TRY(done_digits(done, digits, err));
    json_object_set_new(done, "check", json_string(digits));
    SELLA_TRY(join(&path, dir, "DONE", err));
    status = sella_json_save(path, done, err);
done:
    free(path);
    json_decref(files);
    json_decref(done);
    return status;
}

static sella_status write_files(const char *dir, const sella_checkpoint *state,
                                const json_t *position, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = NULL;
    list l = {0};
    for (int f = 0; f < FILES - 1; f++) {
        SELLA_TRY(list_of_file(state, f, &l, err));
        if (l.tensor) {
            SELLA_TRY(join(&path, dir, file_names[f], err));
            SELLA_TRY(sella_safetensors_write(path, l.tensor, l.count, NULL, err));
            free(path);
            path = NULL;
        }
        list_release(&l);
    }
    SELLA_TRY(join(&path, dir, file_names[FILES - 1], err));
    status = sella_json_save(path, position, err);
done:
    free(path);
    list_release(&l);
    return status;
}

/* The number in "step-<12 digits>", or -1. */
static int64_t step_of_name(const char *name)
{
    int64_t step;
    if (strlen(name) != 17 || memcmp(name, "step-", 5) != 0) {
        return -1;
    }
    return sella_parse_int(name + 5, 12, 0, 999999999999, "step", &step, NULL) == SELLA_OK ? step
                                                                                           : -1;
}

/* Remove every checkpoint but `keep`, and what a killed save left aside. */
static sella_status remove_others(const char *dir, const char *keep, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **names = NULL, *path = NULL;
    size_t count = 0;
    SELLA_TRY(sella_dir_list(dir, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        const bool aside = strncmp(names[i], "new-step-", 9) == 0;
        if (strcmp(names[i], keep) != 0 && (aside || step_of_name(names[i]) >= 0)) {
            SELLA_TRY(join(&path, dir, names[i], err));
            SELLA_TRY(sella_path_remove(path, err));
            free(path);
            path = NULL;
        }
    }
done:
    free(path);
    sella_names_free(names, count);
    return status;
}

sella_status sella_checkpoint_save(const char *dir, int64_t step, const sella_checkpoint *state,
                                   const json_t *position, sella_err *err)
{
    sella_status status = SELLA_OK;
    char name[40], *aside = NULL, *path = NULL;
    if (step < 0 || step > 999999999999) {
        return sella_err_set(err, SELLA_ARG, "checkpoint step %lld; expected 0 to 999999999999",
                             (long long)step);
    }
    SELLA_TRY(sella_dir_make(dir, err));
    snprintf(name, sizeof name, "new-step-%012lld", (long long)step);
    SELLA_TRY(join(&aside, dir, name, err));
    SELLA_TRY(join(&path, dir, name + 4, err));
    SELLA_TRY(sella_path_remove(aside, err));
    SELLA_TRY(sella_dir_make(aside, err));
    SELLA_TRY(write_files(aside, state, position, err));
    SELLA_TRY(write_done(aside, step, state, err));
    SELLA_TRY(sella_path_remove(path, err)); // one of the same step: only when a caller saves twice
    SELLA_TRY(sella_dir_publish(aside, path, err));
    status = remove_others(dir, name + 4, err);
done:
    if (status != SELLA_OK && aside) {
        (void)sella_path_remove(aside, NULL);
    }
    free(aside);
    free(path);
    return status;
}

/* ---- load ---- */

/* Sizes and hashes of the files against DONE. */
static sella_status check_files(const char *dir, const char *done_path, const json_t *done,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = NULL;
    const json_t *files = NULL, *entry = NULL;
    sella_map map = {0};
    int64_t format;
    const char *check;
    char own[17];
    SELLA_TRY(sella_json_get_int(done, "format", done_path, FORMAT_VERSION, FORMAT_VERSION, &format,
                                 err));
    SELLA_TRY(sella_json_get_string(done, "check", done_path, &check, err));
    SELLA_TRY(done_digits(done, own, err));
    if (strcmp(check, own) != 0) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: is damaged: its hash is %s; expected %s",
                               done_path, own, check);
        goto done;
    }
    SELLA_TRY(sella_json_get_object(done, "files", done_path, &files, err));
    for (int f = 0; f < FILES; f++) {
        const bool needed = f == 0 || f == FILES - 1;
        int64_t bytes;
        const char *hash;
        char digits[17];
        if (!needed && !json_object_get(files, file_names[f])) {
            continue;
        }
        SELLA_TRY(sella_json_get_object(files, file_names[f], done_path, &entry, err));
        SELLA_TRY(sella_json_get_int(entry, "bytes", done_path, 0, INT64_MAX, &bytes, err));
        SELLA_TRY(sella_json_get_string(entry, "hash", done_path, &hash, err));
        SELLA_TRY(join(&path, dir, file_names[f], err));
        SELLA_TRY(sella_map_open(path, &map, err));
        snprintf(digits, sizeof digits, "%016" PRIx64, sella_hash_bytes(map.data, map.size, 0));
        if ((int64_t)map.size != bytes || strcmp(digits, hash) != 0) {
            status = sella_err_set(
                err, SELLA_FORMAT,
                "%s: has %zu bytes with hash %s; expected %lld bytes with hash %s as in DONE", path,
                map.size, digits, (long long)bytes, hash);
            goto done;
        }
        sella_map_close(&map);
        free(path);
        path = NULL;
    }
done:
    sella_map_close(&map);
    free(path);
    return status;
}

/* Names of all tensors of `l` that the file lacks or has otherwise, in one sentence. */
static sella_status check_shapes(const char *path, const sella_safetensors *file, const list *l,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text misses = {0};
    int wrong = 0;
    for (int i = 0; i < l->count; i++) {
        const sella_tensor_out *want = &l->tensor[i];
        const sella_tensor *have = sella_safetensors_find(file, want->name);
        bool fits =
            have && have->readable && have->dtype == SELLA_DTYPE_F32 && have->rank == want->rank;
        for (int r = 0; fits && r < want->rank; r++) {
            fits = have->shape[r] == want->shape[r];
        }
        if (!fits && ++wrong <= 8) {
            SELLA_TRY(sella_text_format(&misses, err, "%s%s", wrong == 1 ? "" : ", ", want->name));
        }
    }
    if (wrong > 0) {
        status = sella_err_set(
            err, SELLA_SHAPE,
            "%s: %d tensor%s missing or of another shape than this run needs: %s%s", path, wrong,
            wrong == 1 ? " is" : "s are", misses.data, wrong > 8 ? ", ..." : "");
    } else if (sella_safetensors_count(file) != l->count) {
        status = sella_err_set(err, SELLA_SHAPE, "%s: has %d tensors; expected %d", path,
                               sella_safetensors_count(file), l->count);
    }
done:
    sella_text_release(&misses);
    return status;
}

/* One file's tensors: checked only (copy false), or copied into place. */
static sella_status load_file(const char *dir, const sella_checkpoint *state, int f, bool copy,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = NULL;
    sella_safetensors *file = NULL;
    list l = {0};
    SELLA_TRY(list_of_file(state, f, &l, err));
    SELLA_TRY(join(&path, dir, file_names[f], err));
    const bool there = sella_path_exists(path);
    if (there != (l.tensor != NULL)) {
        if (f == 2 && !there) {
            goto done; // saved before the first evaluation
        }
        status =
            sella_err_set(err, SELLA_SHAPE, "%s: is %s; this run %s", path,
                          there ? "there" : "missing", there ? "has no use for it" : "needs it");
        goto done;
    }
    if (there) {
        SELLA_TRY(sella_safetensors_open(path, &file, err));
        SELLA_TRY(check_shapes(path, file, &l, err));
        for (int i = 0; copy && i < l.count; i++) {
            const sella_tensor *tensor = sella_safetensors_find(file, l.tensor[i].name);
            memcpy(l.data[i], tensor->data, (size_t)tensor->bytes);
        }
    }
done:
    sella_safetensors_close(file);
    list_release(&l);
    free(path);
    return status;
}

static sella_status load_counts(const char *done_path, const json_t *done,
                                sella_optimizer *optimizer, bool copy, sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *rows = NULL;
    int64_t steps;
    const int n = sella_optimizer_row_count(optimizer);
    SELLA_TRY(sella_json_get_int(done, "optimizer_steps", done_path, 0, INT64_MAX, &steps, err));
    SELLA_TRY(sella_json_get_array(done, "row_steps", done_path, &rows, err));
    if ((int)json_array_size(rows) != n) {
        status = sella_err_set(err, SELLA_SHAPE, "%s: has step counts of %zu tensors; expected %d",
                               done_path, json_array_size(rows), n);
        goto done;
    }
    for (int i = 0; i < n; i++) {
        const json_t *value = json_array_get(rows, (size_t)i);
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > steps) {
            status = sella_err_set(err, SELLA_FORMAT,
                                   "%s: step count %d is not a whole number from 0 to %lld",
                                   done_path, i, (long long)steps);
            goto done;
        }
    }
    if (copy) {
        sella_optimizer_set_steps(optimizer, steps);
        for (int i = 0; i < n; i++) {
            sella_optimizer_set_row_steps(
                optimizer, i, (int64_t)json_integer_value(json_array_get(rows, (size_t)i)));
        }
    }
done:
    return status;
}

static sella_status load_folder(const char *dir, sella_checkpoint *state, json_t **position,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    char *done_path = NULL, *position_path = NULL;
    json_t *done = NULL;
    *position = NULL;
    SELLA_TRY(join(&done_path, dir, "DONE", err));
    SELLA_TRY(join(&position_path, dir, file_names[FILES - 1], err));
    SELLA_TRY(sella_json_load(done_path, JSON_LIMIT, &done, err));
    SELLA_TRY(check_files(dir, done_path, done, err));
    SELLA_TRY(sella_json_load(position_path, JSON_LIMIT, position, err));
    for (int copy = 0; copy < 2; copy++) {
        for (int f = 0; f < FILES - 1; f++) {
            SELLA_TRY(load_file(dir, state, f, copy, err));
        }
        if (state->optimizer) {
            SELLA_TRY(load_counts(done_path, done, state->optimizer, copy, err));
        }
    }
done:
    if (status != SELLA_OK) {
        json_decref(*position);
        *position = NULL;
    }
    json_decref(done);
    free(done_path);
    free(position_path);
    return status;
}

sella_status sella_checkpoint_load(const char *dir, sella_checkpoint *state, bool *found,
                                   json_t **position, sella_err *err)
{
    sella_status status = SELLA_OK, loaded = SELLA_OK; // of the last complete folder
    char **names = NULL, *path = NULL;
    size_t count = 0;
    *found = false;
    *position = NULL;
    if (!sella_path_is_dir(dir)) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_dir_list(dir, &names, &count, err));
    for (size_t i = count; i-- > 0;) { // sorted names: the newest is last
        if (step_of_name(names[i]) < 0) {
            continue;
        }
        free(path);
        SELLA_TRY(join(&path, dir, names[i], err));
        char *done = sella_path_join(path, "DONE", NULL);
        const bool complete = done && sella_path_exists(done);
        free(done);
        if (!complete) {
            continue;
        }
        loaded = load_folder(path, state, position, err);
        if (loaded != SELLA_FORMAT && loaded != SELLA_MISSING && loaded != SELLA_IO) {
            *found = loaded == SELLA_OK;
            break;
        }
    }
    status = loaded;
done:
    free(path);
    sella_names_free(names, count);
    return status;
}
