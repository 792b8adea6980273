/* hidden_cache.c - hidden states of trees in a file (backbone/hidden_cache.h).
 *
 * Easy to get wrong: a record counts by its checksum alone, which is written behind the numbers. A
 * kill between the two leaves none; a power cut may leave the checksum without the numbers, which
 * is why it is compared at every read and not at opening.
 */
#include "backbone/hidden_cache.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"

/* The first bytes of the file, little-endian; without padding. */
typedef struct header {
    char magic[8];
    uint32_t version;
    uint32_t layer;
    uint32_t C;
    uint32_t value_bytes;
    uint64_t trees;
    uint64_t tokens;
    char fingerprint[16]; // of the backbone
    uint64_t sizes;       // hash of tokens_t
    uint64_t check;       // hash of all above
} header;

enum { VERSION = 1, TABLE_AT = 128, ROWS_ALIGN = 4096 };

struct sella_hidden_cache {
    char *path;
    int fd;
    header head;
    int64_t *first_t; // [trees + 1] tokens before a tree
    uint64_t *check_t; // [trees] 0: no record
    sella_hidden_stats stats;
    sella_err failure;
};

static uint64_t rows_at(uint64_t trees)
{
    return (TABLE_AT + trees * sizeof(uint64_t) + ROWS_ALIGN - 1) / ROWS_ALIGN * ROWS_ALIGN;
}

uint64_t sella_hidden_bytes(int C, int64_t trees, int64_t tokens)
{
    return rows_at((uint64_t)trees) + (uint64_t)tokens * (uint64_t)C * sizeof(float);
}

/* ---- bytes ---- */

/* 0, or the errno; ENODATA: the file ends before. */
static int read_at(int fd, void *data, size_t bytes, uint64_t at)
{
    for (char *to = data; bytes > 0;) {
        const ssize_t n = pread(fd, to, bytes, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : ENODATA;
        }
        to += n;
        at += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int write_at(int fd, const void *data, size_t bytes, uint64_t at)
{
    for (const char *from = data; bytes > 0;) {
        const ssize_t n = pwrite(fd, from, bytes, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : ENOSPC;
        }
        from += n;
        at += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* ---- opening ---- */

static header header_of(const sella_hidden_of *of, const int64_t *first_t)
{
    header h;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, "SELLAHID", sizeof h.magic);
    h.version = VERSION;
    h.layer = (uint32_t)of->layer;
    h.C = (uint32_t)sella_backbone_shape(of->backbone)->C;
    h.value_bytes = sizeof(float);
    h.trees = (uint64_t)of->trees;
    h.tokens = (uint64_t)first_t[of->trees];
    memcpy(h.fingerprint, sella_backbone_fingerprint(of->backbone), sizeof h.fingerprint);
    h.sizes = sella_hash_bytes(of->tokens_t, (size_t)of->trees * sizeof *of->tokens_t, 0);
    h.check = sella_hash_bytes(&h, offsetof(header, check), 0);
    return h;
}

/* Is the file whole and of this header? Then its table is read. */
static bool take_over(sella_hidden_cache *c)
{
    header there;
    struct stat info;
    if (fstat(c->fd, &info) != 0 || (uint64_t)info.st_size != c->stats.bytes ||
        read_at(c->fd, &there, sizeof there, 0) != 0 ||
        memcmp(&there, &c->head, sizeof there) != 0 ||
        read_at(c->fd, c->check_t, (size_t)c->head.trees * sizeof *c->check_t, TABLE_AT) != 0) {
        return false;
    }
    for (uint64_t t = 0; t < c->head.trees; t++) {
        c->stats.known += c->check_t[t] != 0;
    }
    return true;
}

/* An empty file of the full size; the header last. */
static sella_status make_anew(sella_hidden_cache *c, sella_err *err)
{
    uint64_t free_bytes;
    int reason = ftruncate(c->fd, 0) != 0 ? errno : 0;
    memset(c->check_t, 0, (size_t)c->head.trees * sizeof *c->check_t);
    if (reason == 0 && sella_disk_free(c->path, &free_bytes) &&
        c->stats.bytes > free_bytes - free_bytes / 10) {
        return sella_err_set(
            err, SELLA_IO,
            "%s: the hidden states of %llu tokens take %.1f MB; %.1f MB of the disk can be had",
            c->path, (unsigned long long)c->head.tokens, (double)c->stats.bytes / 1048576.0,
            (double)free_bytes / 1048576.0);
    }
    reason = reason ? reason : posix_fallocate(c->fd, 0, (off_t)c->stats.bytes);
    reason = reason ? reason : write_at(c->fd, &c->head, sizeof c->head, 0);
    return reason ? sella_err_errno(err, c->path, "written", reason) : SELLA_OK;
}

sella_status sella_hidden_cache_open(const char *path, const sella_hidden_of *of,
                                     sella_hidden_cache **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = NULL;
    assert(of->layer > 0 && of->trees > 0);
    sella_hidden_cache *c = sella_alloc(1, sizeof *c, "a cache of hidden states", err);
    if (!c) {
        return SELLA_MEMORY;
    }
    c->fd = -1;
    c->path = strdup(path);
    c->first_t =
        sella_alloc((size_t)of->trees + 1, sizeof *c->first_t, "a cache of hidden states", err);
    c->check_t =
        sella_alloc((size_t)of->trees, sizeof *c->check_t, "a cache of hidden states", err);
    if (!c->path || !c->first_t || !c->check_t) {
        status = sella_err_memory(err, "a cache of hidden states", (size_t)of->trees * 16);
        goto done;
    }
    for (int64_t t = 0; t < of->trees; t++) {
        assert(of->tokens_t[t] > 0);
        c->first_t[t + 1] = c->first_t[t] + of->tokens_t[t];
    }
    c->head = header_of(of, c->first_t);
    c->stats.bytes = sella_hidden_bytes((int)c->head.C, of->trees, c->first_t[of->trees]);
    SELLA_TRY(sella_file_open(path, O_RDWR | O_CREAT, &c->fd, err));
    if (!take_over(c)) {
        status = make_anew(c, err);
        if (status != SELLA_OK) {
            sella_path_remove(path, NULL);
            goto done;
        }
    }
    *out = c;
    c = NULL;
done:
    sella_hidden_cache_close(c);
    return status;
}

void sella_hidden_cache_close(sella_hidden_cache *cache)
{
    if (cache) {
        if (cache->fd >= 0) {
            close(cache->fd);
        }
        free(cache->path);
        free(cache->first_t);
        free(cache->check_t);
        free(cache);
    }
}

/* ---- records ---- */

/* Over the file's header, the tree's tokens and segments, and its numbers; never 0. */
static uint64_t check_of(const sella_hidden_cache *c, const sella_tree_batch *tree, const float *x)
{
    uint64_t check =
        sella_hash_bytes(tree->token_t, (size_t)tree->T * sizeof *tree->token_t, c->head.check);
    check = sella_hash_bytes(tree->start_s, ((size_t)tree->S + 1) * sizeof *tree->start_s, check);
    check = sella_hash_bytes(tree->parent_s, (size_t)tree->S * sizeof *tree->parent_s, check);
    check = sella_hash_bytes(x, (size_t)tree->T * c->head.C * sizeof *x, check);
    return check ? check : 1;
}

static uint64_t record_at(const sella_hidden_cache *c, int64_t t)
{
    return rows_at(c->head.trees) + (uint64_t)c->first_t[t] * c->head.C * sizeof(float);
}

static inline bool is_tree(const sella_hidden_cache *c, int64_t t, const sella_tree_batch *tree)
{
    return t >= 0 && (uint64_t)t < c->head.trees && tree->T == c->first_t[t + 1] - c->first_t[t];
}

bool sella_hidden_cache_read(sella_hidden_cache *cache, int64_t t, const sella_tree_batch *tree,
                             float *x)
{
    assert(is_tree(cache, t, tree));
    const size_t bytes = (size_t)tree->T * cache->head.C * sizeof *x;
    if (!cache->check_t[t] || read_at(cache->fd, x, bytes, record_at(cache, t)) != 0 ||
        check_of(cache, tree, x) != cache->check_t[t]) {
        return false;
    }
    cache->stats.read++;
    return true;
}

void sella_hidden_cache_write(sella_hidden_cache *cache, int64_t t, const sella_tree_batch *tree,
                              const float *x)
{
    assert(is_tree(cache, t, tree));
    const size_t bytes = (size_t)tree->T * cache->head.C * sizeof *x;
    const uint64_t check = check_of(cache, tree, x);
    if (cache->stats.failure) {
        return;
    }
    int reason = write_at(cache->fd, x, bytes, record_at(cache, t));
    reason = reason
                 ? reason
                 : write_at(cache->fd, &check, sizeof check, TABLE_AT + (uint64_t)t * sizeof check);
    if (reason) {
        sella_err_errno(&cache->failure, cache->path, "written", reason);
        cache->stats.failure = cache->failure.text;
        return;
    }
    cache->check_t[t] = check;
    cache->stats.written++;
}

sella_hidden_stats sella_hidden_cache_state(const sella_hidden_cache *cache)
{
    return cache->stats;
}
