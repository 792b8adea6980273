/* metrics_text.h - what the server counts, as Prometheus reads it.
 *
 * Does:     Every answered request is counted once by route and code, its times go into histograms;
 *           sella_metrics_text writes all.
 * Threads:  any.
 * Paper:    Prometheus text exposition format 0.0.4.
 */
#ifndef SELLA_SERVE_METRICS_TEXT_H
#define SELLA_SERVE_METRICS_TEXT_H

#include "serve/exchange.h"

typedef struct sella_metrics sella_metrics;

sella_status sella_metrics_new(sella_metrics **out, sella_err *err);
void sella_metrics_free(sella_metrics *metrics);
/* The reply of x has gone out (or its connection is lost: code 0 counts as "closed"). */
void sella_metrics_answered(sella_metrics *metrics, const sella_exchange *x, double now);
void sella_metrics_connection(sella_metrics *metrics, int change); /* +1 opened, -1 closed */
void sella_metrics_feedback(sella_metrics *metrics, int stored, int duplicates, int commits,
                            int refused);
void sella_metrics_reload(sella_metrics *metrics, bool worked);

/* Everything, with the server's own gauges; NULL when memory is out. free(). */
char *sella_metrics_text(sella_metrics *metrics, sella_server *server);

#endif
