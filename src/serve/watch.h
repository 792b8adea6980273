/* watch.h - connections whose request never gets complete.
 *
 * Does:     libmicrohttpd closes idle connections, but a byte now and then keeps one open, and its
 *           headers may take for ever. The watch knows since when each connection has been expected
 *           to bring a request's head, and shuts those down that take too long.
 * Threads:  opened, closed, waits and begun are called on the connection thread; the watch has a
 *           thread of its own.
 */
#ifndef SELLA_SERVE_WATCH_H
#define SELLA_SERVE_WATCH_H

#include "base/error.h"

typedef struct sella_watch sella_watch;
typedef struct sella_watched sella_watched;

/* patience: seconds that a head may take, counted from the connection's opening or its last
 * answer. */
sella_status sella_watch_start(double patience, sella_watch **out, sella_err *err);
/* No connection is left. NULL is fine. */
void sella_watch_stop(sella_watch *watch);

/* NULL: no memory; such a connection is not watched. */
sella_watched *sella_watch_opened(sella_watch *watch, int fd);
/* Before the socket is closed: afterwards its number may be another connection's. */
void sella_watch_closed(sella_watch *watch, sella_watched *watched);
/* A head is expected from now on; its head is complete. */
void sella_watch_waits(sella_watch *watch, sella_watched *watched);
void sella_watch_begun(sella_watch *watch, sella_watched *watched);

#endif
