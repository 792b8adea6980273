/* handlers_meta.c - what is asked about the server itself (serve/routes.h). */
#include "base/json.h"
#include "serve/embedded.h"
#include "serve/problem.h"
#include "serve/routes.h"
#include "serve/server.h"

void sella_handle_health(sella_exchange *x, sella_loaded *loaded)
{
    static const char alive[] = "{\"status\":\"ok\"}";
    (void)loaded;
    sella_reply_static(x, 200, "application/json", alive, sizeof alive - 1);
}

void sella_handle_ready(sella_exchange *x, sella_loaded *loaded)
{
    static const char ready[] = "{\"status\":\"ready\"}";
    (void)loaded;
    if (atomic_load(&x->server->ready)) {
        sella_reply_static(x, 200, "application/json", ready, sizeof ready - 1);
    } else {
        x->retry_after = 1;
        sella_problem(x, 503, "the run is being loaded");
    }
}

void sella_handle_metrics(sella_exchange *x, sella_loaded *loaded)
{
    (void)loaded;
    char *text = sella_metrics_text(x->server->metrics, x->server);
    sella_reply_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", text,
                     text != NULL ? strlen(text) : 0);
}

/* The facts about the run, without the server's paths. */
void sella_handle_model(sella_exchange *x, sella_loaded *loaded)
{
    sella_err err = {0};
    json_t *info = NULL;
    sella_status status =
        sella_json_parse(loaded->info, strlen(loaded->info), "the run", &info, &err);
    if (status != SELLA_OK) {
        sella_problem_status(x, status, &err);
        return;
    }
    const char *model = json_string_value(json_object_get(info, "model"));
    const char *name = model != NULL ? strrchr(model, '/') : NULL;
    if (name != NULL) {
        json_object_set_new(info, "model", json_string(name + 1));
    }
    json_object_set_new(info, "version", json_string(SELLA_VERSION));
    json_object_set_new(info, "load_seconds", sella_json_real(loaded->seconds));
    sella_reply_json(x, 200, info);
}

void sella_handle_openapi(sella_exchange *x, sella_loaded *loaded)
{
    (void)loaded;
    sella_reply_static(x, 200, "application/json", sella_embedded_openapi_json,
                       (size_t)(sella_embedded_openapi_json_end - sella_embedded_openapi_json));
}

void sella_handle_page(sella_exchange *x, sella_loaded *loaded)
{
    (void)loaded;
    sella_reply_static(x, 200, "text/html; charset=utf-8", sella_embedded_page_html,
                       (size_t)(sella_embedded_page_html_end - sella_embedded_page_html));
}
