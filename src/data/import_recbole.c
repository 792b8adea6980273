/* import_recbole.c - RecBole's atomic files: NAME.inter and NAME.item, tab-separated, without
 * quotes, with a type behind each name of the header. */
#include <string.h>

#include "data/import_table.h"

/* "user_id:token" -> "user_id", for all names of the header. */
static sella_status strip_types(sella_delimited *table, sella_err *err)
{
    static const char *const types[] = {"token", "token_seq", "float", "float_seq"};
    const char *in = table->names.data;
    char *out = table->names.data;
    for (int c = 0; c < table->columns; c++) {
        size_t bytes = strlen(in);
        const char *colon = memrchr(in, ':', bytes), *type = colon ? colon + 1 : "";
        bool known = false;
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            known = known || strcmp(type, types[t]) == 0;
        }
        if (!known) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s:1: column '%.80s' has %s%.40s%s; expected name:type with "
                                 "token, token_seq, float or float_seq",
                                 table->path, in, colon ? "the type '" : "no type", type,
                                 colon ? "'" : "");
        }
        if (colon == in) {
            return sella_err_set(err, SELLA_FORMAT, "%s:1: column %d has a type and no name",
                                 table->path, c + 1);
        }
        size_t name = (size_t)(colon - in);
        for (const char *other = table->names.data; other < out; other += strlen(other) + 1) {
            if (strlen(other) == name && memcmp(other, in, name) == 0) {
                return sella_err_set(err, SELLA_FORMAT, "%s:1: two columns are named '%.80s'",
                                     table->path, other);
            }
        }
        memmove(out, in, name);
        out[name] = '\0';
        out += name + 1;
        in += bytes + 1;
    }
    table->names.size = (size_t)(out - table->names.data);
    return SELLA_OK;
}

static const sella_table_form form = {
    .delimiter = '\t',
    .tried_n =
        {
            [SELLA_COLUMN_USER] = (const char *const[]){"user_id", "user", "uid", NULL},
            [SELLA_COLUMN_ITEM] = (const char *const[]){"item_id", "item", "iid", "movie_id",
                                                        "book_id", "business_id", NULL},
            [SELLA_COLUMN_RATING] = (const char *const[]){"rating", "stars", NULL},
            [SELLA_COLUMN_LABEL] = (const char *const[]){"label", NULL},
            [SELLA_COLUMN_TIME] = (const char *const[]){"timestamp", "time", "date", NULL},
            [SELLA_COLUMN_TITLE] =
                (const char *const[]){"title", "movie_title", "book_title", "item_title",
                                      "product_title", "item_name", "name", "app_name", NULL},
        },
    .no_titles = "; give the .item file as the second input",
    .no_ratings =
        ", so that every row would be a like and no method could tell one row from another; "
        "expected a rating, or label:float with 0 and 1 (sampled negatives are such rows)",
    .header = strip_types,
};

sella_status sella_import_recbole(sella_import_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_column_map map = {0};
    const sella_import_options *o = job->options;
    SELLA_TRY(sella_column_map_parse(o->columns, &map, err));
    if (o->input_count == 2) { // first: items are numbered in catalogue order
        SELLA_TRY(sella_import_table(job, &form, &map, o->inputs[1], true, true, err));
    }
    SELLA_TRY(sella_import_table(job, &form, &map, o->inputs[0], false, o->input_count == 2, err));
done:
    sella_column_map_release(&map);
    return status;
}
