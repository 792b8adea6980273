/* credential.c - the API key (serve/credential.h). */
#include "serve/credential.h"

#include <string.h>
#include <strings.h>

#include "base/file.h"

sella_status sella_credential_read(const char *path, char **key, sella_err *err)
{
    sella_map map = {0};
    *key = NULL;
    sella_status status = sella_map_open(path, &map, err);
    if (status != SELLA_OK) {
        return status;
    }
    size_t bytes = 0;
    while (bytes < map.size && map.data[bytes] != '\n' && map.data[bytes] != '\r') {
        if (map.data[bytes] <= ' ' || map.data[bytes] > '~') {
            status =
                sella_err_set(err, SELLA_FORMAT,
                              "%s: the key may hold printable ASCII without blanks only", path);
            break;
        }
        bytes++;
    }
    if (status == SELLA_OK && (bytes < SELLA_KEY_MIN || bytes > SELLA_KEY_MAX)) {
        status =
            sella_err_set(err, SELLA_FORMAT,
                          "%s: the key in its first line has %zu characters; expected %d to %d",
                          path, bytes, SELLA_KEY_MIN, SELLA_KEY_MAX);
    }
    if (status == SELLA_OK && (*key = strndup((const char *)map.data, bytes)) == NULL) {
        status = sella_err_memory(err, "a key", bytes);
    }
    sella_map_close(&map);
    return status;
}

/* Compare without leaving early. */
static bool same(const char *key, const char *given, size_t given_bytes)
{
    const size_t bytes = strlen(key);
    unsigned int difference = bytes != given_bytes;
    for (size_t i = 0; i < SELLA_KEY_MAX; i++) {
        const unsigned char a = i < bytes ? (unsigned char)key[i] : 0;
        const unsigned char b = i < given_bytes ? (unsigned char)given[i] : 0;
        difference |= (unsigned int)(a ^ b);
    }
    return difference == 0;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Decode into out [room]; returns the size, 0 for what is no base64 or too long. */
static size_t base64(const char *text, char *out, size_t room)
{
    size_t size = 0;
    unsigned int bits = 0, held = 0;
    for (; *text != '\0' && *text != '='; text++) {
        const int value = base64_value(*text);
        if (value < 0 || size + 1 >= room) {
            return 0;
        }
        bits = (bits << 6 | (unsigned int)value) & 0xffffu;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[size++] = (char)(bits >> held & 0xffu);
        }
    }
    return size;
}

bool sella_credential_right(const char *key, const char *authorization, const char *x_api_key)
{
    char decoded[2 * SELLA_KEY_MAX];
    if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0) {
        return same(key, authorization + 7, strlen(authorization + 7));
    }
    if (authorization != NULL && strncasecmp(authorization, "Basic ", 6) == 0) {
        const size_t bytes = base64(authorization + 6, decoded, sizeof decoded);
        const char *colon = memchr(decoded, ':', bytes);
        return colon != NULL && same(key, colon + 1, bytes - (size_t)(colon + 1 - decoded));
    }
    return x_api_key != NULL && same(key, x_api_key, strlen(x_api_key));
}
