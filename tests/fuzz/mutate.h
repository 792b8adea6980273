/* mutate.h - seeded mutations of a valid file, for tests that feed parsers with damaged input.
 *
 * Does:     mutate_run(seed, bytes, rounds, call, user) calls `call` with damaged copies of a valid
 *           input: bit flips, byte overwrites, boundary integers (8 to 64 bits, both byte orders,
 *           and as decimal text), truncation, removed, repeated and swapped blocks, splices from
 *           another place. Round r is a pure function of (r, input): a failure repeats. The
 *           callback parses and must only not crash, leak, hang or accept what it should not
 *           (assert what you know). Run under `make asan`, where each copy is a heap block of its
 *           exact size, so that reading one byte too far is seen. On a crash,
 *           SELLA_MUTATION=verbose prints each round's number first; SELLA_MUTATION=N runs round N
 *           alone.
 * Example:
 *           static void parse(const uint8_t *data, size_t bytes, void *user)
 *           {
 *               json_t *value = NULL; sella_err err = {0}; sella_status status =
 *               sella_json_parse((const char *)data, bytes, "fuzz", &value, &err);
 *               assert_true(status == SELLA_OK || err.text[0] != '\0'); json_decref(value);
 *           }
 *           mutate_run(good, sizeof good - 1, mutate_rounds(3000, 300000), parse, NULL);
 * Not here: inputs that are wrong in a way one can think of: write those as cases of their own.
 */
#ifndef SELLA_TESTS_FUZZ_MUTATE_H
#define SELLA_TESTS_FUZZ_MUTATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

typedef void (*mutate_call)(const uint8_t *data, size_t bytes, void *user);

/* `usual` rounds, or `full` under SELLA_FULL=1 (make test-full). Choose usual so that a test
 * program stays below two seconds. */
static inline uint64_t mutate_rounds(uint64_t usual, uint64_t full)
{
    const char *text = getenv("SELLA_FULL");
    return text && text[0] == '1' ? full : usual;
}

/* One draw in [0, n). */
static inline uint64_t mutate_draw(uint64_t round, uint64_t *index, uint64_t n)
{
    sella_rng rng = {.seed = round, .stream = SELLA_STREAM_TEST, .a = 0x66757a7a};
    return sella_rng_below(&rng, (*index)++, n > 0 ? n : 1);
}

/* Put a boundary integer at a place, in binary or as digits; stays inside [0, bytes). */
static inline void mutate_integer(uint8_t *data, size_t bytes, uint64_t round, uint64_t *index)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     127,
                                     128,
                                     255,
                                     256,
                                     32767,
                                     32768,
                                     65535,
                                     65536,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x100000000,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     UINT64_MAX,
                                     UINT64_MAX - 1,
                                     UINT64_MAX - 7};
    uint64_t value = edges[mutate_draw(round, index, sizeof edges / sizeof *edges)];
    size_t at = (size_t)mutate_draw(round, index, bytes);
    size_t width = (size_t)1 << mutate_draw(round, index, 4);
    uint64_t way = mutate_draw(round, index, 3);
    char digits[24];
    if (way == 2) {
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
        width = strlen(digits);
    }
    for (size_t i = 0; i < width && at + i < bytes; i++) {
        size_t shift = way == 0 ? i : width - 1 - i;
        uint64_t byte = way == 2 ? (uint64_t)digits[i] : value >> (8 * (shift & 7));
        data[at + i] = (uint8_t)(byte & 0xff);
    }
}

/* Remove, repeat or swap in blocks. Returns the new size, at most room. */
static inline size_t mutate_block(uint8_t *data, size_t bytes, size_t room, uint64_t round,
                                  uint64_t *index)
{
    size_t from = (size_t)mutate_draw(round, index, bytes),
           to = (size_t)mutate_draw(round, index, bytes);
    size_t most = bytes - (from > to ? from : to);
    size_t length = (size_t)mutate_draw(
                        round, index, most < 64 || mutate_draw(round, index, 4) == 0 ? most : 64) +
                    1;
    length = length > most ? most : length;
    switch (mutate_draw(round, index, 4)) {
    case 0: // remove
        memmove(data + from, data + from + length, bytes - from - length);
        return bytes - length;
    case 1: // repeat
        length = length < room - bytes ? length : room - bytes;
        memmove(data + from + length, data + from, bytes - from);
        return bytes + length;
    case 2: // splice: overwrite one place with another
        memmove(data + to, data + from, length);
        return bytes;
    default: // swap
        for (size_t i = 0; i < length; i++) {
            uint8_t byte = data[from + i];
            data[from + i] = data[to + i];
            data[to + i] = byte;
        }
        return bytes;
    }
}

/* Write round's damaged copy of seed [bytes] to out [room >= 2 * bytes + 16]; returns its size. */
static inline size_t mutate_make(const uint8_t *seed, size_t bytes, uint64_t round, uint8_t *out,
                                 size_t room)
{
    static const uint8_t special[] = {0,   '\n', '\t', ' ', '"',  '\'', ',',  ':',
                                      '{', '[',  '-',  '0', 0x7f, 0x80, 0xc0, 0xff};
    uint64_t index = 0;
    size_t size = bytes;
    memcpy(out, seed, bytes);
    uint64_t changes = 1 + mutate_draw(round, &index, 4);
    for (uint64_t i = 0; i < changes && size > 0; i++) {
        size_t at = (size_t)mutate_draw(round, &index, size);
        switch (mutate_draw(round, &index, 7)) {
        case 0: out[at] ^= (uint8_t)(1u << mutate_draw(round, &index, 8)); break;
        case 1: out[at] = (uint8_t)mutate_draw(round, &index, 256); break;
        case 2: out[at] = special[mutate_draw(round, &index, sizeof special)]; break;
        case 3: size = at; break; // truncate
        case 4: mutate_integer(out, size, round, &index); break;
        default: size = mutate_block(out, size, room, round, &index); break;
        }
    }
    return size;
}

static inline void mutate_run(const void *seed, size_t bytes, uint64_t rounds, mutate_call call,
                              void *user)
{
    const char *only = getenv("SELLA_MUTATION");
    bool verbose = only && strcmp(only, "verbose") == 0;
    uint64_t first = 0;
    if (only && !verbose) {
        first = strtoull(only, NULL, 10);
        rounds = first + 1;
    }
    size_t room = 2 * bytes + 16;
    uint8_t *work = malloc(room);
    for (uint64_t round = first; work && round < rounds; round++) {
        if (verbose) {
            fprintf(stderr, "mutation %llu\n", (unsigned long long)round);
        }
        size_t size = mutate_make(seed, bytes, round, work, room);
        uint8_t *copy = malloc(size > 0 ? size : 1);
        if (copy) {
            memcpy(copy, work, size);
            call(copy, size, user);
        }
        free(copy);
    }
    free(work);
}

#endif
