/* loop.c - the training loop (train/loop.h).
 *
 * A run is a walk over points, each either "step s is done, its evaluation is due" or "all of step
 * s is done". Both are places where a checkpoint may be written, so that neither a long step nor a
 * long evaluation is done again for the other's sake. All that the walk depends on is in the struct
 * `walk`, which is what position.json holds.
 *
 * Easy to get wrong: records are flushed to disk before the checkpoint that counts them; numbers go
 * through JSON with 17 digits, which a double survives; the file is cut before the first new
 * record, not when the checkpoint is read.
 */
#include "train/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"

enum { RECORD_LIMIT = 16 << 20, FEW_EPOCHS = 20, SAY_EVERY = 10 };

/* Everything that a resumed run must know. */
typedef struct walk {
    int64_t step;            /* steps done */
    int64_t pending;         /* 1: the evaluation and records after step - 1 are still due */
    int64_t evaluations;
    int64_t bad;             /* evaluations since the best */
    int64_t best_epoch;
    int64_t stopped;         /* 1: patience is out */
    int64_t records_bytes;   /* size of metrics.jsonl */
    double best;             /* NaN: none yet */
    double last_loss;
    double last_norm;
    double units;            /* done over all epochs, for progress */
    double epoch_loss, epoch_units; /* sums of loss * units and of units */
    double record_loss, record_units;
    double seconds;          /* of earlier calls */
} walk;

static const struct {
    const char *name;
    size_t offset;
} walk_ints[] = {{"step", offsetof(walk, step)},
                 {"pending", offsetof(walk, pending)},
                 {"evaluations", offsetof(walk, evaluations)},
                 {"bad", offsetof(walk, bad)},
                 {"best_epoch", offsetof(walk, best_epoch)},
                 {"stopped", offsetof(walk, stopped)},
                 {"records_bytes", offsetof(walk, records_bytes)}},
  walk_reals[] = {{"best", offsetof(walk, best)},
                  {"last_loss", offsetof(walk, last_loss)},
                  {"last_norm", offsetof(walk, last_norm)},
                  {"units", offsetof(walk, units)},
                  {"epoch_loss", offsetof(walk, epoch_loss)},
                  {"epoch_units", offsetof(walk, epoch_units)},
                  {"record_loss", offsetof(walk, record_loss)},
                  {"record_units", offsetof(walk, record_units)},
                  {"seconds", offsetof(walk, seconds)}};
enum {
    WALK_INTS = sizeof walk_ints / sizeof walk_ints[0],
    WALK_REALS = sizeof walk_reals / sizeof walk_reals[0]
};

typedef struct run {
    const sella_loop *loop;
    sella_optimizer *optimizer;
    float **best; /* [trainable rows], NULL when the best is not kept */
    int best_rows;
    walk at;
    int64_t total, warmup;
    double started, saved;   /* monotonic seconds */
    int64_t saved_point;     /* of the last checkpoint, -1 none */
    /* of the last step, until its record is written or the next step is done */
    json_t *step_record;
    sella_progress progress;
} run;

static double seconds_now(const run *r)
{
    return r->at.seconds + (sella_now() - r->started);
}

static int64_t epoch_now(const run *r) /* of the last step done, from 1 */
{
    return r->at.step == 0 ? 0 : (r->at.step - 1) / r->loop->steps_per_epoch + 1;
}

/* Rate of step `step`, from 0. */
static double lr_of(const run *r, int64_t step)
{
    return sella_schedule_lr(r->loop->schedule, r->loop->lr, step, r->total, r->warmup);
}

/* ---- the best parameters ---- */

static sella_status best_init(run *r, sella_err *err)
{
    const sella_loop *loop = r->loop;
    int rows = 0;
    for (int t = 0; t < loop->n; t++) {
        rows += loop->tables[t]->count;
    }
    r->best = sella_alloc((size_t)rows, sizeof *r->best, "the best parameters", err);
    if (!r->best) {
        return SELLA_MEMORY;
    }
    for (int t = 0; t < loop->n; t++) {
        for (int i = 0; i < loop->tables[t]->count; i++) {
            const sella_param *param = &loop->tables[t]->param[i];
            if (param->trainable) {
                float *copy = sella_alloc(param->count, sizeof *copy, "the best parameters", err);
                if (!copy) {
                    return SELLA_MEMORY;
                }
                r->best[r->best_rows++] = copy;
            }
        }
    }
    return SELLA_OK;
}

static void best_copy(run *r, bool restore)
{
    int k = 0;
    for (int t = 0; t < r->loop->n; t++) {
        for (int i = 0; i < r->loop->tables[t]->count; i++) {
            const sella_param *param = &r->loop->tables[t]->param[i];
            if (param->trainable) {
                float *from = restore ? r->best[k] : param->data,
                      *to = restore ? param->data : r->best[k];
                memcpy(to, from, param->count * sizeof(float));
                k++;
            }
        }
    }
}

/* ---- records ---- */

/* Where the first record of this stage begins in the file, or its size: half a line at the end is
 * cut too. */
static sella_status records_start(const sella_loop *loop, int64_t *bytes, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    *bytes = 0;
    if (!loop->metrics_path || !sella_path_exists(loop->metrics_path)) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_map_open(loop->metrics_path, &map, err));
    size_t at = 0;
    while (at < map.size) {
        const uint8_t *end = memchr(map.data + at, '\n', map.size - at);
        if (!end) {
            break;
        }
        const size_t length = (size_t)(end - (map.data + at));
        json_t *record = NULL;
        if (sella_json_parse((const char *)map.data + at, length, loop->metrics_path, &record,
                             NULL) == SELLA_OK) {
            const char *stage = json_string_value(json_object_get(record, "stage"));
            const bool own = stage && strcmp(stage, loop->stage) == 0;
            json_decref(record);
            if (own) {
                break;
            }
        }
        at += length + 1;
    }
    *bytes = (int64_t)at;
done:
    sella_map_close(&map);
    return status;
}

/* Cut the file back to what the walk counts. A file that is shorter (someone removed it) just goes
 * on. */
static sella_status records_cut(run *r, sella_err *err)
{
    struct stat info;
    const char *path = r->loop->metrics_path;
    if (!path || stat(path, &info) != 0) {
        r->at.records_bytes = 0;
        return SELLA_OK;
    }
    if ((int64_t)info.st_size < r->at.records_bytes) {
        sella_say(r->loop->talk, SELLA_LEVEL_WARN,
                  "%s: is shorter than at the checkpoint; records are missing", path);
        r->at.records_bytes = (int64_t)info.st_size;
    } else if ((int64_t)info.st_size > r->at.records_bytes &&
               truncate(path, (off_t)r->at.records_bytes) != 0) {
        return sella_err_errno(err, path, "written", errno);
    }
    return SELLA_OK;
}

static sella_status records_sync(const run *r, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *path = r->loop->metrics_path;
    if (!path || r->at.records_bytes == 0) {
        return SELLA_OK;
    }
    int fd;
    SELLA_TRY(sella_file_open(path, O_WRONLY, &fd, err));
    if (fsync(fd) != 0) {
        status = sella_err_errno(err, path, "synced", errno);
    }
    close(fd);
done:
    return status;
}

static json_t *record_new(const run *r, const char *event)
{
    return json_pack("{s:s, s:s, s:I, s:I}", "stage", r->loop->stage, "event", event, "epoch",
                     (json_int_t)epoch_now(r), "step", (json_int_t)r->at.step);
}

/* Add "seconds" and `more` (stolen, NULL allowed), write the line. record is stolen. */
static sella_status record_write(run *r, json_t *record, json_t *more, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *line = NULL;
    if (!record || (more && json_object_update_missing(record, more) != 0) ||
        json_object_set_new(record, "seconds", sella_json_real(seconds_now(r))) != 0 ||
        !(line = sella_json_line(record))) {
        status = sella_err_memory(err, "a record", 0);
        goto done;
    }
    if (r->loop->metrics_path) {
        SELLA_TRY(sella_append_line(r->loop->metrics_path, line, err));
        r->at.records_bytes += (int64_t)strlen(line) + 1;
    }
done:
    free(line);
    json_decref(record);
    json_decref(more);
    return status;
}

/* ---- checkpoints ---- */

static int64_t point_now(const run *r)
{
    return 2 * r->at.step + (r->at.pending ? 0 : 1);
}

static sella_status save(run *r, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *position = NULL;
    if (!r->loop->checkpoint_dir || r->saved_point == point_now(r)) {
        return SELLA_OK;
    }
    walk at = r->at;
    at.seconds = seconds_now(r);
    position = json_pack("{s:s, s:I, s:I}", "stage", r->loop->stage, "total", (json_int_t)r->total,
                         "steps_per_epoch", (json_int_t)r->loop->steps_per_epoch);
    if (!position) {
        return sella_err_memory(err, "a checkpoint", 0);
    }
    json_object_set_new(position, "lr", sella_json_real(r->loop->lr));
    for (int i = 0; i < WALK_INTS; i++) {
        int64_t value;
        memcpy(&value, (const char *)&at + walk_ints[i].offset, sizeof value);
        json_object_set_new(position, walk_ints[i].name, json_integer((json_int_t)value));
    }
    for (int i = 0; i < WALK_REALS; i++) {
        double value;
        memcpy(&value, (const char *)&at + walk_reals[i].offset, sizeof value);
        json_object_set_new(position, walk_reals[i].name, sella_json_real(value));
    }
    if (r->step_record) {
        json_object_set(position, "record", r->step_record);
    }
    SELLA_TRY(records_sync(r, err));
    const sella_checkpoint state = {.tables = r->loop->tables,
                                    .n = r->loop->n,
                                    .optimizer = r->optimizer,
                                    .best = isnan(r->at.best) ? NULL : r->best};
    SELLA_TRY(sella_checkpoint_save(r->loop->checkpoint_dir, point_now(r), &state, position, err));
    r->saved = sella_now();
    r->saved_point = point_now(r);
done:
    json_decref(position);
    return status;
}

/* A place where the walk may stop: checkpoint when it is time, or when the caller wants to
 * leave. */
static sella_status rest(run *r, sella_err *err)
{
    if (sella_stop_wanted(r->loop->talk)) {
        const sella_status status = save(r, err);
        if (status != SELLA_OK) {
            return status;
        }
        return sella_err_set(
            err, SELLA_INTERRUPTED, "%s: interrupted after step %lld of %lld%s", r->loop->stage,
            (long long)r->at.step, (long long)r->total,
            r->loop->checkpoint_dir ? "; a checkpoint was left, --resume goes on from it" : "");
    }
    return sella_now() - r->saved >= r->loop->checkpoint_seconds ? save(r, err) : SELLA_OK;
}

static sella_status check_same(const run *r, const json_t *position, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *dir = r->loop->checkpoint_dir, *stage = NULL;
    int64_t total, per_epoch;
    double lr;
    SELLA_TRY(sella_json_get_string(position, "stage", dir, &stage, err));
    SELLA_TRY(sella_json_get_int(position, "total", dir, 0, INT64_MAX, &total, err));
    SELLA_TRY(sella_json_get_int(position, "steps_per_epoch", dir, 0, INT64_MAX, &per_epoch, err));
    SELLA_TRY(sella_json_get_real(position, "lr", dir, &lr, err));
    if (strcmp(stage, r->loop->stage) != 0) {
        status = sella_err_set(err, SELLA_STATE, "%s: is a checkpoint of %s; expected one of %s",
                               dir, stage, r->loop->stage);
    } else if (total != r->total || per_epoch != r->loop->steps_per_epoch) {
        status =
            sella_err_set(err, SELLA_STATE,
                          "%s: is of a run of %lld steps, %lld an epoch; expected %lld and %lld",
                          dir, (long long)total, (long long)per_epoch, (long long)r->total,
                          (long long)r->loop->steps_per_epoch);
    } else if (lr != r->loop->lr) {
        status =
            sella_err_set(err, SELLA_STATE, "%s: is of a run with learning rate %g; expected %g",
                          dir, lr, r->loop->lr);
    }
done:
    return status;
}

static sella_status walk_from_json(const run *r, const json_t *position, walk *at, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *dir = r->loop->checkpoint_dir;
    for (int i = 0; i < WALK_INTS; i++) {
        int64_t value;
        SELLA_TRY(sella_json_get_int(position, walk_ints[i].name, dir, 0, INT64_MAX, &value, err));
        memcpy((char *)at + walk_ints[i].offset, &value, sizeof value);
    }
    for (int i = 0; i < WALK_REALS; i++) {
        double value = NAN;
        if (!json_is_null(json_object_get(position, walk_reals[i].name))) {
            SELLA_TRY(sella_json_get_real(position, walk_reals[i].name, dir, &value, err));
        }
        memcpy((char *)at + walk_reals[i].offset, &value, sizeof value);
    }
    if (at->step > r->total || at->pending > 1 || (at->pending == 1 && at->step == 0)) {
        status = sella_err_set(
            err, SELLA_FORMAT, "%s: step %lld, pending %lld is no place in a run of %lld steps",
            dir, (long long)at->step, (long long)at->pending, (long long)r->total);
    }
done:
    return status;
}

/* Go to the newest checkpoint, or to the beginning. */
static sella_status resume(run *r, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *position = NULL;
    bool found = false;
    if (r->loop->checkpoint_dir) {
        sella_checkpoint state = {
            .tables = r->loop->tables, .n = r->loop->n, .optimizer = r->optimizer, .best = r->best};
        SELLA_TRY(sella_checkpoint_load(r->loop->checkpoint_dir, &state, &found, &position, err));
    }
    if (found) {
        SELLA_TRY(check_same(r, position, err));
        SELLA_TRY(walk_from_json(r, position, &r->at, err));
        r->step_record = json_incref(json_object_get(position, "record"));
        r->saved_point = point_now(r);
        sella_say(r->loop->talk, SELLA_LEVEL_INFO, "%s: goes on after step %lld of %lld",
                  r->loop->stage, (long long)r->at.step, (long long)r->total);
    } else {
        SELLA_TRY(records_start(r->loop, &r->at.records_bytes, err));
    }
    status = records_cut(r, err);
done:
    json_decref(position);
    return status;
}

/* ---- the walk ---- */

static sella_status one_step(run *r, sella_err *err)
{
    const sella_loop *loop = r->loop;
    const int64_t step = r->at.step;
    const double lr = lr_of(r, step);
    sella_loop_step s = {.epoch = step / loop->steps_per_epoch,
                         .index = step % loop->steps_per_epoch,
                         .step = step,
                         .lr = lr};
    const int group = loop->group ? loop->group(loop->user, step, r->total) : -1;
    sella_status status = loop->run_step(loop->user, &s, err);
    json_decref(r->step_record);
    r->step_record = s.record;
    if (status != SELLA_OK) {
        return status;
    }
    if (!isfinite(s.loss)) {
        return sella_err_set(err, SELLA_DIVERGED,
                             "%s: the loss of epoch %lld, step %lld is not finite (%g); a lower "
                             "learning rate may help",
                             loop->stage, (long long)s.epoch + 1, (long long)s.index + 1, s.loss);
    }
    if (r->optimizer) {
        status = sella_optimizer_step(r->optimizer, lr, group,
                                      loop->optimizer.clip > 0 ? &r->at.last_norm : NULL, err);
    } else {
        for (int t = 0; status == SELLA_OK && t < loop->n; t++) {
            status = sella_param_check_finite(loop->tables[t], false, "a step", err);
        }
    }
    if (status != SELLA_OK) {
        return sella_err_prefix(err, status, "%s: epoch %lld, step %lld", loop->stage,
                                (long long)s.epoch + 1, (long long)s.index + 1);
    }
    r->at.last_loss = s.loss;
    r->at.epoch_loss += s.loss * s.units;
    r->at.epoch_units += s.units;
    r->at.record_loss += s.loss * s.units;
    r->at.record_units += s.units;
    r->at.units += s.units;
    r->at.step++;
    r->at.pending = 1;
    return SELLA_OK;
}

static sella_status write_step_record(run *r, sella_err *err)
{
    json_t *record = record_new(r, "step");
    json_t *more = r->step_record;
    r->step_record = NULL;
    if (record) {
        json_object_set_new(record, "loss",
                            sella_json_real(r->at.record_loss / r->at.record_units));
        json_object_set_new(record, "lr", sella_json_real(lr_of(r, r->at.step - 1)));
        if (r->optimizer && r->loop->optimizer.clip > 0) {
            json_object_set_new(record, "norm", sella_json_real(r->at.last_norm));
        }
    }
    r->at.record_loss = r->at.record_units = 0;
    return record_write(r, record, more, err);
}

/* The evaluation itself comes first and changes nothing when it is interrupted. */
static sella_status evaluate(run *r, sella_err *err)
{
    const sella_loop *loop = r->loop;
    double metric = NAN;
    json_t *more = NULL;
    sella_status status = loop->evaluate(loop->user, &metric, &more, err);
    if (status != SELLA_OK) {
        json_decref(more);
        return status;
    }
    const bool better = !isnan(metric) && (isnan(r->at.best) || metric > r->at.best);
    r->at.evaluations++;
    if (better) {
        r->at.best = metric;
        r->at.best_epoch = epoch_now(r);
        r->at.bad = 0;
        if (r->best) {
            best_copy(r, false);
        }
    } else if (!isnan(metric)) {
        r->at.bad++;
    }
    if (loop->epochs <= FEW_EPOCHS || r->at.evaluations % SAY_EVERY == 0) {
        sella_say(loop->talk, SELLA_LEVEL_INFO,
                  "%s: epoch %lld, step %lld: loss %.4f, valid %.4f (best %.4f in epoch %lld)",
                  loop->stage, (long long)epoch_now(r), (long long)r->at.step, r->at.last_loss,
                  metric, r->at.best, (long long)r->at.best_epoch);
    }
    json_t *record = record_new(r, "eval");
    if (record) {
        json_object_set_new(record, "metric", sella_json_real(metric));
        json_object_set_new(record, "best", json_boolean(better));
    }
    return record_write(r, record, more, err);
}

static sella_status end_epoch(run *r, sella_err *err)
{
    json_t *record = record_new(r, "epoch");
    const double loss = r->at.epoch_loss / r->at.epoch_units;
    if (record) {
        json_object_set_new(record, "loss", sella_json_real(loss));
        json_object_set_new(record, "lr", sella_json_real(lr_of(r, r->at.step - 1)));
    }
    r->at.epoch_loss = r->at.epoch_units = 0;
    sella_say(r->loop->talk, SELLA_LEVEL_DEBUG, "%s: epoch %lld: mean loss %.4f", r->loop->stage,
              (long long)epoch_now(r), loss);
    return record_write(r, record, NULL, err);
}

/* Evaluation, records and the decision to stop after a step. */
static sella_status after_step(run *r, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_loop *loop = r->loop;
    const int64_t step = r->at.step, epochs = step / loop->steps_per_epoch;
    const bool ends = step % loop->steps_per_epoch == 0;
    const bool due =
        loop->evaluate && ((ends && loop->evaluate_every > 0 &&
                            (epochs % loop->evaluate_every == 0 || step == r->total)) ||
                           (loop->evaluate_steps > 0 && step % loop->evaluate_steps == 0));
    const int64_t bytes = r->at.records_bytes;
    if (due) {
        SELLA_TRY(evaluate(r, err));
    }
    if (loop->record_steps > 0 && (step % loop->record_steps == 0 || step == r->total)) {
        SELLA_TRY(write_step_record(r, err));
    }
    if (ends) {
        SELLA_TRY(end_epoch(r, err));
    }
    r->at.pending = 0;
    r->at.stopped = loop->patience > 0 && r->at.bad >= loop->patience && epochs >= loop->min_epochs;
done:
    if (status != SELLA_OK) {
        r->at.records_bytes = bytes; // what a failed call wrote is cut on resume
    }
    return status;
}

static void progress_step(run *r)
{
    char note[96];
    if (isnan(r->at.best)) {
        snprintf(note, sizeof note, "loss %.4f", r->at.last_loss);
    } else {
        snprintf(note, sizeof note, "loss %.4f, best %.4f", r->at.last_loss, r->at.best);
    }
    sella_progress_step(&r->progress, r->at.units, note);
}

static sella_status walk_on(run *r, sella_err *err)
{
    sella_status status = SELLA_OK;
    while (r->at.pending || (r->at.step < r->total && !r->at.stopped)) {
        if (r->at.pending) {
            status = after_step(r, err);
        } else {
            status = one_step(r, err);
            if (status == SELLA_OK) {
                progress_step(r);
            }
        }
        if (status == SELLA_INTERRUPTED) {
            const sella_status saved = save(r, err);
            return saved == SELLA_OK ? SELLA_INTERRUPTED : saved;
        }
        if (status == SELLA_OK) {
            status = rest(r, err);
        }
        if (status != SELLA_OK) {
            return status;
        }
    }
    return SELLA_OK;
}

static sella_status loop_check(const sella_loop *loop, sella_err *err)
{
    if (loop->epochs < 0 || loop->steps_per_epoch < 0 ||
        (loop->epochs > 0 && loop->steps_per_epoch == 0) ||
        (loop->steps_per_epoch > 0 && loop->epochs > 400000000000 / loop->steps_per_epoch)) {
        return sella_err_set(err, SELLA_ARG,
                             "%s: %lld epochs of %lld steps; expected at least one step an epoch "
                             "and at most 4e11 in all",
                             loop->stage, (long long)loop->epochs,
                             (long long)loop->steps_per_epoch);
    }
    if (!(loop->lr >= 0 && isfinite(loop->lr)) ||
        !(loop->warmup_ratio >= 0 && loop->warmup_ratio <= 1)) {
        return sella_err_set(err, SELLA_ARG,
                             "%s: learning rate %g with warm-up %g; expected 0 or more, and 0 to 1",
                             loop->stage, loop->lr, loop->warmup_ratio);
    }
    return SELLA_OK;
}

static void run_release(run *r)
{
    for (int i = 0; i < r->best_rows; i++) {
        free(r->best[i]);
    }
    free(r->best);
    sella_optimizer_free(r->optimizer);
    json_decref(r->step_record);
}

sella_status sella_loop_run(const sella_loop *loop, sella_loop_result *result, sella_err *err)
{
    sella_status status = loop_check(loop, err);
    if (status != SELLA_OK) {
        return status;
    }
    run r = {.loop = loop,
             .total = loop->epochs * loop->steps_per_epoch,
             .saved_point = -1,
             .started = sella_now(),
             .at = {.best = NAN, .last_loss = NAN}};
    /* The first step of a warm-up has rate 0: a run of one warmed-up step would train nothing. */
    r.warmup = (int64_t)fmin(ceil(loop->warmup_ratio * (double)r.total), (double)(r.total - 1));
    r.saved = r.started;
    if (!loop->own_steps) {
        SELLA_TRY(sella_optimizer_new(loop->tables, loop->n, &loop->optimizer, &r.optimizer, err));
    }
    if (loop->keep_best && loop->evaluate) {
        SELLA_TRY(best_init(&r, err));
    }
    SELLA_TRY(resume(&r, err));
    for (int t = 0; t < loop->n; t++) {
        sella_param_grad_zero(loop->tables[t]);
    }
    sella_progress_start(&r.progress, loop->talk, loop->stage, loop->unit,
                         (double)loop->epochs * loop->units_per_epoch, r.at.units);
    status = walk_on(&r, err);
    sella_progress_end(&r.progress);
    SELLA_TRY(status);
    if (r.at.stopped && r.at.step < r.total) {
        sella_say(loop->talk, SELLA_LEVEL_INFO,
                  "%s: stops after epoch %lld: no better evaluation since epoch %lld", loop->stage,
                  (long long)epoch_now(&r), (long long)r.at.best_epoch);
    }
    if (r.best && !isnan(r.at.best)) {
        best_copy(&r, true);
    }
done:
    if (result) {
        *result = (sella_loop_result){
            .epochs = loop->steps_per_epoch > 0 ? r.at.step / loop->steps_per_epoch : 0,
            .steps = r.at.step,
            .best = r.at.best,
            .best_epoch = r.at.best_epoch,
            .last_loss = r.at.last_loss,
            .seconds = seconds_now(&r)};
    }
    run_release(&r);
    return status;
}
