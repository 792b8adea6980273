/* recorder.c - group commits of feedback (serve/recorder.h). */
#include "serve/recorder.h"

#include <time.h>

#include "base/log.h"
#include "serve/loaded.h"
#include "serve/problem.h"
#include "serve/server.h"

enum { GROUP = 256 }; /* requests of one transaction */

static sella_status write_titles(sella_recorder *recorder, const sella_feedback *events,
                                 const sella_loaded *loaded, bool *full, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int i = 0; status == SELLA_OK && i < events->count; i++) {
        const char *title = sella_engine_item_title(loaded->engine, events->event_n[i].item);
        if (title != NULL) {
            status = sella_store_title(recorder->store, events->event_n[i].item, title, full, err);
        }
    }
    return status;
}

/* Write x_n [*count] and what comes in meanwhile, in one transaction. */
static sella_status write_group(sella_recorder *recorder, sella_exchange **x_n, int *count,
                                bool *full, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_loaded *loaded = sella_server_loaded(recorder->server);
    SELLA_TRY(sella_store_begin(recorder->store, full, err));
    for (int i = 0; i < *count; i++) {
        x_n[i]->taken = sella_now();
        SELLA_TRY(
            sella_store_add(recorder->store, x_n[i]->feedback, (int64_t)time(NULL), full, err));
        SELLA_TRY(write_titles(recorder, x_n[i]->feedback, loaded, full, err));
        sella_exchange *more = *count < GROUP ? sella_queue_poll(recorder->queue) : NULL;
        if (more != NULL) {
            x_n[(*count)++] = more;
        }
    }
    SELLA_TRY(sella_store_commit(recorder->store, full, err));
done:
    sella_loaded_drop(loaded);
    return status;
}

static void answer(sella_exchange *x, sella_status status, bool full)
{
    if (status == SELLA_OK) {
        sella_reply_json(x, 200,
                         json_pack("{s:i, s:i}", "stored", x->feedback->stored, "duplicates",
                                   x->feedback->duplicates));
    } else {
        x->retry_after = 5;
        sella_problem(x, full ? 507 : 503, "nothing of this request was stored: %s",
                      full ? "the disk is full" : "the store cannot be written");
    }
    x->taken = x->taken > 0 ? x->taken : sella_now();
    x->done = sella_now();
    sella_exchange_answer(x);
}

static void *run(void *user)
{
    sella_recorder *recorder = user;
    sella_exchange *x_n[GROUP];
    sella_metrics *metrics = recorder->server->metrics;
    while ((x_n[0] = sella_queue_pop(recorder->queue)) != NULL) {
        sella_err err = {0};
        bool full = false;
        int count = 1, stored = 0, duplicates = 0;
        const sella_status status = write_group(recorder, x_n, &count, &full, &err);
        for (int i = 0; status == SELLA_OK && i < count; i++) {
            stored += x_n[i]->feedback->stored;
            duplicates += x_n[i]->feedback->duplicates;
        }
        sella_metrics_feedback(metrics, stored, duplicates, status == SELLA_OK, status != SELLA_OK);
        if (status != SELLA_OK) {
            sella_say(recorder->server->options.talk, SELLA_LEVEL_WARN, "feedback was refused: %s",
                      err.text);
        }
        for (int i = 0; i < count; i++) {
            answer(x_n[i], status, full);
        }
    }
    return NULL;
}

sella_status sella_recorder_start(sella_recorder *recorder, sella_server *server, const char *path,
                                  int capacity, sella_err *err)
{
    sella_status status = SELLA_OK;
    *recorder = (sella_recorder){.server = server};
    SELLA_TRY(sella_store_open(path, true, &recorder->store, err));
    SELLA_TRY(sella_queue_new(capacity, &recorder->queue, err));
    if (pthread_create(&recorder->thread, NULL, run, recorder) != 0) {
        SELLA_TRY(sella_err_set(err, SELLA_MEMORY, "a thread could not be started"));
    }
    recorder->running = true;
done:
    if (status != SELLA_OK) {
        sella_recorder_release(recorder);
    }
    return status;
}

void sella_recorder_stop(sella_recorder *recorder)
{
    if (recorder->running) {
        sella_queue_close(recorder->queue);
        pthread_join(recorder->thread, NULL);
        recorder->running = false;
    }
}

void sella_recorder_release(sella_recorder *recorder)
{
    sella_queue_free(recorder->queue);
    recorder->queue = NULL;
    sella_store_close(recorder->store);
    recorder->store = NULL;
}
