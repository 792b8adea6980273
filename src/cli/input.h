/* input.h - what a command reads from standard input.
 *
 * Memory:   the caller releases the text.
 * Threads:  pure but for stdin.
 */
#ifndef SELLA_CLI_INPUT_H
#define SELLA_CLI_INPUT_H

#include "base/error.h"
#include "base/text.h"

/* Standard input to its end, behind what `out` has. Returns: SELLA_OK; SELLA_IO; SELLA_MEMORY. */
sella_status sella_read_stdin(sella_text *out, sella_err *err);

#endif
