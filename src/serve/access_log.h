/* access_log.h - one JSON line for every answered request.
 *
 * Does:     {"time","client","method","path","status","bytes","us","queue_us","work_us"}; times in
 *           microseconds, null when it did not wait. No query, no header, no body: a key cannot get
 *           in. Every line is one write(2) to a file opened for appending. reopen serves log
 *           rotation.
 * Threads:  any.
 */
#ifndef SELLA_SERVE_ACCESS_LOG_H
#define SELLA_SERVE_ACCESS_LOG_H

#include "serve/exchange.h"

typedef struct sella_access_log sella_access_log;

/* path "-": standard output. */
sella_status sella_access_log_open(const char *path, sella_access_log **out, sella_err *err);
sella_status sella_access_log_reopen(sella_access_log *log, sella_err *err);
void sella_access_log_close(sella_access_log *log);
void sella_access_log_line(sella_access_log *log, const sella_exchange *x, double now);

#endif
