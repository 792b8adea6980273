/* codes.c - binary codes as text (methods/codes.h). */
#include "methods/codes.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"

static void write_bits(const uint8_t *bit, int width, char *text)
{
    for (int c = 0; c < width; c++) {
        text[c] = bit[c] ? '1' : '0';
    }
    text[width] = '\0';
}

static void write_dotted(const uint8_t *bit, int width, char *text)
{
    for (int c = 0; c < width; c += 8) {
        int number = 0;
        for (int b = 0; b < 8; b++) {
            number = 2 * number + (bit[c + b] != 0);
        }
        text += snprintf(text, 5, c ? ".%d" : "%d", number);
    }
}

sella_status sella_codes_make(const uint8_t *user_bit, int32_t users, const uint8_t *item_bit,
                              int32_t items, int width, bool dotted, sella_codes *out,
                              sella_err *err)
{
    const size_t first_item = (size_t)users + 1, all = first_item + (size_t)items + 1,
                 bits = (size_t)width;
    *out = (sella_codes){
        .users = users, .items = items, .room = dotted ? width / 8 * 4 + 1 : width + 1};
    if (dotted && width % 8 != 0) {
        return sella_err_set(err, SELLA_ARG,
                             "codes of %d bits have no dotted form; expected a multiple of 8",
                             width);
    }
    out->text = sella_alloc(all * (size_t)out->room, 1, "the texts of codes", err);
    if (!out->text) {
        return SELLA_MEMORY;
    }
    for (size_t r = 0; r < all; r++) {
        const uint8_t *bit =
            r < first_item ? user_bit + r * bits : item_bit + (r - first_item) * bits;
        (dotted ? write_dotted : write_bits)(bit, width, out->text + r * (size_t)out->room);
    }
    return SELLA_OK;
}

void sella_codes_release(sella_codes *codes)
{
    free(codes->text);
    *codes = (sella_codes){0};
}

const char *sella_codes_user(const sella_codes *codes, int32_t user)
{
    return codes->text + (size_t)(user < 0 ? codes->users : user) * (size_t)codes->room;
}

const char *sella_codes_item(const sella_codes *codes, int32_t item)
{
    const size_t first = (size_t)codes->users + 1;
    return codes->text + (first + (size_t)(item < 0 ? codes->items : item)) * (size_t)codes->room;
}
