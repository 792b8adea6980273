/* history.c - the window of a user's positive history that a prompt shows (data/history.h). */
#include "data/history.h"

#include <assert.h>

int32_t sella_history_start(sella_window window, int32_t n, int32_t count)
{
    assert(n >= 1 && count >= 0);
    if (window == SELLA_WINDOW_SLIDING) {
        return count > n ? count - n : 0;
    }
    int32_t blocks = count / n;
    return blocks < 2 ? 0 : (blocks - 1) * n; // compared in blocks: 2n could overflow
}
