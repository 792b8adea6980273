/* target.h - the path and the query of a request line, decoded.
 *
 * Does:     sella_target_parse("/v1/users/a%20b?limit=3") -> path "/v1/users/a b", one pair;
 *           sella_target_query(&t, "limit"). The same with "http://host" in front. Percent
 *           sequences must be whole, the decoded text UTF-8 without NUL; `+` in a query is a
 *           blank.
 * Memory:   owns its copies until sella_target_release.
 * Threads:  one object per thread.
 * Not here: which paths exist (serve/routes.h). Nothing here or behind it opens a file by what a
 *           request says.
 */
#ifndef SELLA_SERVE_TARGET_H
#define SELLA_SERVE_TARGET_H

#include "base/error.h"

enum { SELLA_TARGET_MAX = 16384, SELLA_QUERY_MAX = 64 }; /* bytes of a target, pairs of a query */

typedef struct sella_target {
    char *path; /* decoded, begins with '/'; of a malformed target NULL or any text */
    int count;
    struct {
        const char *name, *value; /* into `buffer` */
    } pair_n[SELLA_QUERY_MAX];
    char *buffer;
} sella_target;

/* Returns: SELLA_ARG with a sentence for a target that is too long or malformed (release is fine
 *          then too). */
sella_status sella_target_parse(const char *raw, sella_target *out, sella_err *err);
void sella_target_release(sella_target *target);
/* The value of a query's name, or NULL. */
const char *sella_target_query(const sella_target *target, const char *name);

#endif
