/* protocol.h - from an event log to the rows of three splits.
 *
 * Does:     `time`: cut at two quantiles of all times; `ml-1m` and `amazon-book`: the paper's
 *           (REFERENCE 1.1, 1.5); `leave-one-out`: each user's last row is test, the one before it
 *           valid. Times are read as UTC. Rows are ordered by user, then time, ties as the log has
 *           them (ml-1m: by the first appearance of the item in the log, which is the order of the
 *           published split); histories grow over all splits in that order (REFERENCE 1.2).
 * Threads:  pure.
 * Not here: labels (the importer makes them from ratings).
 * Paper:    section 5.1.
 */
#ifndef SELLA_DATA_PROTOCOL_H
#define SELLA_DATA_PROTOCOL_H

#include "data/import.h"

/* Fills job->draft's rows from job->events by job->protocol and the options' fractions, and
 * job->rules with what was decided. The importer has checked names and fractions. */
sella_status sella_protocol_apply(sella_import_job *job, sella_err *err);

/* True when the protocol takes nothing from outside [*from, *to) seconds and does not look at it
 * either, so that a reader may leave it out at once (and count it in job->outside). */
bool sella_protocol_window(const char *protocol, int64_t *from, int64_t *to);

#endif
