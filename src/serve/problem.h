/* problem.h - error replies as problem documents.
 *
 * Does:     sella_problem fills an exchange's reply with
 *           {"type":"about:blank","title":phrase,"status":code,"detail":sentence}. Of an exchange
 *           whose reply is a stream it becomes the last line, with "event":"problem".
 * Threads:  pure but for the exchange.
 * Paper:    RFC 9457 (type about:blank: the title is the phrase of the status).
 */
#ifndef SELLA_SERVE_PROBLEM_H
#define SELLA_SERVE_PROBLEM_H

#include "serve/exchange.h"

void sella_problem(sella_exchange *x, int code, const char *fmt, ...) SELLA_PRINTF(3, 4);
/* The reply for a failed call of the library. Paths of the server are cut out of the sentence. */
void sella_problem_status(sella_exchange *x, sella_status status, const sella_err *err);
/* "Bad Request"; "Error" for a code that this server never uses. */
const char *sella_http_phrase(int code);

#endif
