/* codes.h - binary codes of users and items as text for a prompt.
 *
 * Does:     make(bits) -> the text of a user's or an item's code. bits: one digit a bit, "0110...".
 *           dotted: every 8 bits, the first the highest, as a decimal number, joined by dots,
 *           "102.7.255.0". The code behind the last one is that of users and items without a code
 *           of their own.
 * Memory:   owned; released with _release. Texts live as long as the codes.
 * Threads:  pure.
 * Paper:    Zhang et al. 2024 (BinLLM); REFERENCE 5.
 */
#ifndef SELLA_METHODS_CODES_H
#define SELLA_METHODS_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct sella_codes {
    int32_t users, items;
    int room;   /* bytes of a text with its zero */
    char *text; /* [(users + 1 + items + 1) * room] */
} sella_codes;

/*   user_bit in [users + 1, width]  0 or 1; the last row: users never seen
 *   item_bit in [items + 1, width]
 *   width    >= 1; a multiple of 8 when dotted (SELLA_ARG)
 */
sella_status sella_codes_make(const uint8_t *user_bit, int32_t users, const uint8_t *item_bit,
                              int32_t items, int width, bool dotted, sella_codes *out,
                              sella_err *err);
void sella_codes_release(sella_codes *codes);

/* user, item: -1: without a code of its own. */
const char *sella_codes_user(const sella_codes *codes, int32_t user);
const char *sella_codes_item(const sella_codes *codes, int32_t item);

#endif
