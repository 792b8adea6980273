/* export.c - feedback back to a data set (sella/serve.h). */
#include "sella/data.h"
#include "sella/serve.h"
#include "serve/store.h"

typedef struct export {
    sella_store *store;
    sella_status (*row)(void *context, const sella_grow_row *row, sella_err *err);
    void *context;
} export;

static sella_status hand_on(void *context, const sella_stored *stored, sella_err *err)
{
    const export *e = context;
    const sella_grow_row row = {.user = stored->user,
                                .item = stored->item,
                                .title = stored->title,
                                .label = stored->label,
                                .time = stored->time};
    return e->row(e->context, &row, err);
}

static sella_status rows(void *user,
                         sella_status (*row)(void *context, const sella_grow_row *row,
                                             sella_err *err),
                         void *context, sella_err *err)
{
    export *e = user;
    e->row = row;
    e->context = context;
    return sella_store_each(e->store, hand_on, e, err);
}

sella_status sella_export_feedback(const sella_export_options *options, const sella_talk *talk,
                                   char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    export e = {0};
    if (json != NULL) {
        *json = NULL;
    }
    SELLA_TRY(sella_store_open(options->store, false, &e.store, err));
    const sella_grow_options grow = {.dataset = options->dataset,
                                     .output = options->output,
                                     .protocol = options->protocol,
                                     .noun = options->noun,
                                     .source = options->store,
                                     .rows = rows,
                                     .user = &e};
    SELLA_TRY(sella_grow(&grow, talk, json, err));
done:
    sella_store_close(e.store);
    return status;
}
