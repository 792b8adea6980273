/* mf_sgd.h - matrix factorisation by stochastic gradients: fast epochs, the same on any number of
 * threads.
 *
 * Does:     Minimises, without the history part of mf.h,
 *             sum over rows BCE(z, y) + decay / 2 * N [sum_u r_u (|p_u|^2 + b_u^2) + sum_i r_i
 *             (|q_i|^2 + b_i^2)],
 *           r_u = sqrt(n_u / mean n) with n_u the rows of user u in train, items alike (r = 1 would
 *           be N times the objective of Adam with coupled decay; busy rows are held a little more).
 *           Each row of train takes one step of kernels/factor.h with its shares of the decay. b_0
 *           takes a damped Newton step. new -> epoch, epoch, ... -> free. Users and items that no
 *           row names are not moved. Users and items are dealt into a grid of G x G blocks once. An
 *           epoch walks G diagonals, drawn by (seed, epoch); the blocks of a diagonal share no row,
 *           so threads take them as they come, without locks.
 * Layout:   state: user.squares [U], item.squares [I], with biases user.bias.squares [U],
 *           item.bias.squares [I]: the adaptive rates; a loop that saves and restores this table
 *           beside the model's goes on exactly.
 * Memory:   12 bytes a row of train, and one packed copy of both tables.
 * Threads:  internally parallel; same bytes for any number of threads (G does not depend on it).
 * Paper:    Gemulla et al. 2011 (strata of blocks); Chin et al. 2015 (rates for each row).
 */
#ifndef SELLA_COLLAB_MF_SGD_H
#define SELLA_COLLAB_MF_SGD_H

#include "collab/controls.h"
#include "collab/mf.h"

typedef struct sella_mf_sgd_config {
    double decay;   /* >= 0 */
    /* start of the sums of squared gradients: > 0; larger means smaller first steps */
    double squares;
    int grid;       /* G; 0: chosen from the data */
    uint64_t seed;
} sella_mf_sgd_config;

typedef struct sella_mf_sgd sella_mf_sgd;

/* rows: train, borrowed for this call; every user and item in range of mf's tables. SELLA_ARG for a
 * model with the history part or an entry out of range. */
sella_status sella_mf_sgd_new(const sella_mf *mf, const sella_interactions *rows,
                              const sella_mf_sgd_config *config, sella_mf_sgd **out,
                              sella_err *err);
void sella_mf_sgd_free(sella_mf_sgd *sgd);
/* Owned by sgd. */
sella_param_table *sella_mf_sgd_state(sella_mf_sgd *sgd);
/* One pass over all rows at learning rate lr: mf's parameters and the state move. Returns the mean
 * loss, each row's from before its own step (not finite when the parameters left that range). */
double sella_mf_sgd_epoch(sella_mf_sgd *sgd, sella_mf *mf, int64_t epoch, double lr);

#endif
