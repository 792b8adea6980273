/* estimate.h - what a training will take: time from a measured product rate, memory against what the machine has,
 * rows that fit a time budget.
 *
 * Does:     A method's estimate() counts operations and bytes; this turns them into seconds, a refusal, or row
 *           counts.
 * Threads:  internally parallel while it measures.
 * Not here: the memory that the machine has (base/memory.h).
 */
#ifndef SELLA_METHODS_ESTIMATE_H
#define SELLA_METHODS_ESTIMATE_H

#include "methods/method.h"

/* Floating-point operations a second of single-precision products of [tokens, C] with [n, C]^T, measured for a few
 * tenths of a second. */
double sella_measure_rate(int C, int n, int tokens, sella_err *err);

/* Seconds of an estimate at that rate: products reach a part of it in the language model and less in small
 * collaborative steps. */
double sella_estimate_seconds(const sella_estimate *estimate, double rate);

/* Forward operations of one token: 2 P with P = weights outside the embeddings (SPEC section 5). */
double sella_token_flops(const sella_backbone_config *shape);

/* Largest row counts (train and valid) that take at most `seconds` at `rate`; never below a smallest sample that can
 * still train (64 rows, or all when fewer). */
sella_status sella_budget_rows(const sella_method *method, const sella_settings *settings, uint64_t seed,
                               const sella_dataset *dataset, const char *model, double seconds, double rate,
                               int64_t *train_rows, int64_t *eval_rows, sella_err *err);

#endif
