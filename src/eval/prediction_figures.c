/* prediction_figures.c - figures and comparisons of prediction files (sella/eval.h). */
#include <math.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "eval/metrics.h"
#include "eval/predictions.h"

static sella_status rows_check(const char *where, sella_predictions *p, sella_err *err)
{
    if (p->count > 0) {
        return SELLA_OK;
    }
    sella_predictions_release(p);
    return sella_err_set(err, SELLA_FORMAT, "%s: has no rows; expected at least one", where);
}

static sella_status read_rows(const char *path, sella_predictions *out, sella_err *err)
{
    const sella_status status = sella_predictions_read(path, out, err);
    return status == SELLA_OK ? rows_check(path, out, err) : status;
}

static sella_status draws_check(int draws, int least, sella_err *err)
{
    if (draws < least || draws > SELLA_DRAWS_MAX) {
        return sella_err_set(err, SELLA_ARG, "%d bootstrap draws; expected %d to %d", draws, least,
                             SELLA_DRAWS_MAX);
    }
    return SELLA_OK;
}

/* One number for users, items and labels in order: prediction files of the same rows share it. */
static uint64_t rows_id(const sella_predictions *p)
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < p->count; i++) {
        hash = sella_hash_bytes(p->user[i], strlen(p->user[i]) + 1, hash);
        hash = sella_hash_bytes(p->item[i], strlen(p->item[i]) + 1, hash);
        hash = sella_hash_bytes(&p->label[i], 1, hash);
    }
    return hash;
}

static sella_status metrics_of(const sella_predictions *p, int draws, uint64_t seed,
                               sella_metrics *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    uint8_t *cold = NULL;
    *out = (sella_metrics){.auc_ci = {NAN, NAN},
                           .uauc_ci = {NAN, NAN},
                           .draws = draws,
                           .rows_id = rows_id(p)};
    SELLA_TRY(
        sella_figures_compute(p->user_code, p->label, p->score, NULL, p->count, &out->all, err));
    if (p->warm) {
        out->has_warm = 1;
        cold = sella_alloc((size_t)p->count, 1, "a subset of rows", err);
        if (!cold) {
            status = SELLA_MEMORY;
            goto done;
        }
        for (int64_t i = 0; i < p->count; i++) {
            cold[i] = !p->warm[i];
        }
        SELLA_TRY(sella_figures_compute(p->user_code, p->label, p->score, p->warm, p->count,
                                        &out->warm, err));
        SELLA_TRY(sella_figures_compute(p->user_code, p->label, p->score, cold, p->count,
                                        &out->cold, err));
    }
    if (draws > 0) {
        SELLA_TRY(sella_bootstrap(p->user_code, p->label, p->score, p->count, draws, seed,
                                  &out->auc_ci, &out->uauc_ci, err));
    }
done:
    free(cold);
    return status;
}

sella_status sella_metrics_file(const char *path, int draws, uint64_t seed, sella_metrics *out,
                                sella_err *err)
{
    sella_predictions p = {0};
    sella_status status = draws_check(draws, 0, err);
    status = status == SELLA_OK ? read_rows(path, &p, err) : status;
    status = status == SELLA_OK ? metrics_of(&p, draws, seed, out, err) : status;
    sella_predictions_release(&p);
    return status;
}

sella_status sella_metrics_csv(const char *name, const char *data, size_t bytes, int draws,
                               uint64_t seed, sella_metrics *out, sella_err *err)
{
    sella_predictions p = {0};
    sella_status status = draws_check(draws, 0, err);
    status = status == SELLA_OK ? sella_predictions_parse(name, data, bytes, &p, err) : status;
    status = status == SELLA_OK ? rows_check(name, &p, err) : status;
    status = status == SELLA_OK ? metrics_of(&p, draws, seed, out, err) : status;
    sella_predictions_release(&p);
    return status;
}

/* ---- the same rows? ---- */

static bool same_row(const sella_predictions *a, int64_t i, const sella_predictions *b, int64_t j)
{
    return a->label[i] == b->label[j] && strcmp(a->user[i], b->user[j]) == 0 &&
           strcmp(a->item[i], b->item[j]) == 0;
}

/* First place where the files differ row by row; count when one has more rows, -1 when all are the
 * same. */
static int64_t first_difference(const sella_predictions *a, const sella_predictions *b)
{
    const int64_t least = a->count < b->count ? a->count : b->count;
    for (int64_t i = 0; i < least; i++) {
        if (!same_row(a, i, b, i)) {
            return i;
        }
    }
    return a->count == b->count ? -1 : least;
}

/* Open hash of the rows of p by (user, item). slot [slots] holds row + 1. */
typedef struct pairs {
    const sella_predictions *p;
    int64_t *slot;
    size_t slots;
} pairs;

static size_t pair_slot(const pairs *all, const char *user, const char *item)
{
    size_t at =
        (size_t)sella_hash_bytes(item, strlen(item), sella_hash_bytes(user, strlen(user), 0)) &
        (all->slots - 1);
    for (; all->slot[at] != 0; at = (at + 1) & (all->slots - 1)) {
        const int64_t row = all->slot[at] - 1;
        if (strcmp(all->p->user[row], user) == 0 && strcmp(all->p->item[row], item) == 0) {
            break;
        }
    }
    return at;
}

/* *unique is false when a pair occurs twice. */
static sella_status pairs_init(pairs *all, const sella_predictions *p, bool *unique, sella_err *err)
{
    *all = (pairs){.p = p, .slots = 64};
    *unique = true;
    while (all->slots < 2 * (size_t)p->count) {
        all->slots *= 2;
    }
    all->slot = sella_alloc(all->slots, sizeof *all->slot, "pairs of users and items", err);
    if (!all->slot) {
        return SELLA_MEMORY;
    }
    for (int64_t i = 0; i < p->count && *unique; i++) {
        const size_t at = pair_slot(all, p->user[i], p->item[i]);
        *unique = all->slot[at] == 0;
        all->slot[at] = i + 1;
    }
    return SELLA_OK;
}

/* partner [a->count]: the row of b that is a's row i, for files in different order. */
static sella_status match_rows(const char *path_a, const sella_predictions *a, const char *path_b,
                               const sella_predictions *b, int64_t first, int64_t *partner,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    pairs of_a = {0}, of_b = {0};
    bool unique_a = false, unique_b = false;
    SELLA_TRY(pairs_init(&of_a, a, &unique_a, err));
    SELLA_TRY(pairs_init(&of_b, b, &unique_b, err));
    if (!unique_a || !unique_b) {
        const bool a_ends = first >= a->count, b_ends = first >= b->count;
        const char *path = a_ends ? path_b : path_a;
        const int64_t line = a_ends ? b->line[first] : a->line[first];
        status =
            sella_err_set(err, SELLA_STATE,
                          "%s:%lld: the row (user '%.80s', item '%.80s') %s %s%s; some pairs of "
                          "user and item occur twice, so rows cannot be matched in another order",
                          path, (long long)line, a_ends ? b->user[first] : a->user[first],
                          a_ends ? b->item[first] : a->item[first],
                          a_ends || b_ends ? "has no partner:" : "is another than on that line of",
                          a_ends ? path_a : path_b, a_ends || b_ends ? " ends before" : "");
        goto done;
    }
    for (int64_t i = 0; i < a->count; i++) {
        const int64_t row = of_b.slot[pair_slot(&of_b, a->user[i], a->item[i])] - 1;
        if (row < 0) {
            status = sella_err_set(
                err, SELLA_STATE,
                "%s:%lld: user '%.80s', item '%.80s' is not in %s; expected the same rows", path_a,
                (long long)a->line[i], a->user[i], a->item[i], path_b);
            goto done;
        }
        if (a->label[i] != b->label[row]) {
            status = sella_err_set(
                err, SELLA_STATE,
                "%s:%lld: the label of user '%.80s', item '%.80s' is %d, but %d in %s:%lld", path_a,
                (long long)a->line[i], a->user[i], a->item[i], a->label[i], b->label[row], path_b,
                (long long)b->line[row]);
            goto done;
        }
        partner[i] = row;
    }
    for (int64_t i = 0; b->count > a->count && i < b->count; i++) {
        if (of_a.slot[pair_slot(&of_a, b->user[i], b->item[i])] == 0) {
            status = sella_err_set(
                err, SELLA_STATE,
                "%s:%lld: user '%.80s', item '%.80s' is not in %s; expected the same rows", path_b,
                (long long)b->line[i], b->user[i], b->item[i], path_a);
            goto done;
        }
    }
done:
    free(of_a.slot);
    free(of_b.slot);
    return status;
}

sella_status sella_compare_files(const char *path_a, const char *path_b, int draws, uint64_t seed,
                                 sella_comparison *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_predictions a = {0}, b = {0};
    int64_t *partner = NULL;
    double *score = NULL;
    SELLA_TRY(draws_check(draws, 1, err));
    SELLA_TRY(read_rows(path_a, &a, err));
    SELLA_TRY(read_rows(path_b, &b, err));
    const int64_t first = first_difference(&a, &b);
    if (first >= 0) {
        partner = sella_alloc((size_t)a.count, sizeof *partner, "matched rows", err);
        score = sella_alloc((size_t)a.count, sizeof *score, "matched rows", err);
        if (!partner || !score) {
            status = SELLA_MEMORY;
            goto done;
        }
        SELLA_TRY(match_rows(path_a, &a, path_b, &b, first, partner, err));
        for (int64_t i = 0; i < a.count; i++) {
            score[i] = b.score[partner[i]];
        }
    }
    status = sella_bootstrap_paired(a.user_code, a.label, a.score, score ? score : b.score, a.count,
                                    draws, seed, out, err);
done:
    free(partner);
    free(score);
    sella_predictions_release(&a);
    sella_predictions_release(&b);
    return status;
}

/* ---- JSON ---- */

static json_t *interval_json(const sella_interval *interval)
{
    return isnan(interval->low) ? json_null()
                                : json_pack("[o, o]", sella_json_real(interval->low),
                                            sella_json_real(interval->high));
}

static sella_status line_of(json_t *object, char **json, sella_err *err)
{
    *json = object ? sella_json_line(object) : NULL;
    json_decref(object);
    return *json ? SELLA_OK : sella_err_memory(err, "figures", 0);
}

sella_status sella_metrics_json(const sella_metrics *metrics, char **json, sella_err *err)
{
    json_t *object = sella_figures_object(NULL, NULL, NULL, &metrics->all,
                                          metrics->has_warm ? &metrics->warm : NULL,
                                          metrics->has_warm ? &metrics->cold : NULL);
    if (object) {
        json_object_set_new(object, "auc_ci", interval_json(&metrics->auc_ci));
        json_object_set_new(object, "uauc_ci", interval_json(&metrics->uauc_ci));
    }
    return line_of(object, json, err);
}

sella_status sella_comparison_json(const sella_comparison *c, char **json, sella_err *err)
{
    return line_of(json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:i}", "rows",
                             (json_int_t)c->rows, "users", (json_int_t)c->users, "auc_a",
                             sella_json_real(c->auc_a), "auc_b", sella_json_real(c->auc_b),
                             "auc_diff", sella_json_real(c->auc_diff), "auc_ci",
                             interval_json(&c->auc_ci), "uauc_diff", sella_json_real(c->uauc_diff),
                             "uauc_ci", interval_json(&c->uauc_ci), "draws", c->draws),
                   json, err);
}
