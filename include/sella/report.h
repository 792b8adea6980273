/* report.h - one HTML page about trained runs: figures, learning curves, configuration,
 * environment.
 *
 * Does:     sella_report(paths, count, output, ...) writes OUTPUT/index.html and OUTPUT/figures/.
 *           The page is self-contained: pictures and style are in it. Runs that differ in their
 *           seed alone are one line with mean and standard deviation. On the published splits of
 *           MovieLens-1M and Amazon-Book the papers' figures stand beside.
 * Memory:   the JSON text is owned by the caller: free().
 * Threads:  pure on separate outputs.
 * Not here: training what is missing (sella/experiment.h).
 */
#ifndef SELLA_REPORT_H
#define SELLA_REPORT_H

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

/* path [count]: runs, or folders with runs at most 4 levels below. output: folder, made when it is
 * missing; files of an older report are replaced. *json (may be NULL):
 * {"page","runs","methods","figures":[names],"drawn":true|false}; drawn is false where gnuplot is
 * missing: then the figures' data and scripts are left without pictures, and a warning says so.
 * Returns: SELLA_MISSING when there is no run; SELLA_FORMAT or SELLA_IO with the file's name. */
SELLA_API sella_status sella_report(const char *const *path, int count, const char *output,
                                    const sella_talk *talk, char **json, sella_err *err);

#ifdef __cplusplus
}
#endif
#endif
