/* bench_sets.c - what is asked before and during a bench of candidates (serve/bench_sets.h). */
#include "serve/bench_sets.h"

#include <errno.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rng.h"

/* Requests written ahead; bytes of an answer that are read at most; seconds it may take. */
enum { SETS = 2048, ANSWER_MAX = 16 << 20, PATIENCE = 30 };

/* Parts of titles to search for: together they find most of a catalogue, up to 200 titles each. */
static const char *const part_n[] = {"a", "e", "i", "o", "u", "y", "n", "r", "s", "t", "1", "2"};

typedef struct asking {
    const sella_serve_bench_options *options;
    const struct sockaddr_storage *address;
    socklen_t address_bytes;
    const char *key;
} asking;

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

/* Bytes of the whole answer, once its head is there: head and Content-Length; 0: not known yet. */
static size_t whole(const sella_text *answer)
{
    const char *end = strstr(answer->data, "\r\n\r\n");
    const char *length = strcasestr(answer->data, "\r\nContent-Length:");
    int64_t bytes = 0;
    if (end == NULL || length == NULL || length > end) {
        return 0;
    }
    length += 17 + strspn(length + 17, " ");
    return sella_parse_int(length, strcspn(length, "\r"), 0, ANSWER_MAX, "length", &bytes, NULL) ==
                   SELLA_OK
               ? (size_t)(end + 4 - answer->data) + (size_t)bytes
               : 0;
}

/* Send the request on a connection of its own and read what comes. */
static sella_status exchange(const asking *a, const sella_text *request, sella_text *answer,
                             sella_err *err)
{
    sella_status status = SELLA_OK;
    char part[16384];
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
    while (answer->size == 0 || whole(answer) == 0 || answer->size < whole(answer)) {
        const ssize_t n = recv(fd, part, sizeof part, 0);
        if (n < 0) {
            SELLA_TRY(sella_err_errno(err, a->options->url, "read from", errno));
        }
        if (n == 0 || answer->size > ANSWER_MAX) {
            break;
        }
        SELLA_TRY(sella_text_append(answer, part, (size_t)n, err));
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
    sella_text request = {0}, answer = {0};
    sella_err reason = {0};
    json_t *object = NULL;
    SELLA_TRY(sella_bench_request(&request, path, body, a->key, err));
    SELLA_TRY(exchange(a, &request, &answer, err));
    const char *head = answer.size > 0 ? strstr(answer.data, "\r\n\r\n") : NULL;
    const size_t bytes = head != NULL ? answer.size - (size_t)(head + 4 - answer.data) : 0;
    if (head == NULL || strncmp(answer.data, "HTTP/1.1 ", 9) != 0 ||
        whole(&answer) != answer.size ||
        sella_json_parse(head + 4, bytes, path, &object, &reason) != SELLA_OK ||
        !json_is_object(object)) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "%s%s: the answer is no JSON object; expected that of sella serve",
                                a->options->url, path));
    }
    if (strncmp(answer.data + 9, "200", 3) != 0) {
        const char *detail = json_string_value(json_object_get(object, "detail"));
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "%s%s: status %.3s: %s", a->options->url, path,
                                answer.data + 9, detail != NULL ? detail : "no reason given"));
    }
    *out = object;
    object = NULL;
done:
    json_decref(object);
    sella_text_release(&request);
    sella_text_release(&answer);
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
    *titles = (int)json_array_size(json_object_get(answer, "history"));
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
        json_array_foreach(json_object_get(answer, "items"), at, item)
        {
            json_t *id = json_object_get(item, "item");
            const char *text = json_string_value(id);
            if (text != NULL && json_object_get(seen, text) == NULL &&
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
    json_t *items = json_array();
    for (int i = 0; i < a->options->candidates; i++) {
        json_array_append(items, json_array_get(ids, (size_t)place_n[i]));
    }
    json_t *object = json_pack("{s:s, s:o}", "user", a->options->user, "items", items);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
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
