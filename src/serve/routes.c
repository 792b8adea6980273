/* routes.c - the table of routes (serve/routes.h). A new one: its row here, its handler, its entry
 * in openapi.json. */
#include "serve/routes.h"

static const sella_route table[] = {
    {"GET", "/", SELLA_PLACE_HERE, true, true, NULL, sella_handle_page},
    {"GET", "/health", SELLA_PLACE_HERE, true, true, NULL, sella_handle_health},
    {"GET", "/ready", SELLA_PLACE_HERE, false, true, NULL, sella_handle_ready},
    {"GET", "/metrics", SELLA_PLACE_HERE, false, true, NULL, sella_handle_metrics},
    {"GET", "/openapi.json", SELLA_PLACE_HERE, false, true, NULL, sella_handle_openapi},
    {"GET", "/v1/model", SELLA_PLACE_HERE, false, false, NULL, sella_handle_model},
    {"GET", "/v1/items", SELLA_PLACE_LOOK, false, false, NULL, sella_handle_items},
    {"GET", "/v1/users/{id}", SELLA_PLACE_LOOK, false, false, NULL, sella_handle_user},
    {"POST", "/v1/score", SELLA_PLACE_SCORE, false, false, sella_parse_score, sella_handle_score},
    {"POST", "/v1/recommend", SELLA_PLACE_SCORE, false, false, sella_parse_recommend,
     sella_handle_recommend},
    {"POST", "/v1/explain", SELLA_PLACE_SCORE, false, false, sella_parse_explain,
     sella_handle_explain},
    {"POST", "/v1/feedback", SELLA_PLACE_STORE, false, false, sella_parse_feedback, NULL},
};
enum { ROUTES = sizeof table / sizeof *table };

int sella_route_count(void)
{
    return ROUTES;
}

const sella_route *sella_route_at(int index)
{
    return &table[index];
}

int sella_route_index(const sella_route *route)
{
    return route != NULL ? (int)(route - table) : ROUTES;
}

/* Does path fit the row? *tail: what stands for {id}. */
static bool fits(const sella_route *route, const char *path, const char **tail)
{
    const size_t bytes = strcspn(route->path, "{");
    *tail = "";
    if (route->path[bytes] == '\0') {
        return strcmp(route->path, path) == 0;
    }
    *tail = path + bytes;
    return strncmp(route->path, path, bytes) == 0 && path[bytes] != '\0';
}

int sella_route_find(const char *method, const char *path, const sella_route **out,
                     const char **tail, const char **allow)
{
    int code = 404;
    const char *verb = strcmp(method, "HEAD") == 0 ? "GET" : method;
    *out = NULL;
    for (int i = 0; i < ROUTES; i++) {
        const char *rest;
        if (!fits(&table[i], path, &rest)) {
            continue;
        }
        if (strcmp(table[i].method, verb) == 0) {
            *out = &table[i];
            *tail = rest;
            return 200;
        }
        code = 405;
        *allow = strcmp(table[i].method, "GET") == 0 ? "GET, HEAD" : table[i].method;
    }
    return code;
}
