/* feedback.c - checked feedback bodies (serve/feedback.h). */
#include "serve/feedback.h"

#include <stdbool.h>

#include "base/arena.h"
#include "base/json.h"
#include "serve/ask.h"

/* Years 1 to 9999. */
#define TIME_MIN INT64_C(-62135596800)
#define TIME_MAX INT64_C(253402300799)

static sella_status parse_label(const json_t *value, const char *where, int *label, sella_err *err)
{
    json_int_t number;
    if (json_is_boolean(value)) {
        *label = json_is_true(value);
    } else if (sella_ask_whole(value, &number) && (number == 0 || number == 1)) {
        *label = (int)number;
    } else {
        return sella_err_set(err, SELLA_FORMAT, "%s.label: expected 1 (liked) or 0 (not)", where);
    }
    return SELLA_OK;
}

static sella_status parse_event(json_t *object, const char *where, int64_t now, sella_event *out,
                                sella_err *err)
{
    static const char *const names[] = {"user", "item", "label", "time", "id"};
    sella_status status = SELLA_OK;
    char place[64];
    if (!json_is_object(object)) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: expected an object with user, item, label and time", where);
    }
    SELLA_TRY(sella_ask_keys(object, names, sizeof names / sizeof *names, where, err));
    snprintf(place, sizeof place, "%s.user", where);
    SELLA_TRY(sella_ask_id(object, "user", 0, place, &out->user, err));
    snprintf(place, sizeof place, "%s.item", where);
    SELLA_TRY(sella_ask_id(object, "item", 0, place, &out->item, err));
    SELLA_TRY(parse_label(json_object_get(object, "label"), where, &out->label, err));
    out->time = now;
    const json_t *time = json_object_get(object, "time");
    if (time != NULL) {
        json_int_t number;
        if (!sella_ask_whole(time, &number) || number < TIME_MIN || number > TIME_MAX) {
            SELLA_TRY(sella_err_set(
                err, SELLA_FORMAT,
                "%s.time: expected whole seconds since 1970 (UTC), years 1 to 9999", where));
        }
        out->time = number;
    }
    if (json_object_get(object, "id") != NULL) {
        snprintf(place, sizeof place, "%s.id", where);
        SELLA_TRY(sella_ask_id(object, "id", 0, place, &out->id, err));
    }
done:
    return status;
}

static sella_status parse_all(sella_feedback *events, int64_t now, sella_err *err)
{
    const bool batch = json_is_array(events->body);
    const size_t count = batch ? json_array_size(events->body) : 1;
    char where[32] = "body";
    if (count == 0 || count > SELLA_FEEDBACK_MAX) {
        return sella_err_set(err, SELLA_FORMAT, "body: has %zu events; expected 1 to %d", count,
                             SELLA_FEEDBACK_MAX);
    }
    events->event_n = sella_alloc(count, sizeof *events->event_n, "the events of a request", err);
    if (events->event_n == NULL) {
        return SELLA_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        if (batch) {
            snprintf(where, sizeof where, "body[%zu]", i);
        }
        sella_status status = parse_event(batch ? json_array_get(events->body, i) : events->body,
                                          where, now, &events->event_n[i], err);
        if (status != SELLA_OK) {
            return status;
        }
        events->count++;
    }
    return SELLA_OK;
}

sella_status sella_feedback_parse(const char *body, size_t bytes, int64_t now, sella_feedback **out,
                                  sella_err *err)
{
    sella_feedback *events = sella_alloc(1, sizeof *events, "a request", err);
    *out = NULL;
    if (events == NULL) {
        return SELLA_MEMORY;
    }
    sella_status status = sella_json_parse(body, bytes, "body", &events->body, err);
    status = status == SELLA_OK ? parse_all(events, now, err) : status;
    if (status == SELLA_OK) {
        *out = events;
        events = NULL;
    }
    sella_feedback_free(events);
    return status;
}

void sella_feedback_free(sella_feedback *events)
{
    if (events != NULL) {
        free(events->event_n);
        json_decref(events->body);
        free(events);
    }
}
