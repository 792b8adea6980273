/* stream.c - lines between a worker and a connection (serve/stream.h).
 *
 * Easy to get wrong: libmicrohttpd asks for more again and again when nothing is there, so the
 * connection is suspended under the lock under which lines are appended, and a suspended connection
 * is not looked at: that its client has gone is seen when the next line is written.
 */
#include "serve/stream.h"

#include <microhttpd.h>
#include <pthread.h>

#include "base/arena.h"
#include "base/json.h"

struct sella_reply_stream {
    pthread_mutex_t lock;
    sella_text text; /* not yet read */
    size_t taken;    /* bytes of text that were read */
    size_t total;    /* bytes appended so far */
    bool waiting;    /* the connection is suspended */
    bool ended;      /* by the worker */
    bool broken;     /* a line is missing: memory was out */
    bool gone;       /* the connection is done with it */
};

/* One entry of an Accept header: does it name `type`, and with which weight? */
static bool names(const char *entry, size_t bytes, const char *type, double *weight)
{
    const size_t size = strlen(type);
    char part[32];
    while (bytes > 0 && (*entry == ' ' || *entry == '\t')) {
        entry++;
        bytes--;
    }
    if (bytes < size || strncasecmp(entry, type, size) != 0 ||
        (bytes > size && strchr("; \t", entry[size]) == NULL)) {
        return false;
    }
    *weight = 1;
    for (size_t i = size; i < bytes; i++) {
        if (entry[i] == 'q' && i + 1 < bytes && entry[i + 1] == '=' &&
            strchr("; \t", entry[i - 1]) != NULL) {
            snprintf(part, sizeof part, "%.*s",
                     (int)(bytes - i - 2 < sizeof part - 1 ? bytes - i - 2 : sizeof part - 1),
                     entry + i + 2);
            *weight = strtod(part, NULL);
        }
    }
    return true;
}

bool sella_stream_asked(const char *accept)
{
    double lines = 0, json = 0, weight = 0;
    for (const char *at = accept != NULL ? accept : ""; *at != '\0';) {
        const size_t bytes = strcspn(at, ",");
        if (names(at, bytes, SELLA_STREAM_TYPE, &weight)) {
            lines = weight;
        } else if (names(at, bytes, "application/json", &weight)) {
            json = weight;
        }
        at += bytes + (at[bytes] == ',');
    }
    return lines > 0 && lines >= json;
}

/* A stream of x, whose connection was suspended when x was queued. */
static bool begin(sella_exchange *x)
{
    x->stream = sella_alloc(1, sizeof *x->stream, "a reply", NULL);
    if (x->stream == NULL) {
        return false;
    }
    pthread_mutex_init(&x->stream->lock, NULL);
    x->stream->waiting = true;
    x->code = 200;
    x->type = SELLA_STREAM_TYPE;
    return true;
}

/* Under the lock. */
static void wake(sella_exchange *x)
{
    if (x->stream->waiting) {
        x->stream->waiting = false;
        MHD_resume_connection(x->connection);
    }
}

bool sella_stream_line(sella_exchange *x, json_t *value)
{
    char *line = value != NULL ? sella_json_line(value) : NULL;
    json_decref(value);
    if (x->stream == NULL && (line == NULL || !begin(x))) {
        free(line);
        return false;
    }
    sella_reply_stream *s = x->stream;
    pthread_mutex_lock(&s->lock);
    const size_t bytes = line != NULL ? strlen(line) : 0;
    if (!s->broken && !s->gone) {
        s->broken = line == NULL || sella_text_append(&s->text, line, bytes, NULL) != SELLA_OK ||
                    sella_text_append(&s->text, "\n", 1, NULL) != SELLA_OK;
        s->total += s->broken ? 0 : bytes + 1;
        wake(x);
    }
    const bool read = !s->broken && !s->gone;
    pthread_mutex_unlock(&s->lock);
    free(line);
    return read;
}

bool sella_stream_gone(const sella_exchange *x)
{
    if (x->stream == NULL) {
        return false;
    }
    pthread_mutex_lock(&x->stream->lock);
    const bool gone = x->stream->gone;
    pthread_mutex_unlock(&x->stream->lock);
    return gone;
}

bool sella_stream_end(sella_exchange *x)
{
    pthread_mutex_lock(&x->stream->lock);
    const bool last = x->stream->gone;
    x->stream->ended = true;
    if (!last) {
        wake(x);
    }
    pthread_mutex_unlock(&x->stream->lock); // x may be gone from here on unless it is the caller's
    return last;
}

ssize_t sella_stream_read(sella_exchange *x, char *out, size_t room)
{
    sella_reply_stream *s = x->stream;
    ssize_t got;
    pthread_mutex_lock(&s->lock);
    size_t bytes = s->text.size - s->taken;
    if (bytes > 0) {
        bytes = bytes < room ? bytes : room;
        memcpy(out, s->text.data + s->taken, bytes);
        s->taken += bytes;
        if (s->taken == s->text.size) {
            sella_text_release(&s->text);
            s->taken = 0;
        }
        got = (ssize_t)bytes;
    } else if (s->broken) {
        got = -2;
    } else if (s->ended) {
        got = -1;
    } else {
        s->waiting = true;
        MHD_suspend_connection(x->connection);
        got = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return got;
}

bool sella_stream_sent(sella_exchange *x, bool whole)
{
    pthread_mutex_lock(&x->stream->lock);
    const bool last = x->stream->ended;
    x->stream->gone = true;
    x->code = whole ? x->code : 0;
    x->bytes = x->stream->total - (x->stream->text.size - x->stream->taken);
    pthread_mutex_unlock(&x->stream->lock);
    return last;
}

void sella_stream_free(sella_reply_stream *stream)
{
    if (stream != NULL) {
        pthread_mutex_destroy(&stream->lock);
        sella_text_release(&stream->text);
        free(stream);
    }
}
