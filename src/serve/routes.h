/* routes.h - the table of what can be asked.
 *
 * Does:     sella_route_find(method, path) -> a row: parse on the connection thread, then work
 *           where the row says.
 * Threads:  pure.
 * Not here: the handlers (serve/handlers_*.c); the same table for clients is openapi.json, and a
 *           test holds them together.
 */
#ifndef SELLA_SERVE_ROUTES_H
#define SELLA_SERVE_ROUTES_H

#include "serve/exchange.h"
#include "serve/loaded.h"

typedef enum sella_place {
    SELLA_PLACE_HERE,  /* on the connection thread: answered at once */
    SELLA_PLACE_LOOK,  /* the worker for look-ups */
    SELLA_PLACE_SCORE, /* the worker that owns scoring */
    SELLA_PLACE_STORE  /* the writer of the feedback store */
} sella_place;

struct sella_route {
    const char *method; /* "GET" (HEAD too) or "POST" */
    const char *path;   /* exact, or a prefix that ends with '/' and "{id}" */
    sella_place place;
    bool open;          /* asked without a key */
    bool early;         /* answered before the run is loaded */
    /* Check the request; a problem in x ends it there. NULL: nothing to check. */
    void (*parse)(sella_exchange *x);
    /* Fill the reply; NULL for SELLA_PLACE_STORE, whose writer does it. loaded: NULL for early
     * routes while nothing is loaded. */
    void (*work)(sella_exchange *x, sella_loaded *loaded);
};

/* Row count, and a row. */
int sella_route_count(void);
const sella_route *sella_route_at(int index);
/* Its index; sella_route_count() for NULL. */
int sella_route_index(const sella_route *route);

/* Returns: 200 with *out and *tail (what stands for {id}, into path); 404: no such path; 405 with
 *          *allow, static. */
int sella_route_find(const char *method, const char *path, const sella_route **out,
                     const char **tail, const char **allow);

/* handlers_meta.c */
void sella_handle_health(sella_exchange *x, sella_loaded *loaded);
void sella_handle_ready(sella_exchange *x, sella_loaded *loaded);
void sella_handle_metrics(sella_exchange *x, sella_loaded *loaded);
void sella_handle_model(sella_exchange *x, sella_loaded *loaded);
void sella_handle_openapi(sella_exchange *x, sella_loaded *loaded);
void sella_handle_page(sella_exchange *x, sella_loaded *loaded);
/* handlers_user.c */
void sella_handle_user(sella_exchange *x, sella_loaded *loaded);
void sella_handle_items(sella_exchange *x, sella_loaded *loaded);
void sella_parse_feedback(sella_exchange *x);
/* handlers_rank.c */
void sella_parse_score(sella_exchange *x);
void sella_parse_recommend(sella_exchange *x);
void sella_parse_explain(sella_exchange *x);
void sella_handle_score(sella_exchange *x, sella_loaded *loaded);
void sella_handle_recommend(sella_exchange *x, sella_loaded *loaded);
void sella_handle_explain(sella_exchange *x, sella_loaded *loaded);

#endif
