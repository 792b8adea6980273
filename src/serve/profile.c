/* profile.c - recorded history and feedback as one (serve/profile.h). */
#include "serve/profile.h"

#include "base/arena.h"
#include "base/json.h"

/* While the feedback of a user is read. */
typedef struct gather {
    const sella_engine *engine;
    json_t *recorded; /* object: item -> true, of the run's history */
    json_t *disliked; /* object: item -> true */
    json_t *added;    /* array of entries */
} gather;

static sella_status take(void *context, const sella_stored *row, sella_err *err)
{
    gather *g = context;
    int failed = 0;
    const char *title = sella_engine_item_title(g->engine, row->item);
    if (title == NULL) {
        return SELLA_OK;
    }
    if (!row->label) {
        failed = json_object_set_new(g->disliked, row->item, json_true());
    } else if (json_object_get(g->recorded, row->item) == NULL) {
        failed =
            json_array_append_new(g->added, json_pack("{s:s, s:s, s:I}", "item", row->item, "title",
                                                      title, "time", (json_int_t)row->time));
    }
    return failed == 0 ? SELLA_OK : sella_err_memory(err, "a user's feedback", 0);
}

static const char *item_of(const json_t *entry)
{
    return json_string_value(json_object_get(entry, "item"));
}

/* The recorded history without what is disliked now, then what was added. */
static sella_status merge(const json_t *recorded, const gather *g, sella_profile *out,
                          sella_err *err)
{
    size_t index;
    json_t *entry;
    out->history = json_array();
    json_array_foreach (recorded, index, entry) {
        if (json_object_get(g->disliked, item_of(entry)) != NULL) {
            out->changed = true;
        } else {
            json_array_append(out->history, entry);
        }
    }
    out->changed = out->changed || json_array_size(g->added) > 0;
    if (out->history == NULL || json_array_extend(out->history, g->added) != 0) {
        return sella_err_memory(err, "a user's history", 0);
    }
    return SELLA_OK;
}

static sella_status list_ids(sella_profile *out, sella_err *err)
{
    size_t index;
    json_t *entry;
    const char *key;
    out->item_n =
        sella_alloc(json_array_size(out->history), sizeof *out->item_n, "a user's history", err);
    out->disliked_n = sella_alloc(json_object_size(out->disliked), sizeof *out->disliked_n,
                                  "a user's history", err);
    if (out->item_n == NULL || out->disliked_n == NULL) {
        return SELLA_MEMORY;
    }
    json_array_foreach (out->history, index, entry) {
        out->item_n[out->count++] = item_of(entry);
    }
    json_object_foreach (out->disliked, key, entry) {
        out->disliked_n[out->disliked_count++] = key;
    }
    return SELLA_OK;
}

sella_status sella_profile_make(const sella_loaded *loaded, sella_store *store, const char *user,
                                sella_profile *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *text = NULL;
    json_t *recorded = NULL, *entry;
    size_t index;
    gather g = {.engine = loaded->engine,
                .recorded = json_object(),
                .disliked = json_object(),
                .added = json_array()};
    *out = (sella_profile){.disliked = json_incref(g.disliked)};
    SELLA_TRY(sella_engine_history(loaded->engine, user, &text, err));
    SELLA_TRY(sella_json_parse(text, strlen(text), "the recorded history", &recorded, err));
    json_array_foreach (recorded, index, entry) {
        json_object_set_new(g.recorded, item_of(entry), json_true());
    }
    if (store != NULL) {
        SELLA_TRY(sella_store_user(store, user, take, &g, err));
    }
    SELLA_TRY(merge(recorded, &g, out, err));
    SELLA_TRY(list_ids(out, err));
done:
    free(text);
    json_decref(recorded);
    json_decref(g.recorded);
    json_decref(g.disliked);
    json_decref(g.added);
    if (status != SELLA_OK) {
        sella_profile_release(out);
    }
    return status;
}

void sella_profile_release(sella_profile *profile)
{
    free(profile->item_n);
    free(profile->disliked_n);
    json_decref(profile->history);
    json_decref(profile->disliked);
    *profile = (sella_profile){0};
}
