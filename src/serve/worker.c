/* worker.c - pop, work, answer (serve/worker.h). */
#include "serve/worker.h"

#include "base/log.h"
#include "sella/system.h"
#include "serve/loaded.h"
#include "serve/problem.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/store.h"

static void work(sella_worker *worker, sella_exchange *x)
{
    x->taken = sella_now();
    if (x->taken - x->enqueued > worker->patience) { // whoever asked has most likely gone
        x->retry_after = 1;
        sella_problem(x, 503, "the request waited %.0f s for its turn; the limit is %.0f s",
                      x->taken - x->enqueued, worker->patience);
    } else {
        sella_loaded *loaded = sella_server_loaded(worker->server);
        x->reader = worker->reader;
        x->loaded = loaded;
        x->route->work(x, loaded);
        x->loaded = NULL;
        sella_loaded_drop(loaded);
    }
    x->done = sella_now();
    sella_exchange_answer(x);
}

static void *run(void *user)
{
    sella_worker *worker = user;
    sella_exchange *x;
    sella_threads_use(worker->threads);
    while ((x = sella_queue_pop(worker->queue)) != NULL) {
        work(worker, x);
    }
    return NULL;
}

sella_status sella_worker_start(sella_worker *worker, sella_server *server, const char *store,
                                int capacity, int threads, double patience, sella_err *err)
{
    sella_status status = SELLA_OK;
    *worker = (sella_worker){.server = server, .threads = threads, .patience = patience};
    if (store != NULL) {
        SELLA_TRY(sella_store_open(store, false, &worker->reader, err));
    }
    SELLA_TRY(sella_queue_new(capacity, &worker->queue, err));
    if (pthread_create(&worker->thread, NULL, run, worker) != 0) {
        SELLA_TRY(sella_err_set(err, SELLA_MEMORY, "a thread could not be started"));
    }
    worker->running = true;
done:
    if (status != SELLA_OK) {
        sella_worker_release(worker);
    }
    return status;
}

void sella_worker_stop(sella_worker *worker)
{
    if (worker->running) {
        sella_queue_close(worker->queue);
        pthread_join(worker->thread, NULL);
        worker->running = false;
    }
}

void sella_worker_release(sella_worker *worker)
{
    sella_queue_free(worker->queue);
    worker->queue = NULL;
    sella_store_close(worker->reader);
    worker->reader = NULL;
}
