/* queue.c - one line a client, served in turns (serve/queue.h). */
#include "serve/queue.h"

#include <assert.h>
#include <pthread.h>

#include "base/arena.h"

/* One client's line. Lines without requests are freed. */
typedef struct line {
    char client[SELLA_CLIENT_MAX];
    sella_exchange *head, *tail;
    int count;
    struct line *next;
} line;

struct sella_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    int capacity, depth;
    bool closed;
    line *first; /* whose turn it is */
};

sella_status sella_queue_new(int capacity, sella_queue **out, sella_err *err)
{
    sella_queue *queue = sella_alloc(1, sizeof *queue, "a queue", err);
    *out = queue;
    if (queue == NULL) {
        return SELLA_MEMORY;
    }
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->filled, NULL);
    queue->capacity = capacity;
    return SELLA_OK;
}

void sella_queue_free(sella_queue *queue)
{
    if (queue != NULL) {
        assert(queue->depth == 0);
        pthread_cond_destroy(&queue->filled);
        pthread_mutex_destroy(&queue->lock);
        free(queue);
    }
}

/* Take the newest exchange of a line that has one. */
static sella_exchange *newest(line *l)
{
    sella_exchange **at = &l->head;
    sella_exchange *before = NULL;
    while (*at != l->tail) {
        before = *at;
        at = &before->next;
    }
    sella_exchange *x = l->tail;
    *at = NULL;
    l->tail = before;
    l->count--;
    return x;
}

static void append(line *l, sella_exchange *x)
{
    x->next = NULL;
    if (l->head == NULL) {
        l->head = x;
    } else {
        l->tail->next = x;
    }
    l->tail = x;
    l->count++;
}

/* The client's line and the longest one; a new line when the client has none, NULL when memory is
 * out. */
static line *find_line(sella_queue *queue, const char *client, line **longest)
{
    line **end = &queue->first;
    line *mine = NULL;
    *longest = NULL;
    for (; *end != NULL; end = &(*end)->next) {
        mine = strcmp((*end)->client, client) == 0 ? *end : mine;
        *longest = *longest == NULL || (*end)->count > (*longest)->count ? *end : *longest;
    }
    if (mine == NULL && (mine = calloc(1, sizeof *mine)) != NULL) {
        memcpy(mine->client, client, sizeof mine->client);
        *end = mine;
    }
    return mine;
}

static void drop_if_empty(sella_queue *queue, line *l)
{
    if (l->count == 0) {
        line **at = &queue->first;
        while (*at != l) {
            at = &(*at)->next;
        }
        *at = l->next;
        free(l);
    }
}

sella_exchange *sella_queue_push(sella_queue *queue, sella_exchange *x)
{
    sella_exchange *away = x;
    line *longest = NULL;
    pthread_mutex_lock(&queue->lock);
    line *mine = queue->closed ? NULL : find_line(queue, x->client, &longest);
    if (mine != NULL && queue->depth < queue->capacity) {
        append(mine, x);
        queue->depth++;
        pthread_cond_signal(&queue->filled);
        away = NULL;
    } else if (mine != NULL) {
        /* never for less: two equals would push each other out */
        if (longest != NULL && longest->count > mine->count + 1) {
            away = newest(longest);
            append(mine, x);
        }
        drop_if_empty(queue, mine);
    }
    pthread_mutex_unlock(&queue->lock);
    return away;
}

static sella_exchange *take(sella_queue *queue)
{
    line *l = queue->first;
    sella_exchange *x = l->head;
    l->head = x->next;
    l->count--;
    queue->depth--;
    queue->first = l->next;
    if (l->count == 0) {
        free(l);
    } else { // to the back: the others' turn
        line **end = &queue->first;
        while (*end != NULL) {
            end = &(*end)->next;
        }
        l->next = NULL;
        *end = l;
    }
    x->next = NULL;
    return x;
}

sella_exchange *sella_queue_pop(sella_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->depth == 0 && !queue->closed) {
        pthread_cond_wait(&queue->filled, &queue->lock);
    }
    sella_exchange *x = queue->depth > 0 ? take(queue) : NULL;
    pthread_mutex_unlock(&queue->lock);
    return x;
}

sella_exchange *sella_queue_poll(sella_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    sella_exchange *x = queue->depth > 0 ? take(queue) : NULL;
    pthread_mutex_unlock(&queue->lock);
    return x;
}

void sella_queue_close(sella_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}

int sella_queue_depth(sella_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const int depth = queue->depth;
    pthread_mutex_unlock(&queue->lock);
    return depth;
}
