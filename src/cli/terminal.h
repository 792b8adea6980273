/* terminal.h - progress and remarks of long calls on standard error, and Ctrl-C.
 *
 * Does:     sella_terminal_init(&terminal, ...) -> pass &terminal.talk to the library ->
 *           sella_terminal_end. On a terminal: a bar with rate and remaining time, redrawn at most
 *           ten times a second. Elsewhere: plain lines, at most one every ten seconds and one at
 *           the end. quiet: warnings only; verbose: debug remarks too.
 * Threads:  one object per process: signals are per process.
 */
#ifndef SELLA_CLI_TERMINAL_H
#define SELLA_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

#include "sella/talk.h"

typedef struct sella_terminal {
    FILE *out;
    bool live;        /* a terminal that can redraw a line */
    bool quiet;
    bool verbose;
    bool drawn;       /* a bar stands on the current line */
    double last;      /* sella_now() of the last bar or plain line, 0: none yet */
    sella_talk talk;  /* points back to this struct: do not copy it */
} sella_terminal;

/* out is stderr but in tests. */
void sella_terminal_init(sella_terminal *terminal, FILE *out, bool quiet, bool verbose);
/* Leave the cursor at the start of a line. */
void sella_terminal_end(sella_terminal *terminal);

/* From now on the first Ctrl-C (or SIGTERM) asks the work to stop at its next checkpoint, the
 * second ends the program with 130. */
void sella_stop_on_signal(void);

/* "34 s", "12:05 min", "3:07 h". */
void sella_duration_text(double seconds, char *out, size_t room);

#endif
