/* access_log.c - requests as JSON lines (serve/access_log.h). */
#include "serve/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"

struct sella_access_log {
    pthread_mutex_t lock;
    char *path;
    int file;
};

static sella_status open_file(const char *path, int *file, sella_err *err)
{
    *file = strcmp(path, "-") == 0 ? STDOUT_FILENO
                                   : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    return *file >= 0 ? SELLA_OK : sella_err_errno(err, path, "opened for the access log", errno);
}

sella_status sella_access_log_open(const char *path, sella_access_log **out, sella_err *err)
{
    sella_access_log *log = sella_alloc(1, sizeof *log, "the access log", err);
    *out = NULL;
    if (log == NULL) {
        return SELLA_MEMORY;
    }
    pthread_mutex_init(&log->lock, NULL);
    log->file = -1;
    log->path = strdup(path);
    sella_status status = log->path != NULL ? open_file(path, &log->file, err)
                                            : sella_err_memory(err, "the access log", 0);
    if (status == SELLA_OK) {
        *out = log;
    } else {
        sella_access_log_close(log);
    }
    return status;
}

static void close_file(int file)
{
    if (file > STDERR_FILENO) {
        close(file);
    }
}

sella_status sella_access_log_reopen(sella_access_log *log, sella_err *err)
{
    int file;
    sella_status status = open_file(log->path, &file, err);
    if (status == SELLA_OK) {
        pthread_mutex_lock(&log->lock);
        close_file(log->file);
        log->file = file;
        pthread_mutex_unlock(&log->lock);
    }
    return status;
}

void sella_access_log_close(sella_access_log *log)
{
    if (log != NULL) {
        close_file(log->file);
        pthread_mutex_destroy(&log->lock);
        free(log->path);
        free(log);
    }
}

static json_t *microseconds(double from, double to)
{
    return from > 0 && to >= from ? json_integer((json_int_t)((to - from) * 1e6)) : json_null();
}

void sella_access_log_line(sella_access_log *log, const sella_exchange *x, double now)
{
    char when[40] = "";
    struct timespec wall;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &wall);
    gmtime_r(&wall.tv_sec, &parts);
    const size_t bytes = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(when + bytes, sizeof when - bytes, ".%03ldZ", wall.tv_nsec / 1000000);
    json_t *line = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:I, s:o, s:o, s:o}", "time", when, "client", x->client,
        "method", x->method, "path",
        x->target.path != NULL && x->target.path[0] == '/' ? x->target.path : "", "status", x->code,
        "bytes", (json_int_t)x->bytes, "us", microseconds(x->arrived, now), "queue_us",
        microseconds(x->enqueued, x->taken), "work_us", microseconds(x->taken, x->done));
    char *text = line != NULL ? sella_json_line(line) : NULL;
    json_decref(line);
    if (text != NULL) {
        const size_t size = strlen(text);
        text[size] = '\n'; // in place of the zero: the text ends by its size
        pthread_mutex_lock(&log->lock);
        /* a full disk loses lines, not requests */
        const ssize_t written = write(log->file, text, size + 1);
        pthread_mutex_unlock(&log->lock);
        (void)written;
    }
    free(text);
}
