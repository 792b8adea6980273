/* import_csv.c - any delimited log with a header line, its columns mapped by name. */
#include "data/import_table.h"

static const sella_table_form form = {
    .quotes = true,
    .tried_n =
        {
            [SELLA_COLUMN_USER] = (const char *const[]){"user", "user_id", "userId", "uid", NULL},
            [SELLA_COLUMN_ITEM] =
                (const char *const[]){"item", "item_id", "itemId", "iid", "movieId", NULL},
            [SELLA_COLUMN_RATING] = (const char *const[]){"rating", NULL},
            [SELLA_COLUMN_LABEL] = (const char *const[]){"label", NULL},
            [SELLA_COLUMN_TIME] = (const char *const[]){"time", "timestamp", NULL},
            [SELLA_COLUMN_TITLE] = (const char *const[]){"title", NULL},
        },
    .no_titles = " (--columns title=NAME), nor a file with them (--items FILE)",
    .no_ratings = " (see --columns)",
};

sella_status sella_import_csv(sella_import_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_column_map map = {0};
    const char *items = job->options->items;
    SELLA_TRY(sella_column_map_parse(job->options->columns, &map, err));
    if (items) {
        SELLA_TRY(sella_import_table(job, &form, &map, items, true, true, err));
    }
    for (int i = 0; i < job->options->input_count; i++) {
        SELLA_TRY(sella_import_table(job, &form, &map, job->options->inputs[i], false,
                                     items != NULL, err));
    }
done:
    sella_column_map_release(&map);
    return status;
}
