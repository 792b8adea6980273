/* teacher.c - targets and offsets from the control `bias` (methods/teacher.h). */
#include "methods/teacher.h"

#include <stdlib.h>

#include "base/arena.h"
#include "collab/controls.h"
#include "kernels/activation.h"

sella_status sella_teacher_make(const sella_settings *settings, const sella_dataset *dataset,
                                const sella_corpus *corpus, sella_teacher *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const bool teaches = sella_settings_is(settings, "stage1.teacher", "bias"),
               offsets = sella_settings_bool(settings, "stage1.offset");
    const double w = sella_settings_real(settings, "stage1.teacher_weight");
    const size_t rows = (size_t)corpus->rows;
    double mean = 0;
    sella_param_table control;
    *out = (sella_teacher){0};
    if (!teaches && !offsets) {
        return SELLA_OK;
    }
    const sella_split *train = &dataset->split[SELLA_SPLIT_TRAIN];
    const sella_interactions all = {train->rows, train->user_n, train->item_n, train->label_n};
    sella_param_table_init(&control);
    SELLA_TRY(sella_bias_fit(&all, dataset->users, dataset->items, NULL, &control, err));
    const float *user = sella_param_find(&control, "user.bias")->data,
                *item = sella_param_find(&control, "item.bias")->data,
                *global = sella_param_find(&control, "global.bias")->data;
    out->target_n = teaches ? sella_alloc(rows, sizeof *out->target_n, "targets", err) : NULL;
    out->offset_n = offsets ? sella_alloc(rows, sizeof *out->offset_n, "offsets", err) : NULL;
    if ((teaches && !out->target_n) || (offsets && !out->offset_n)) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (size_t r = 0; r < rows; r++) {
        mean += (double)user[corpus->query_n[r].user] / (double)rows;
    }
    for (size_t r = 0; r < rows; r++) {
        const sella_query *q = &corpus->query_n[r];
        if (teaches) {
            const double taught =
                sella_sigmoid((double)(global[0] + user[q->user] + item[q->item]));
            out->target_n[r] = (float)((1 - w) * (double)corpus->label_n[r] + w * taught);
        }
        if (offsets) {
            out->offset_n[r] = user[q->user] - (float)mean;
        }
    }
done:
    sella_param_table_release(&control);
    if (status != SELLA_OK) {
        sella_teacher_release(out);
    }
    return status;
}

void sella_teacher_release(sella_teacher *teacher)
{
    free(teacher->target_n);
    free(teacher->offset_n);
    *teacher = (sella_teacher){0};
}
