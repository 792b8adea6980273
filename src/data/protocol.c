/* protocol.c - from an event log to the rows of three splits (data/protocol.h). */
#include "data/protocol.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/log.h"

enum { LEFT_OUT = SELLA_SPLITS };

/* ---- order ---- */

typedef struct order_key {
    int64_t time;
    int64_t event; // makes the order total, so that qsort is as good as a stable sort
    int32_t tie;
} order_key;

static int compare_keys(const void *a, const void *b)
{
    const order_key *x = a, *y = b;
    if (x->time != y->time) {
        return x->time < y->time ? -1 : 1;
    }
    if (x->tie != y->tie) {
        return x->tie < y->tie ? -1 : 1;
    }
    return x->event < y->event ? -1 : x->event > y->event;
}

typedef struct named {
    const char *id;
    size_t digits; // significant ones of a number, 0 when ids are words
    int32_t user;
} named;

static int compare_names(const void *a, const void *b)
{
    const named *x = a, *y = b;
    if (x->digits != y->digits) {
        return x->digits < y->digits ? -1 : 1;
    }
    int order = strcmp(x->id + (x->digits ? strlen(x->id) - x->digits : 0),
                       y->id + (y->digits ? strlen(y->id) - y->digits : 0));
    return order ? order : strcmp(x->id, y->id);
}

/* rank_u [users]: by number when all ids are numbers, by bytes otherwise. */
static sella_status rank_users(const sella_intern *users, int32_t *rank_u, sella_err *err)
{
    named *names = sella_alloc((size_t)users->count, sizeof *names, "users", err);
    bool numbers = true;
    if (!names) {
        return SELLA_MEMORY;
    }
    for (int32_t u = 0; u < users->count; u++) {
        const char *id = sella_intern_text(users, u);
        numbers = numbers && strspn(id, "0123456789") == strlen(id);
        names[u] = (named){.id = id, .user = u};
    }
    for (int32_t u = 0; u < users->count && numbers; u++) {
        size_t digits = strlen(names[u].id) - strspn(names[u].id, "0");
        names[u].digits = digits > 0 ? digits : 1; // zero itself
    }
    qsort(names, (size_t)users->count, sizeof *names, compare_names);
    for (int32_t n = 0; n < users->count; n++) {
        rank_u[names[n].user] = n;
    }
    free(names);
    return SELLA_OK;
}

/* Items by first appearance in the log. */
static void rank_items(const sella_events *events, int32_t items, int32_t *rank_i)
{
    int32_t next = 0;
    memset(rank_i, 0xff, (size_t)items * sizeof *rank_i);
    for (int64_t e = 0; e < events->count; e++) {
        if (rank_i[events->item_n[e]] < 0) {
            rank_i[events->item_n[e]] = next++;
        }
    }
}

/* Row order within the users' parts of order_n, which are in the order of the log; start_u [users +
 * 1]. */
static sella_status order_parts(const sella_events *events, const int32_t *rank_i,
                                const int64_t *start_u, int32_t users, int64_t *order_n,
                                sella_err *err)
{
    int64_t most = 0;
    for (int32_t u = 0; u < users; u++) {
        most = start_u[u + 1] - start_u[u] > most ? start_u[u + 1] - start_u[u] : most;
    }
    order_key *key = sella_alloc((size_t)most, sizeof *key, "rows", err);
    if (!key) {
        return SELLA_MEMORY;
    }
    for (int32_t u = 0; u < users; u++) {
        int64_t *part = order_n + start_u[u], count = start_u[u + 1] - start_u[u];
        for (int64_t k = 0; k < count; k++) {
            key[k] = (order_key){events->time_n[part[k]], part[k],
                                 rank_i ? rank_i[events->item_n[part[k]]] : 0};
        }
        qsort(key, (size_t)count, sizeof *key, compare_keys);
        for (int64_t k = 0; k < count; k++) {
            part[k] = key[k].event;
        }
    }
    free(key);
    return SELLA_OK;
}

/* Numbers of events in row order into order_n [events]: by user (counted, since there are many
 * events and eight bytes each are enough), then time. Those left out (split_n[e] == LEFT_OUT) are
 * not among them; split_n may be NULL. */
static sella_status order_events(const sella_import_job *job, const uint8_t *split_n,
                                 bool tie_by_item, int64_t *order_n, int64_t *count, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_events *events = &job->events;
    int32_t users = job->draft.users.count;
    int32_t *rank_u = sella_alloc((size_t)users, sizeof *rank_u, "users", err);
    int32_t *rank_i = sella_alloc((size_t)job->draft.items.count, sizeof *rank_i, "items", err);
    int64_t *start_u = sella_alloc((size_t)users + 2, sizeof *start_u, "users", err);
    if (!rank_u || !rank_i || !start_u) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(rank_users(&job->draft.users, rank_u, err));
    if (tie_by_item) {
        rank_items(events, job->draft.items.count, rank_i);
    }
    /* start_u is two ahead, then one ahead, then right */
    for (int64_t e = 0; e < events->count; e++) {
        start_u[rank_u[events->user_n[e]] + 2] += !split_n || split_n[e] != LEFT_OUT;
    }
    for (int32_t u = 0; u < users; u++) {
        start_u[u + 2] += start_u[u + 1];
    }
    for (int64_t e = 0; e < events->count; e++) {
        if (!split_n || split_n[e] != LEFT_OUT) {
            order_n[start_u[rank_u[events->user_n[e]] + 1]++] = e;
        }
    }
    *count = start_u[users];
    SELLA_TRY(order_parts(events, tie_by_item ? rank_i : NULL, start_u, users, order_n, err));
done:
    free(rank_u);
    free(rank_i);
    free(start_u);
    return status;
}

/* ---- who goes where: split_n [events] ---- */

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static sella_status split_by_time(sella_import_job *job, uint8_t *split_n, sella_err *err)
{
    const sella_events *events = &job->events;
    const double *asked = job->options->fractions;
    double f[3] = {0.8, 0.1, 0.1};
    if (asked[0] != 0 || asked[1] != 0 || asked[2] != 0) {
        memcpy(f, asked, sizeof f);
    }
    size_t count = (size_t)events->count;
    int64_t *time = sella_alloc(count, sizeof *time, "times", err);
    if (!time) {
        return SELLA_MEMORY;
    }
    memcpy(time, events->time_n, count * sizeof *time);
    qsort(time, count, sizeof *time, compare_times);
    /* .7 + .2 < .9 */
    size_t first = (size_t)(f[0] * (double)count + 1e-6),
           second = (size_t)((f[0] + f[1]) * (double)count + 1e-6);
    int64_t valid_from = first < count && f[0] < 1 ? time[first] : INT64_MAX,
            test_from = second < count && f[2] > 0 ? time[second] : INT64_MAX;
    free(time);
    /* by time, not by row: rows of one moment stay on one side */
    for (int64_t e = 0; e < events->count; e++) {
        split_n[e] = events->time_n[e] < valid_from  ? SELLA_SPLIT_TRAIN
                     : events->time_n[e] < test_from ? SELLA_SPLIT_VALID
                                                     : SELLA_SPLIT_TEST;
        if (split_n[e] == SELLA_SPLIT_VALID && f[1] == 0) {
            split_n[e] = SELLA_SPLIT_TEST;
        }
    }
    job->draft.split[SELLA_SPLIT_VALID].present = f[1] > 0;
    job->draft.split[SELLA_SPLIT_TEST].present = f[2] > 0;
    json_object_set_new(job->rules, "fractions", json_pack("[f, f, f]", f[0], f[1], f[2]));
    if (f[1] > 0) {
        json_object_set_new(job->rules, "valid_from", json_integer(valid_from));
    }
    if (f[2] > 0) {
        json_object_set_new(job->rules, "test_from", json_integer(test_from));
    }
    return SELLA_OK;
}

/* Calendar year and month (0..11) in UTC. */
static bool month_of(int64_t seconds, int *year, int *month)
{
    struct tm tm;
    time_t when = (time_t)seconds;
    if (!gmtime_r(&when, &tm)) {
        return false;
    }
    *year = tm.tm_year + 1900;
    *month = tm.tm_mon;
    return true;
}

static void split_ml_1m(sella_import_job *job, uint8_t *split_n)
{
    for (int64_t e = 0; e < job->events.count; e++) {
        int year, month, since = -1;
        if (month_of(job->events.time_n[e], &year, &month) && year >= 2000 && year <= 2003) {
            since = (year - 2000) * 12 + month - 3; // April 2000 = 0
        }
        split_n[e] = since < 14 || since > 33 ? LEFT_OUT
                     : since < 24             ? SELLA_SPLIT_TRAIN
                     : since < 29             ? SELLA_SPLIT_VALID
                                              : SELLA_SPLIT_TEST;
    }
    job->draft.split[SELLA_SPLIT_VALID].present = job->draft.split[SELLA_SPLIT_TEST].present = true;
    job->draft.occurring_only = true;
    json_object_set_new(
        job->rules, "months_since_2000_04",
        json_pack("{s:[i,i], s:[i,i], s:[i,i]}", "train", 14, 23, "valid", 24, 28, "test", 29, 33));
}

/* December's rows by time, ties as in the log; the first half is valid. */
static sella_status halve(const sella_events *events, uint8_t *split_n, int64_t december,
                          sella_err *err)
{
    order_key *key = sella_alloc((size_t)december, sizeof *key, "rows", err);
    if (!key) {
        return SELLA_MEMORY;
    }
    int64_t n = 0;
    for (int64_t e = 0; e < events->count; e++) {
        if (split_n[e] == SELLA_SPLIT_TEST) {
            key[n++] = (order_key){.time = events->time_n[e], .event = e};
        }
    }
    qsort(key, (size_t)n, sizeof *key, compare_keys);
    for (int64_t k = 0; k < n / 2; k++) {
        split_n[key[k].event] = SELLA_SPLIT_VALID;
    }
    free(key);
    return SELLA_OK;
}

static sella_status split_amazon_book(sella_import_job *job, uint8_t *split_n, sella_err *err)
{
    enum { YEAR = 2017, MORE_THAN = 20, DECEMBER = 11 };
    const sella_events *events = &job->events;
    sella_status status = SELLA_OK;
    int64_t december = 0;
    int32_t *user_rows =
        sella_alloc((size_t)job->draft.users.count, sizeof *user_rows, "users", err);
    int32_t *item_rows =
        sella_alloc((size_t)job->draft.items.count, sizeof *item_rows, "items", err);
    if (!user_rows || !item_rows) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t e = 0; e < events->count; e++) {
        int year = 0, month = 0;
        bool keep = month_of(events->time_n[e], &year, &month) && year == YEAR;
        split_n[e] = !keep ? LEFT_OUT : month == DECEMBER ? SELLA_SPLIT_TEST : SELLA_SPLIT_TRAIN;
        if (keep) {
            user_rows[events->user_n[e]]++;
            item_rows[events->item_n[e]]++;
        }
    }
    /* both counts are of all rows of the year: filtered once */
    for (int64_t e = 0; e < events->count; e++) {
        if (user_rows[events->user_n[e]] <= MORE_THAN ||
            item_rows[events->item_n[e]] <= MORE_THAN) {
            split_n[e] = LEFT_OUT;
        }
        december += split_n[e] == SELLA_SPLIT_TEST;
    }
    SELLA_TRY(halve(events, split_n, december, err));
    job->draft.split[SELLA_SPLIT_VALID].present = job->draft.split[SELLA_SPLIT_TEST].present = true;
    job->draft.occurring_only = true;
    json_object_set_new(job->rules, "year", json_integer(YEAR));
    json_object_set_new(job->rules, "user_rows_more_than", json_integer(MORE_THAN));
    json_object_set_new(job->rules, "item_rows_more_than", json_integer(MORE_THAN));
done:
    free(user_rows);
    free(item_rows);
    return status;
}

/* Rows are in order: of each user's, the last is test and the one before valid. A user with two
 * rows has no valid row, with one only a train row. */
static void split_last_out(sella_import_job *job, const int64_t *order_n, int64_t count,
                           uint8_t *split_n)
{
    const int32_t *user_n = job->events.user_n;
    for (int64_t k = 0; k < count; k++) {
        int32_t user = user_n[order_n[k]];
        bool first = k == 0 || user_n[order_n[k - 1]] != user;
        int64_t behind = k + 1 < count && user_n[order_n[k + 1]] == user
                             ? k + 2 < count && user_n[order_n[k + 2]] == user ? 2 : 1
                             : 0;
        split_n[order_n[k]] = first || behind == 2 ? SELLA_SPLIT_TRAIN
                              : behind == 0        ? SELLA_SPLIT_TEST
                                                   : SELLA_SPLIT_VALID;
    }
    job->draft.split[SELLA_SPLIT_VALID].present = job->draft.split[SELLA_SPLIT_TEST].present = true;
}

bool sella_protocol_window(const char *protocol, int64_t *from, int64_t *to)
{
    *from = INT64_C(1483228800); // 2017-01-01 UTC; ml-1m orders ties by the whole log
    *to = *from + 365 * 86400;
    return strcmp(protocol, "amazon-book") == 0;
}

sella_status sella_protocol_apply(sella_import_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_events *events = &job->events;
    bool last_out = strcmp(job->protocol, "leave-one-out") == 0,
         ml_1m = strcmp(job->protocol, "ml-1m") == 0;
    int64_t count = 0;
    if (events->count == 0) {
        return job->outside > 0
                   ? sella_err_set(err, SELLA_STATE,
                                   "none of %lld ratings is in the time that the protocol %s "
                                   "takes: the train split is empty",
                                   (long long)job->outside, job->protocol)
                   : sella_err_set(err, SELLA_STATE,
                                   "there are no ratings in the log: the train split is empty");
    }
    uint8_t *split_n = sella_alloc((size_t)events->count, 1, "rows", err);
    int64_t *order_n = sella_alloc((size_t)events->count, sizeof *order_n, "rows", err);
    if (!split_n || !order_n) {
        status = SELLA_MEMORY;
        goto done;
    }
    json_object_set_new(job->rules, "like_at", json_real(job->like_at));
    if (last_out) {
        SELLA_TRY(order_events(job, NULL, false, order_n, &count, err));
        split_last_out(job, order_n, count, split_n);
    } else {
        if (ml_1m) {
            split_ml_1m(job, split_n);
        } else if (strcmp(job->protocol, "amazon-book") == 0) {
            SELLA_TRY(split_amazon_book(job, split_n, err));
        } else {
            SELLA_TRY(split_by_time(job, split_n, err));
        }
        SELLA_TRY(order_events(job, split_n, ml_1m, order_n, &count, err));
    }
    for (int64_t k = 0; k < count; k++) {
        int64_t e = order_n[k];
        SELLA_TRY(sella_draft_add(&job->draft, (sella_split_id)split_n[e], events->user_n[e],
                                  events->item_n[e], events->label_n[e], events->time_n[e], err));
    }
    int64_t all = events->count + job->outside;
    if (count < all) {
        sella_say(job->talk, SELLA_LEVEL_INFO, "protocol %s leaves out %lld of %lld ratings",
                  job->protocol, (long long)(all - count), (long long)all);
    }
done:
    free(split_n);
    free(order_n);
    return status;
}
