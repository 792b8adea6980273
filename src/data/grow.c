/* grow.c - sella_grow: the rows of a data set and new ones, cut into splits anew (sella/data.h). */
#include <string.h>

#include "data/import.h"

typedef struct grow {
    const sella_grow_options *options;
    const sella_dataset *old; /* NULL: none */
    sella_import_job *job;
} grow;

static sella_status add_old(grow *g, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_draft *draft = &g->job->draft;
    /* the whole catalogue, in its order: item numbers stay */
    for (int32_t i = 0; i < g->old->items; i++) {
        int32_t item;
        SELLA_TRY(sella_intern_add(&draft->items, g->old->item_id[i], strlen(g->old->item_id[i]),
                                   &item, NULL, err));
        SELLA_TRY(
            sella_draft_title(draft, item, g->old->title[i], strlen(g->old->title[i]), NULL, err));
    }
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const sella_split *split = &g->old->split[s];
        for (int64_t r = 0; r < split->rows; r++) {
            const char *id = g->old->user_id[split->user_n[r]];
            int32_t user;
            SELLA_TRY(sella_intern_add(&draft->users, id, strlen(id), &user, NULL, err));
            SELLA_TRY(sella_events_add(&g->job->events, user, split->item_n[r],
                                       split->label_n[r] != 0, split->time_n[r], err));
        }
    }
done:
    return status;
}

static sella_status add_new(void *context, const sella_grow_row *row, sella_err *err)
{
    grow *g = context;
    sella_draft *draft = &g->job->draft;
    sella_status status = SELLA_OK;
    int32_t user, item;
    if (row->time < SELLA_TIME_MIN || row->time > SELLA_TIME_MAX) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "user '%s', item '%s': time %lld is outside the years 1 to 9999",
                                row->user, row->item, (long long)row->time));
    }
    SELLA_TRY(sella_intern_add(&draft->users, row->user, strlen(row->user), &user, NULL, err));
    SELLA_TRY(sella_intern_add(&draft->items, row->item, strlen(row->item), &item, NULL, err));
    if (row->title != NULL && (item >= draft->titles || draft->title_n[item] == NULL)) {
        SELLA_TRY(sella_draft_title(draft, item, row->title, strlen(row->title), NULL, err));
    }
    SELLA_TRY(sella_events_add(&g->job->events, user, item, row->label != 0, row->time, err));
done:
    return status;
}

static sella_status fill(sella_import_job *job, void *context, sella_err *err)
{
    grow *g = context;
    sella_status status = SELLA_OK;
    g->job = job;
    job->drop_untitled = true;
    if (g->old != NULL) {
        SELLA_TRY(add_old(g, err));
    }
    SELLA_TRY(g->options->rows(g->options->user, add_new, g, err));
    if (job->events.count == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_STATE, "there are no rows: a data set needs some"));
    }
done:
    return status;
}

sella_status sella_grow(const sella_grow_options *options, const sella_talk *talk, char **json,
                        sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_dataset *old = NULL;
    grow g = {.options = options};
    const char *protocol = options->protocol != NULL ? options->protocol : "time";
    const char *inputs[2] = {options->source != NULL ? options->source : "feedback",
                             options->dataset};
    if (json != NULL) {
        *json = NULL;
    }
    if (options->output == NULL || options->output[0] == '\0') {
        SELLA_TRY(sella_err_set(err, SELLA_ARG, "a folder to write is needed"));
    }
    if (strcmp(protocol, "time") != 0 && strcmp(protocol, "leave-one-out") != 0) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG,
                                "unknown protocol '%s'; expected time or leave-one-out", protocol));
    }
    if (options->noun != NULL && !sella_noun_known(options->noun)) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG, "unknown noun '%s'; expected movie, book or item",
                                options->noun));
    }
    if (options->dataset != NULL) {
        SELLA_TRY(sella_dataset_open(options->dataset, &old, err));
        g.old = old;
    }
    const sella_import_options import = {.format = "feedback",
                                         .inputs = inputs,
                                         .input_count = options->dataset != NULL ? 2 : 1,
                                         .output = options->output,
                                         .protocol = protocol,
                                         .noun = options->noun != NULL ? options->noun
                                                 : old != NULL         ? old->noun
                                                                       : NULL};
    SELLA_TRY(sella_import_with(&import, fill, &g, talk, json, err));
done:
    sella_dataset_close(old);
    return status;
}
