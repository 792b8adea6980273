/* spread.h - mean and standard deviation of figures objects of several runs.
 *
 * Does:     Walks objects of one shape (docs/eval.md) at once: a real number, or null for a figure
 *           that does not exist, becomes the mean or the deviation over the objects; objects and
 *           lists are walked; whole numbers and texts, which count and name, are left out. The
 *           deviation divides by n - 1, so that one run has none (null). A figure that one of the
 *           runs lacks is null: a mean over fewer runs would not be what it says.
 * Threads:  pure.
 */
#ifndef SELLA_EVAL_SPREAD_H
#define SELLA_EVAL_SPREAD_H

#include <jansson.h>

/* New references; NULL when memory is out. object_n in [n] borrowed, n >= 1. */
json_t *sella_spread_mean(const json_t *const *object_n, int n);
json_t *sella_spread_sd(const json_t *const *object_n, int n);

#endif
