/* watch.c - shutting down connections that drip (serve/watch.h). */
#include "serve/watch.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>

#include "base/arena.h"
#include "base/log.h"

struct sella_watched {
    int fd;
    double since; /* a head is expected since; 0: none is */
    sella_watched *next, *previous;
};

struct sella_watch {
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    pthread_t thread;
    double patience;
    bool stop;
    sella_watched *first;
};

/* Under the lock. */
static void look(sella_watch *watch)
{
    const double now = sella_now();
    for (sella_watched *w = watch->first; w != NULL; w = w->next) {
        if (w->since > 0 && now - w->since > watch->patience) {
            shutdown(w->fd, SHUT_RDWR); // its owner sees the end of the connection and closes it
            w->since = 0;
        }
    }
}

static void *run(void *user)
{
    sella_watch *watch = user;
    pthread_mutex_lock(&watch->lock);
    while (!watch->stop) {
        struct timespec until;
        const double pause = watch->patience / 4 < 5 ? watch->patience / 4 : 5;
        clock_gettime(CLOCK_REALTIME, &until);
        const double end = (double)until.tv_nsec * 1e-9 + pause;
        until.tv_sec += (time_t)end;
        until.tv_nsec = (long)((end - (double)(time_t)end) * 1e9);
        pthread_cond_timedwait(&watch->stopped, &watch->lock, &until);
        look(watch);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

sella_status sella_watch_start(double patience, sella_watch **out, sella_err *err)
{
    sella_watch *watch = sella_alloc(1, sizeof *watch, "a watch", err);
    *out = NULL;
    if (watch == NULL) {
        return SELLA_MEMORY;
    }
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->stopped, NULL);
    watch->patience = patience;
    if (pthread_create(&watch->thread, NULL, run, watch) != 0) {
        pthread_cond_destroy(&watch->stopped);
        pthread_mutex_destroy(&watch->lock);
        free(watch);
        return sella_err_set(err, SELLA_MEMORY, "a thread could not be started");
    }
    *out = watch;
    return SELLA_OK;
}

void sella_watch_stop(sella_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    watch->stop = true;
    pthread_cond_signal(&watch->stopped);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->stopped);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

sella_watched *sella_watch_opened(sella_watch *watch, int fd)
{
    sella_watched *watched = calloc(1, sizeof *watched);
    if (watched != NULL) {
        pthread_mutex_lock(&watch->lock);
        *watched = (sella_watched){.fd = fd, .since = sella_now(), .next = watch->first};
        if (watch->first != NULL) {
            watch->first->previous = watched;
        }
        watch->first = watched;
        pthread_mutex_unlock(&watch->lock);
    }
    return watched;
}

void sella_watch_closed(sella_watch *watch, sella_watched *watched)
{
    if (watched == NULL) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    if (watched->previous != NULL) {
        watched->previous->next = watched->next;
    } else {
        watch->first = watched->next;
    }
    if (watched->next != NULL) {
        watched->next->previous = watched->previous;
    }
    pthread_mutex_unlock(&watch->lock);
    free(watched);
}

static void set_since(sella_watch *watch, sella_watched *watched, double since)
{
    if (watched != NULL) {
        pthread_mutex_lock(&watch->lock);
        watched->since = since;
        pthread_mutex_unlock(&watch->lock);
    }
}

void sella_watch_waits(sella_watch *watch, sella_watched *watched)
{
    set_since(watch, watched, sella_now());
}

void sella_watch_begun(sella_watch *watch, sella_watched *watched)
{
    set_since(watch, watched, 0);
}
