/* bench_sets.c - what is asked before and during a bench of candidates (serve/bench_sets.h). */
#include "serve/bench_sets.h"

#include <errno.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rng.h"

/* Requests written ahead; bytes of a head and of a body that are read at most; seconds an answer
 * may take. */
enum { SETS = 2048, HEAD_MAX = 65536, ANSWER_MAX = 16 << 20, PATIENCE = 30 };

/* Parts of titles to search for: together they find most of a catalogue, up to 200 titles each. */
static const char *const part_n[] = {"a", "e", "i", "o", "u", "y", "n", "r", "s", "t", "1", "2"};

typedef struct asking {
    const sella_serve_bench_options *options;
    const struct sockaddr_storage *address;
    socklen_t address_bytes;
    const char *key;
} asking;

typedef struct reply {
    sella_text text;
    size_t looked; /* bytes in which no head ends */
    size_t head;   /* bytes of the head; 0: not complete yet */
    size_t whole;  /* head and Content-Length; 0: not known */
} reply;

sella_status sella_bench_request(sella_text *out, const char *path, const char *body,
                                 const char *key, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(sella_text_format(out, err, "%s %s HTTP/1.1\r\nHost: sella\r\n",
                                body != NULL ? "POST" : "GET", path));
    if (key != NULL) {
        SELLA_TRY(sella_text_format(out, err, "X-API-Key: %s\r\n", key));
    }
    if (body != NULL) {
        SELLA_TRY(sella_text_format(
            out, err, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body)));
    }
    SELLA_TRY(sella_text_format(out, err, "\r\n%s", body != NULL ? body : ""));
done:
    return status;
}

/* Look for the end of the head in what is new. False: it is no head of sella serve. */
static bool find_head(reply *r)
{
    const size_t back = r->looked < 3 ? r->looked : 3; // of an end that came in two parts
    char *start = r->text.data + r->looked - back;
    const char *end = memmem(start, r->text.size - r->looked + back, "\r\n\r\n", 4);
    int64_t bytes = 0;
    r->looked = r->text.size;
    if (end == NULL) {
        return r->text.size <= HEAD_MAX;
    }
    r->head = (size_t)(end + 4 - r->text.data);
    r->text.data[r->head - 1] = '\0'; // the head is a string of its own
    const char *length = strcasestr(r->text.data, "\r\nContent-Length:");
    if (strncmp(r->text.data, "HTTP/1.1 ", 9) != 0 ||
        strspn(r->text.data + 9, "0123456789") != 3 || length == NULL) {
        return false;
    }
    length += 17 + strspn(length + 17, " ");
    if (sella_parse_int(length, strcspn(length, "\r"), 0, ANSWER_MAX, "length", &bytes, NULL) !=
        SELLA_OK) {
        return false;
    }
    r->whole = r->head + (size_t)bytes;
    return true;
}

/* Send the request on a connection of its own and read the answer: until it is whole, is none of
 * sella serve (r->whole is not r->text.size), or the time is over. */
static sella_status exchange(const asking *a, const sella_text *request, reply *r, sella_err *err)
{
    sella_status status = SELLA_OK;
    char part[16384];
    const double until = sella_now() + PATIENCE;
    const struct timeval limit = {.tv_sec = PATIENCE};
    const int fd = socket(a->address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
        connect(fd, (const struct sockaddr *)a->address, a->address_bytes) != 0) {
        SELLA_TRY(sella_err_errno(err, a->options->url, "connected to", errno));
    }
    for (size_t sent = 0; sent < request->size;) {
        const ssize_t n = send(fd, request->data + sent, request->size - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            SELLA_TRY(sella_err_errno(err, a->options->url, "written to", errno));
        }
        sent += (size_t)n;
    }
    while ((r->head == 0 || r->text.size < r->whole) && sella_now() < until) {
        const ssize_t n = recv(fd, part, sizeof part, 0);
        if (n < 0) {
            SELLA_TRY(sella_err_errno(err, a->options->url, "read from", errno));
        }
        if (n == 0) {
            break;
        }
        SELLA_TRY(sella_text_append(&r->text, part, (size_t)n, err));
        if (r->head == 0 && !find_head(r)) {
            break;
        }
    }
done:
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

/* The JSON object that the server answers. body: NULL for a GET. */
static sella_status ask(const asking *a, const char *path, const char *body, json_t **out,
                        sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text request = {0};
    reply answer = {0};
    sella_err reason = {0};
    json_t *object = NULL;
    SELLA_TRY(sella_bench_request(&request, path, body, a->key, err));
    SELLA_TRY(exchange(a, &request, &answer, err));
    const char *data = answer.text.data;
    if (answer.whole == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "%s%s: the answer is not HTTP/1.1 with a Content-Length of up to "
                                "%d; expected sella serve",
                                a->options->url, path, ANSWER_MAX));
    }
    if (answer.whole != answer.text.size) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "%s%s: the answer's body has %zu bytes; expected the %zu of its "
                                "Content-Length",
                                a->options->url, path, answer.text.size - answer.head,
                                answer.whole - answer.head));
    }
    if (sella_json_parse(data + answer.head, answer.whole - answer.head, path, &object, &reason) !=
            SELLA_OK ||
        !json_is_object(object)) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "%s%s: the answer is no JSON object; expected that of sella serve",
                                a->options->url, path));
    }
    if (strncmp(data + 9, "200", 3) != 0) {
        const char *detail = json_string_value(json_object_get(object, "detail"));
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "%s%s: status %.3s: %s", a->options->url, path,
                                data + 9, detail != NULL ? detail : "no reason given"));
    }
    *out = object;
    object = NULL;
done:
    json_decref(object);
    sella_text_release(&request);
    sella_text_release(&answer.text);
    return status;
}

/* *titles: of the user's history, as the server knows it. */
static sella_status ask_user(const asking *a, int *titles, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text path = {0};
    json_t *answer = NULL;
    SELLA_TRY(sella_text_format(&path, err, "/v1/users/"));
    for (const char *at = a->options->user; *at != '\0'; at++) {
        SELLA_TRY(sella_text_format(&path, err, "%%%02X", (unsigned char)*at));
    }
    SELLA_TRY(ask(a, path.data, NULL, &answer, err));
    const json_t *history = json_object_get(answer, "history");
    if (!json_is_array(history)) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "%s%s: key 'history' is no array",
                                a->options->url, path.data));
    }
    *titles = (int)json_array_size(history);
    if (*titles == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_STATE,
                                "user '%s' has no history on %s; expected a user with a prefix to "
                                "keep warm",
                                a->options->user, a->options->url));
    }
done:
    json_decref(answer);
    sella_text_release(&path);
    return status;
}

/* The ids of the catalogue's items that searches find, each once, as JSON strings. */
static sella_status ask_items(const asking *a, json_t *ids, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *seen = json_object(), *answer = NULL, *item;
    size_t at;
    for (size_t i = 0; i < sizeof part_n / sizeof *part_n; i++) {
        char path[64];
        snprintf(path, sizeof path, "/v1/items?query=%s&limit=200", part_n[i]);
        SELLA_TRY(ask(a, path, NULL, &answer, err));
        const json_t *found = json_object_get(answer, "items");
        if (!json_is_array(found)) {
            SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "%s%s: key 'items' is no array",
                                    a->options->url, path));
        }
        json_array_foreach(found, at, item)
        {
            json_t *id = json_object_get(item, "item");
            const char *text = json_string_value(id);
            if (text == NULL) {
                SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                        "%s%s: an item's id is no string; expected that of sella "
                                        "serve",
                                        a->options->url, path));
            }
            if (json_object_get(seen, text) == NULL &&
                (json_object_set_new(seen, text, json_true()) != 0 ||
                 json_array_append(ids, id) != 0)) {
                SELLA_TRY(sella_err_memory(err, "a list of items", json_array_size(ids)));
            }
        }
        json_decref(answer);
        answer = NULL;
    }
    if (json_array_size(ids) < (size_t)a->options->candidates) {
        SELLA_TRY(sella_err_set(err, SELLA_STATE, "%s: %zu items found; expected at least %d",
                                a->options->url, json_array_size(ids), a->options->candidates));
    }
done:
    json_decref(answer);
    json_decref(seen);
    return status;
}

/* {"user","items"} with `candidates` of the ids, those at place_n. free() it. */
static char *body_of(const asking *a, const json_t *ids, const int64_t *place_n)
{
    json_t *object = json_object(), *items = json_array();
    bool whole = json_object_set_new(object, "user", json_string(a->options->user)) == 0;
    for (int i = 0; whole && i < a->options->candidates; i++) {
        whole = json_array_append(items, json_array_get(ids, (size_t)place_n[i])) == 0;
    }
    whole = whole && json_object_set(object, "items", items) == 0;
    char *text = whole ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    json_decref(items);
    return text;
}

/* Score the first set, which warms the prefix, and write down the others. */
static sella_status draw(const asking *a, const json_t *ids, sella_bench_sets *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t n = json_array_size(ids), candidates = (size_t)a->options->candidates;
    int64_t *place_n = sella_alloc(n, sizeof *place_n, "candidates", err);
    char *body = NULL;
    json_t *answer = NULL;
    out->request_n = sella_alloc(SETS, sizeof *out->request_n, "requests", err);
    if (place_n == NULL || out->request_n == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (size_t i = 0; i < n; i++) {
        place_n[i] = (int64_t)i;
    }
    size_t at = n;
    uint32_t round = 0;
    for (int set = -1; set < SETS; set++, at += candidates) {
        if (at + candidates > n) {
            const sella_rng rng = {.stream = SELLA_STREAM_SHUFFLE, .a = round++};
            sella_rng_shuffle(&rng, place_n, n);
            at = 0;
        }
        if ((body = body_of(a, ids, place_n + at)) == NULL) {
            SELLA_TRY(sella_err_memory(err, "a request", candidates));
        }
        if (set < 0) {
            const double start = sella_now();
            SELLA_TRY(ask(a, "/v1/score", body, &answer, err));
            out->warm_ms = 1e3 * (sella_now() - start);
        } else {
            out->count = set + 1;
            SELLA_TRY(
                sella_bench_request(&out->request_n[set], "/v1/score", body, a->key, err));
        }
        free(body);
        body = NULL;
    }
done:
    json_decref(answer);
    free(place_n);
    free(body);
    return status;
}

sella_status sella_bench_sets_make(const sella_serve_bench_options *options,
                                   const struct sockaddr_storage *address, socklen_t address_bytes,
                                   const char *key, sella_bench_sets *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const asking a = {
        .options = options, .address = address, .address_bytes = address_bytes, .key = key};
    json_t *ids = json_array();
    *out = (sella_bench_sets){0};
    if (sella_utf8_valid(options->user, strlen(options->user)) != strlen(options->user)) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG, "the user '%s' is not UTF-8", options->user));
    }
    SELLA_TRY(ask_user(&a, &out->titles, err));
    SELLA_TRY(ask_items(&a, ids, err));
    SELLA_TRY(draw(&a, ids, out, err));
done:
    json_decref(ids);
    return status;
}

void sella_bench_sets_release(sella_bench_sets *sets)
{
    for (int i = 0; i < sets->count; i++) {
        sella_text_release(&sets->request_n[i]);
    }
    free(sets->request_n);
    *sets = (sella_bench_sets){0};
}
