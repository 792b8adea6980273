/* dataset_stats.c - what is in a data set: counts, dates, label means, warm and cold by every
 * definition in use.
 *
 * warm (not_cold): user and item occur in train. strict: both occur in more than 3 train rows
 * (REFERENCE 1.3). uauc_users: users with both labels (REFERENCE 3.2).
 */
#include "data/dataset_stats.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/text.h"
#include "data/dataset.h"
#include "sella/data.h"

typedef struct split_figures {
    int64_t rows, users, items, liked, warm, strict, user_cold, item_cold, both_cold, uauc, single,
        one_class, empty_history;
    int64_t first, last;
    double history;
} split_figures;

/* Rows of each user and item: of all, and of those liked. */
typedef struct tallies {
    int64_t *user_n, *user_liked_n, *item_n; // [users], [users], [items]
} tallies;

static void tally(const sella_split *p, tallies *t)
{
    for (int64_t r = 0; r < p->rows; r++) {
        t->user_n[p->user_n[r]]++;
        t->user_liked_n[p->user_n[r]] += p->label_n[r];
        t->item_n[p->item_n[r]]++;
    }
}

static sella_status tallies_new(const sella_dataset *d, tallies *t, sella_err *err)
{
    t->user_n = sella_alloc((size_t)d->users, sizeof *t->user_n, "users", err);
    t->user_liked_n = sella_alloc((size_t)d->users, sizeof *t->user_liked_n, "users", err);
    t->item_n = sella_alloc((size_t)d->items, sizeof *t->item_n, "items", err);
    return t->user_n && t->user_liked_n && t->item_n ? SELLA_OK : SELLA_MEMORY;
}

static void tallies_release(tallies *t)
{
    free(t->user_n);
    free(t->user_liked_n);
    free(t->item_n);
}

static sella_status figures_of(const sella_dataset *d, int split, const tallies *train,
                               split_figures *f, sella_err *err)
{
    const sella_split *p = &d->split[split];
    tallies own = {0};
    sella_status status = tallies_new(d, &own, err);
    if (status != SELLA_OK) {
        goto done;
    }
    tally(p, &own);
    *f = (split_figures){.rows = p->rows, .first = p->time_n[0], .last = p->time_n[0]};
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t user = train->user_n[p->user_n[r]], item = train->item_n[p->item_n[r]];
        f->liked += p->label_n[r];
        f->warm += p->warm_n[r];
        f->strict += user > 3 && item > 3;
        f->user_cold += user == 0;
        f->item_cold += item == 0;
        f->both_cold += user == 0 && item == 0;
        f->empty_history += p->history_count_n[r] == 0;
        f->history += p->history_count_n[r];
        f->first = p->time_n[r] < f->first ? p->time_n[r] : f->first;
        f->last = p->time_n[r] > f->last ? p->time_n[r] : f->last;
    }
    for (int32_t u = 0; u < d->users; u++) {
        bool both = own.user_liked_n[u] > 0 && own.user_liked_n[u] < own.user_n[u];
        f->users += own.user_n[u] > 0;
        f->uauc += both;
        f->single += own.user_n[u] == 1;
        f->one_class += own.user_n[u] > 1 && !both;
    }
    for (int32_t i = 0; i < d->items; i++) {
        f->items += own.item_n[i] > 0;
    }
done:
    tallies_release(&own);
    return status;
}

static json_t *figures_json(const split_figures *f)
{
    return json_pack(
        "{s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}",
        "rows", (json_int_t)f->rows, "users", (json_int_t)f->users, "items", (json_int_t)f->items,
        "label_mean", (double)f->liked / (double)f->rows, "warm_rows", (json_int_t)f->warm,
        "cold_rows", (json_int_t)(f->rows - f->warm), "first_time", (json_int_t)f->first,
        "last_time", (json_int_t)f->last, "strict_warm_rows", (json_int_t)f->strict,
        "user_cold_rows", (json_int_t)f->user_cold, "item_cold_rows", (json_int_t)f->item_cold,
        "both_cold_rows", (json_int_t)f->both_cold, "uauc_users", (json_int_t)f->uauc,
        "single_row_users", (json_int_t)f->single, "one_class_users", (json_int_t)f->one_class,
        "empty_history_rows", (json_int_t)f->empty_history, "history_mean",
        f->history / (double)f->rows);
}

/* Open, count, close. figures [SELLA_SPLITS]; rows = 0 marks an absent split. */
static sella_status gather(const char *path, sella_dataset **dataset, split_figures *figures,
                           sella_err *err)
{
    sella_status status = SELLA_OK;
    tallies train = {0};
    memset(figures, 0, SELLA_SPLITS * sizeof *figures);
    SELLA_TRY(sella_dataset_open(path, dataset, err));
    SELLA_TRY(tallies_new(*dataset, &train, err));
    tally(&(*dataset)->split[SELLA_SPLIT_TRAIN], &train);
    for (int s = 0; s < SELLA_SPLITS; s++) {
        if ((*dataset)->split[s].rows > 0) {
            SELLA_TRY(figures_of(*dataset, s, &train, &figures[s], err));
        }
    }
done:
    tallies_release(&train);
    return status;
}

sella_status sella_stats_json(const char *path, json_t **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_dataset *d = NULL;
    split_figures figures[SELLA_SPLITS];
    *json = NULL;
    SELLA_TRY(gather(path, &d, figures, err));
    json_t *splits = json_object();
    for (int s = 0; s < SELLA_SPLITS; s++) {
        if (figures[s].rows > 0) {
            json_object_set_new(splits, sella_split_name((sella_split_id)s),
                                figures_json(&figures[s]));
        }
    }
    *json = json_pack("{s:i, s:i, s:s, s:o, s:s, s:i}", "users", d->users, "items", d->items,
                      "checksum", d->checksum, "splits", splits, "noun", d->noun, "train_users",
                      d->train_users);
    status = *json ? SELLA_OK : sella_err_memory(err, "figures", 1024);
done:
    sella_dataset_close(d);
    return status;
}

sella_status sella_stats(const char *dataset, char **json, sella_err *err)
{
    json_t *object = NULL;
    *json = NULL;
    sella_status status = sella_stats_json(dataset, &object, err);
    if (status == SELLA_OK) {
        *json = sella_json_line(object);
        status = *json ? SELLA_OK : sella_err_memory(err, "figures", 1024);
    }
    json_decref(object);
    return status;
}

/* "2001-06-01 00:00:01" in UTC, or "-" for a source without times. */
static void date_text(int64_t seconds, char *text, size_t bytes)
{
    struct tm tm;
    time_t when = (time_t)seconds;
    if (seconds == 0 || !gmtime_r(&when, &tm) ||
        strftime(text, bytes, "%Y-%m-%d %H:%M:%S", &tm) == 0) {
        snprintf(text, bytes, "-");
    }
}

static sella_status line_of(sella_text *out, const char *name, const split_figures *figures,
                            const int64_t *value_s, sella_err *err)
{
    sella_status status = sella_text_format(out, err, "%-34s", name);
    for (int s = 0; s < SELLA_SPLITS && status == SELLA_OK; s++) {
        status = figures[s].rows > 0 ? sella_text_format(out, err, "%20lld", (long long)value_s[s])
                                     : SELLA_OK;
    }
    return status == SELLA_OK ? sella_text_append(out, "\n", 1, err) : status;
}

static sella_status text_of(const sella_dataset *d, const split_figures *f, sella_text *out,
                            sella_err *err)
{
    sella_status status = SELLA_OK;
    char date[64];
    SELLA_TRY(sella_text_format(out, err,
                                "%s: %d users (%d in train), %d %ss, checksum %s\n\n%-34s", d->name,
                                d->users, d->train_users, d->items, d->noun, d->checksum, ""));
    for (int s = 0; s < SELLA_SPLITS; s++) {
        if (f[s].rows > 0) {
            SELLA_TRY(sella_text_format(out, err, "%20s", sella_split_name((sella_split_id)s)));
        }
    }
    SELLA_TRY(sella_text_append(out, "\n", 1, err));
#define LINE(name, member)                                                         \
    do {                                                                           \
        int64_t value_s[] = {f[0].member, f[1].member, f[2].member};               \
        SELLA_TRY(line_of(out, name, f, value_s, err));                            \
    } while (0)
    LINE("rows", rows);
    LINE("users", users);
    LINE("items", items);
    for (int what = 0; what < 4; what++) {
        static const char *const names[] = {"label mean", "history items a row", "first time (UTC)",
                                            "last time (UTC)"};
        SELLA_TRY(sella_text_format(out, err, "%-34s", names[what]));
        for (int s = 0; s < SELLA_SPLITS; s++) {
            if (f[s].rows > 0 && what < 2) {
                SELLA_TRY(sella_text_format(out, err, "%20.5f",
                                            (what == 0 ? (double)f[s].liked : f[s].history) /
                                                (double)f[s].rows));
            } else if (f[s].rows > 0) {
                date_text(what == 2 ? f[s].first : f[s].last, date, sizeof date);
                SELLA_TRY(sella_text_format(out, err, "%20s", date));
            }
        }
        SELLA_TRY(sella_text_append(out, "\n", 1, err));
    }
    LINE("rows without history", empty_history);
    LINE("warm rows (user, item in train)", warm);
    LINE("strict warm rows (both > 3 times)", strict);
    LINE("cold rows: new user", user_cold);
    LINE("cold rows: new item", item_cold);
    LINE("cold rows: both new", both_cold);
    LINE("users that UAUC counts", uauc);
    LINE("users with a single row", single);
    LINE("users with one label only", one_class);
#undef LINE
done:
    return status;
}

sella_status sella_stats_text(const char *dataset, char **text, sella_err *err)
{
    sella_dataset *d = NULL;
    split_figures figures[SELLA_SPLITS];
    sella_text out = {0};
    *text = NULL;
    sella_status status = gather(dataset, &d, figures, err);
    if (status == SELLA_OK) {
        status = text_of(d, figures, &out, err);
    }
    if (status == SELLA_OK) {
        *text = out.data;
    } else {
        sella_text_release(&out);
    }
    sella_dataset_close(d);
    return status;
}
