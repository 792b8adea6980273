/* log.h - what a long call tells its caller: messages, progress, and the wish to stop.
 *
 * Does:     The library never prints. It calls back through a sella_talk; NULL is silence. Progress
 *           knows rate and ETA and is throttled by the receiver (cli/ draws a bar on a terminal and
 *           plain lines elsewhere).
 * Threads:  callbacks come from the calling thread only.
 */
#ifndef SELLA_BASE_LOG_H
#define SELLA_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "sella/talk.h"

/* Send one line (no newline at the end). talk may be NULL. */
void sella_say(const sella_talk *talk, sella_level level, const char *fmt, ...) SELLA_PRINTF(3, 4);

/* Progress of one piece of work of `total` units; `unit` is a plural noun ("rows", "tokens"). */
typedef struct sella_progress {
    const sella_talk *talk;
    const char *what;
    const char *unit;
    double total;
    double done;
    double start_seconds; /* monotonic */
    double start_done;    /* where a resumed piece of work began */
} sella_progress;
void sella_progress_start(sella_progress *progress, const sella_talk *talk, const char *what,
                          const char *unit, double total, double done);
/* Report, with an optional note such as "loss 0.653". */
void sella_progress_step(sella_progress *progress, double done, const char *note);
void sella_progress_end(sella_progress *progress);

/* True when the caller wants to stop (Ctrl-C): loops leave a checkpoint and return
 * SELLA_INTERRUPTED. */
bool sella_stop_wanted(const sella_talk *talk);

/* Monotonic seconds. */
double sella_now(void);

#endif
