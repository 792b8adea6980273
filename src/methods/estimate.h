/* estimate.h - what a training will take when nobody else uses the processors: time from a measured
 * product rate, memory against what the machine has, rows that fit a time budget.
 *
 * Does:     A method's estimate() counts operations and bytes; this turns them into seconds, a
 *           refusal, or row counts.
 * Threads:  internally parallel while it measures.
 * Not here: the memory that the machine has (base/memory.h).
 */
#ifndef SELLA_METHODS_ESTIMATE_H
#define SELLA_METHODS_ESTIMATE_H

#include "methods/method.h"
#include "sella/train.h"

/* Rates that were measured, for estimates that are made together; zero-initialised. */
enum { SELLA_RATES = 8 };
typedef struct sella_rates {
    int count;
    struct sella_rate_of {
        int C, n, tokens;
        double rate;
    } of[SELLA_RATES];
    bool told[3]; /* by sella_weights: that this choice was said */
} sella_rates;

/* Floating-point operations a second of single-precision products of [tokens, C] with [n, C]^T:
 * what one thread does in its own processor time, times the threads. Programs beside this one do
 * not enter, so that estimates can be compared. */
sella_status sella_rate(sella_rates *rates, int C, int n, int tokens, double *rate, sella_err *err);

/* What sella_train says with options->dry_run; rates: shared by several estimates. */
sella_status sella_train_dry_run(const sella_train_options *options, sella_rates *rates,
                                 const sella_talk *talk, char **json, sella_err *err);

/* Epochs that a stage is likely to run: all, or the share within which one that stops on valid
 * usually stops. */
double sella_estimate_epochs(int64_t epochs, int64_t least, int64_t patience,
                             const sella_dataset *dataset);

/* Seconds of an estimate at that rate: products reach a part of it in the language model and less
 * in small collaborative steps. */
double sella_estimate_seconds(const sella_estimate *estimate, double rate);

/* Forward operations of one token: 2 P with P = weights outside the embeddings (SPEC section 5). */
double sella_token_flops(const sella_backbone_config *shape);

/* Largest row counts (train and valid) that take at most `seconds` at `rate`; never below a
 * smallest sample that can still train (64 rows, or all when fewer). Those of ask are not read. */
sella_status sella_budget_rows(const sella_estimate_ask *ask, double seconds, double rate,
                               int64_t *train_rows, int64_t *eval_rows, sella_err *err);

#endif
