/* history.h - which part of a user's positive history a prompt shows.
 *
 * Does:     sliding: the last n. anchored: the window starts at a multiple of n and grows from n to
 *           2n-1 items before it moves on by n, so that consecutive rows of a user share their
 *           prefix (SPEC section 3).
 * Threads:  pure.
 */
#ifndef SELLA_DATA_HISTORY_H
#define SELLA_DATA_HISTORY_H

#include <stdint.h>

typedef enum sella_window { SELLA_WINDOW_SLIDING, SELLA_WINDOW_ANCHORED } sella_window;

/* Start of the window in a history of `count` items, 0 <= start <= count; the window is start ..
 * count-1. n >= 1.  anchored: start = 0 while count < 2n, else (count / n - 1) * n. */
int32_t sella_history_start(sella_window window, int32_t n, int32_t count);

#endif
