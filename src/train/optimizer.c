/* optimizer.c - Adam and AdamW over parameter tables (train/optimizer.h).
 *
 * The values of all rows are cut into blocks of a fixed size. Threads take blocks, so that neither
 * the update (element by element) nor the norm (one double per block, added in block order) depends
 * on how many there are.
 *
 * Easy to get wrong: each row counts its own steps. With training groups a row that joins late
 * starts with moments of zero, and the bias correction of a common count would make its first steps
 * ten times too small.
 */
#include "train/optimizer.h"

#include <math.h>

#include "base/arena.h"

enum {
    BLOCK = 8192, /* values of a block */
    SMALL = 48    /* blocks that are not worth waking threads for: 0.2 ms or so */
};

typedef struct row {
    sella_param *param;
    float *m, *v; /* [count] */
    char m_name[SELLA_PARAM_NAME_MAX + 2], v_name[SELLA_PARAM_NAME_MAX + 2];
    int64_t steps;
} row;

typedef struct block {
    int row;
    size_t start, count;
} block;

struct sella_optimizer {
    sella_optimizer_config config;
    row *row; /* [rows] the trainable ones, in walking order */
    int rows;
    block *block; /* [blocks] */
    int64_t blocks;
    double *sum; /* [blocks] scratch */
    int64_t steps;
};

static sella_status config_check(const sella_optimizer_config *config, sella_err *err)
{
    const struct {
        const char *name;
        double value, below;
    } range[] = {{"beta1", config->beta1, 1},
                 {"beta2", config->beta2, 1},
                 {"weight_decay", config->weight_decay, INFINITY},
                 {"clip", config->clip, INFINITY}};
    for (size_t i = 0; i < sizeof range / sizeof range[0]; i++) {
        if (!(range[i].value >= 0 && range[i].value < range[i].below)) {
            return sella_err_set(err, SELLA_ARG, "optimizer: %s is %g; expected 0 or more%s",
                                 range[i].name, range[i].value,
                                 range[i].below == 1 ? " and less than 1" : " and finite");
        }
    }
    if (!(config->eps > 0 && isfinite(config->eps))) {
        return sella_err_set(err, SELLA_ARG, "optimizer: eps is %g; expected more than 0",
                             config->eps);
    }
    return SELLA_OK;
}

static sella_status row_init(row *r, sella_param *param, sella_err *err)
{
    r->param = param;
    snprintf(r->m_name, sizeof r->m_name, "%s.m", param->name);
    snprintf(r->v_name, sizeof r->v_name, "%s.v", param->name);
    r->m = sella_alloc(param->count, sizeof(float), "the optimizer's moments", err);
    r->v = sella_alloc(param->count, sizeof(float), "the optimizer's moments", err);
    return r->m && r->v ? SELLA_OK : SELLA_MEMORY;
}

static sella_status blocks_init(sella_optimizer *optimizer, sella_err *err)
{
    for (int i = 0; i < optimizer->rows; i++) {
        optimizer->blocks += (int64_t)((optimizer->row[i].param->count + BLOCK - 1) / BLOCK);
    }
    optimizer->block = sella_alloc((size_t)optimizer->blocks, sizeof *optimizer->block,
                                   "the optimizer's blocks", err);
    optimizer->sum = sella_alloc((size_t)optimizer->blocks, sizeof *optimizer->sum,
                                 "the optimizer's blocks", err);
    if (!optimizer->block || !optimizer->sum) {
        return SELLA_MEMORY;
    }
    block *next = optimizer->block;
    for (int i = 0; i < optimizer->rows; i++) {
        const size_t count = optimizer->row[i].param->count;
        for (size_t start = 0; start < count; start += BLOCK) {
            *next++ = (block){i, start, count - start < BLOCK ? count - start : BLOCK};
        }
    }
    return SELLA_OK;
}

sella_status sella_optimizer_new(sella_param_table *const *tables, int n,
                                 const sella_optimizer_config *config, sella_optimizer **out,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = NULL;
    sella_optimizer *optimizer = sella_alloc(1, sizeof *optimizer, "an optimizer", err);
    if (!optimizer) {
        return SELLA_MEMORY;
    }
    optimizer->config = *config;
    SELLA_TRY(config_check(config, err));
    int rows = 0;
    for (int t = 0; t < n; t++) {
        rows += tables[t]->count;
    }
    optimizer->row = sella_alloc((size_t)rows, sizeof *optimizer->row, "an optimizer", err);
    if (!optimizer->row) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int t = 0; t < n; t++) {
        for (int i = 0; i < tables[t]->count; i++) {
            if (tables[t]->param[i].trainable) {
                SELLA_TRY(row_init(&optimizer->row[optimizer->rows++], &tables[t]->param[i], err));
            }
        }
    }
    SELLA_TRY(blocks_init(optimizer, err));
    *out = optimizer;
    optimizer = NULL;
done:
    sella_optimizer_free(optimizer);
    return status;
}

void sella_optimizer_free(sella_optimizer *optimizer)
{
    if (!optimizer) {
        return;
    }
    for (int i = 0; i < optimizer->rows; i++) {
        free(optimizer->row[i].m);
        free(optimizer->row[i].v);
    }
    free(optimizer->row);
    free(optimizer->block);
    free(optimizer->sum);
    free(optimizer);
}

/* ---- one step ---- */

/* Sum of squares in double: a float's square cannot overflow there, so the sum is finite exactly
 * when all values are. */
static double block_squares(const float *g, size_t count)
{
    double sum[8] = {0};
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            sum[j] += (double)g[i + j] * (double)g[i + j];
        }
    }
    for (; i < count; i++) {
        sum[0] += (double)g[i] * (double)g[i];
    }
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/* The same question without the norm: 0 * x is NaN when x is not finite. */
static double block_finite(const float *g, size_t count)
{
    float sum[16] = {0};
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        for (size_t j = 0; j < 16; j++) {
            sum[j] += g[i + j] * 0.0f;
        }
    }
    for (; i < count; i++) {
        sum[0] += g[i] * 0.0f;
    }
    float total = 0;
    for (int j = 0; j < 16; j++) {
        total += sum[j];
    }
    return (double)total;
}

/* Scalars of one row's update. */
typedef struct rates {
    float scale;  /* clipping */
    float couple; /* coupled decay: g += couple w */
    float shrink; /* decoupled decay: w *= shrink */
    float b1, b2; /* 1 - beta1, 1 - beta2 */
    float beta2;
    float step; /* lr / (1 - beta1^t) */
    float root; /* 1 / sqrt(1 - beta2^t) */
    float eps;
} rates;

static void block_update(float *restrict w, float *restrict g, float *restrict m, float *restrict v,
                         size_t count, const rates *r)
{
    const rates k = *r;
    for (size_t i = 0; i < count; i++) {
        const float gi = g[i] * k.scale + k.couple * w[i];
        const float mi = m[i] + (gi - m[i]) * k.b1;
        const float vi = v[i] * k.beta2 + gi * gi * k.b2;
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] * k.shrink - k.step * (mi / (sqrtf(vi) * k.root + k.eps));
        g[i] = 0.0f;
    }
}

static sella_status gradients_check(sella_optimizer *optimizer, int group, bool need_norm,
                                    double *norm, sella_err *err)
{
    double total = 0;
#pragma omp parallel for schedule(static) if (optimizer->blocks > SMALL)
    for (int64_t b = 0; b < optimizer->blocks; b++) {
        const block *at = &optimizer->block[b];
        const sella_param *param = optimizer->row[at->row].param;
        const bool counts = group < 0 || param->group == group;
        const float *g = param->grad + at->start;
        optimizer->sum[b] = !counts     ? 0
                            : need_norm ? block_squares(g, at->count)
                                        : block_finite(g, at->count);
    }
    for (int64_t b = 0; b < optimizer->blocks; b++) {
        total += optimizer->sum[b];
        if (!isfinite(optimizer->sum[b])) {
            const block *at = &optimizer->block[b];
            const sella_param *param = optimizer->row[at->row].param;
            size_t i = at->start;
            while (i + 1 < at->start + at->count && isfinite(param->grad[i])) {
                i++;
            }
            const size_t cols = (size_t)param->shape[1];
            return sella_err_set(err, SELLA_DIVERGED,
                                 "the gradient of '%s' is not finite (%g at row %zu, column %zu)",
                                 param->name, (double)param->grad[i], i / cols, i % cols);
        }
    }
    *norm = need_norm ? sqrt(total) : 0;
    return SELLA_OK;
}

static rates row_rates(const sella_optimizer *optimizer, const row *r, double lr, double scale)
{
    const sella_optimizer_config *c = &optimizer->config;
    const double decay = r->param->decay ? c->weight_decay : 0;
    const double t = (double)r->steps;
    return (rates){
        .scale = (float)scale,
        .couple = c->coupled ? (float)decay : 0.0f,
        .shrink = c->coupled ? 1.0f : (float)(1.0 - lr * decay),
        .b1 = (float)(1.0 - c->beta1),
        .b2 = (float)(1.0 - c->beta2),
        .beta2 = (float)c->beta2,
        .step = (float)(lr / (1.0 - pow(c->beta1, t))),
        .root = (float)(1.0 / sqrt(1.0 - pow(c->beta2, t))),
        .eps = (float)c->eps,
    };
}

sella_status sella_optimizer_step(sella_optimizer *optimizer, double lr, int group, double *norm,
                                  sella_err *err)
{
    sella_status status = SELLA_OK;
    const double clip = optimizer->config.clip;
    double size = 0;
    rates *rate = sella_alloc((size_t)optimizer->rows, sizeof *rate, "an optimizer step", err);
    if (!rate) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(gradients_check(optimizer, group, clip > 0 || norm, &size, err));
    const double scale = clip > 0 && size > clip ? clip / size : 1.0;
    for (int i = 0; i < optimizer->rows; i++) {
        row *r = &optimizer->row[i];
        if (group < 0 || r->param->group == group) {
            r->steps++;
            rate[i] = row_rates(optimizer, r, lr, scale);
        }
    }
#pragma omp parallel for schedule(static) if (optimizer->blocks > SMALL)
    for (int64_t b = 0; b < optimizer->blocks; b++) {
        const block *at = &optimizer->block[b];
        const row *r = &optimizer->row[at->row];
        float *g = r->param->grad + at->start;
        if (group < 0 || r->param->group == group) {
            block_update(r->param->data + at->start, g, r->m + at->start, r->v + at->start,
                         at->count, &rate[at->row]);
        } else {
            memset(g, 0, at->count * sizeof *g);
        }
    }
    optimizer->steps++;
    if (norm) {
        *norm = size;
    }
done:
    free(rate);
    return status;
}

/* ---- state ---- */

int64_t sella_optimizer_steps(const sella_optimizer *optimizer)
{
    return optimizer->steps;
}

void sella_optimizer_set_steps(sella_optimizer *optimizer, int64_t steps)
{
    optimizer->steps = steps;
    for (int i = 0; i < optimizer->rows; i++) {
        optimizer->row[i].steps = steps;
    }
}

int sella_optimizer_row_count(const sella_optimizer *optimizer)
{
    return optimizer->rows;
}

int64_t sella_optimizer_row_steps(const sella_optimizer *optimizer, int index)
{
    return optimizer->row[index].steps;
}

void sella_optimizer_set_row_steps(sella_optimizer *optimizer, int index, int64_t steps)
{
    optimizer->row[index].steps = steps;
}

int sella_optimizer_state_count(const sella_optimizer *optimizer)
{
    return 2 * optimizer->rows;
}

void sella_optimizer_state_at(const sella_optimizer *optimizer, int index, const char **name,
                              float **data, size_t *count)
{
    const row *r = &optimizer->row[index / 2];
    *name = index % 2 == 0 ? r->m_name : r->v_name;
    *data = index % 2 == 0 ? r->m : r->v;
    *count = r->param->count;
}

/* ---- schedules ---- */

double sella_schedule_lr(sella_schedule schedule, double lr, int64_t step, int64_t total,
                         int64_t warmup)
{
    if (step < warmup) {
        return lr * (double)step / (double)warmup;
    }
    const double left = (double)(total > warmup ? total - warmup : 1);
    const double done = fmin((double)(step - warmup) / left, 1.0);
    switch (schedule) {
    case SELLA_SCHEDULE_CONSTANT: break;
    case SELLA_SCHEDULE_LINEAR: return lr * (1.0 - done);
    case SELLA_SCHEDULE_COSINE: return lr * 0.5 * (1.0 + cos(3.14159265358979323846 * done));
    }
    return lr;
}
