/* teacher.h - what the rows of a stage learn beside their labels: the control `bias`.
 *
 * Does:     target = (1 - w) y + w sigmoid(b0 + b_u + b_i)   with stage1.teacher=bias,
 *                                                            w = stage1.teacher_weight;
 *           offset = b_u - mean over the rows of b_u         with stage1.offset=yes.
 *           The control is fitted on all rows of train, however few of them the stage sees: a small
 *           sample of labels says little about an item, its mean over all users says more. Offsets
 *           stand in for what no title tells, who rates high; they are left out of scoring.
 * Memory:   owns both arrays.
 * Threads:  pure.
 * Paper:    not in it (docs/deviations.md). Soft targets: Hinton et al. 2015.
 */
#ifndef SELLA_METHODS_TEACHER_H
#define SELLA_METHODS_TEACHER_H

#include "methods/corpus.h"

typedef struct sella_teacher {
    float *target_n; /* [rows of the corpus], NULL: the labels */
    float *offset_n; /* [rows of the corpus], NULL: none */
} sella_teacher;

/* For the rows of `corpus`, made of train. SELLA_STATE when train has one label only. */
sella_status sella_teacher_make(const sella_settings *settings, const sella_dataset *dataset,
                                const sella_corpus *corpus, sella_teacher *out, sella_err *err);
void sella_teacher_release(sella_teacher *teacher);

#endif
