/* talk.h - how a long call of the library reports and how it is asked to stop.
 *
 * Does:     Fill a sella_talk and pass it; the library never prints or exits by itself. NULL
 *           callbacks are silence.
 * Threads:  callbacks come from the thread that made the call.
 */
#ifndef SELLA_TALK_H
#define SELLA_TALK_H

#include "sella/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sella_level {
    SELLA_LEVEL_DEBUG = 0,
    SELLA_LEVEL_INFO = 1,
    SELLA_LEVEL_WARN = 2
} sella_level;

typedef struct sella_progress_report {
    const char *what;    /* "stage 1", "distil", ... */
    const char *unit;    /* plural noun: "rows", "tokens" */
    double done;         /* units done, from 0 to total */
    double total;        /* 0 when unknown */
    double rate;         /* units a second since the start of this call */
    double eta_seconds;  /* negative when unknown */
    const char *note;    /* e.g. "loss 0.653", or NULL */
    int finished;        /* 1 in the last report */
} sella_progress_report;

typedef struct sella_talk {
    void (*line)(void *user, sella_level level, const char *text);
    void (*progress)(void *user, const sella_progress_report *report);
    int (*stop)(void *user); /* non-zero: leave a checkpoint and return SELLA_INTERRUPTED */
    void *user;
} sella_talk;

#ifdef __cplusplus
}
#endif
#endif
