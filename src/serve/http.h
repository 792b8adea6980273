/* http.h - the HTTP side: connections, limits, TLS, the key.
 *
 * Does:     start listens and makes a sella_exchange of every request: route, key, sizes are
 *           checked, the body is gathered, parse and work of the route are called or queued
 *           (sella_server_dispatch), the reply is sent. quiesce stops accepting; stop closes all.
 * Threads:  one connection thread of libmicrohttpd; the calls here from the server's owner.
 */
#ifndef SELLA_SERVE_HTTP_H
#define SELLA_SERVE_HTTP_H

#include "serve/exchange.h"

typedef struct sella_http sella_http;

/* Listen at server->host, options.port with the server's limits; tls_*: PEM files or NULL. *port:
 * the one it got. */
sella_status sella_http_start(sella_server *server, const char *tls_cert, const char *tls_key,
                              sella_http **out, int *port, sella_err *err);
/* Accept no more connections. */
void sella_http_quiesce(sella_http *http);
/* No exchange may be queued any more. NULL is fine. */
void sella_http_stop(sella_http *http);

#endif
