/* bench_sets.h - requests that share a user and nothing else: fresh sets of candidates to score.
 *
 * Does:     sella_bench_sets_make asks a running server for the user and for titles of its
 *           catalogue, scores one set so that the user's prefix is warm, and writes one POST
 *           /v1/score for every further set. Sets that follow each other share no item until the
 *           titles found are used up; then they are shuffled again.
 * Memory:   the sets own their texts until sella_bench_sets_release.
 * Threads:  pure.
 */
#ifndef SELLA_SERVE_BENCH_SETS_H
#define SELLA_SERVE_BENCH_SETS_H

#include <sys/socket.h>

#include "base/text.h"
#include "sella/serve.h"

typedef struct sella_bench_sets {
    sella_text *request_n; /* [count] whole requests, head and body */
    int count;
    int titles;            /* of the user's history */
    double warm_ms;        /* of the request that warmed the prefix */
} sella_bench_sets;

/* One whole HTTP/1.1 request. body: NULL for a GET; key: NULL for none. */
sella_status sella_bench_request(sella_text *out, const char *path, const char *body,
                                 const char *key, sella_err *err);

/* options->user and options->candidates name the work.
 *
 * Returns: SELLA_IO: the server does not answer; SELLA_FORMAT: it answers something else than sella
 * serve does; SELLA_STATE: the user has no history, or there are fewer items than candidates. */
sella_status sella_bench_sets_make(const sella_serve_bench_options *options,
                                   const struct sockaddr_storage *address, socklen_t address_bytes,
                                   const char *key, sella_bench_sets *out, sella_err *err);
void sella_bench_sets_release(sella_bench_sets *sets);

#endif
