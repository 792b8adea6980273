/* credential.h - the API key: read from a file, compared in constant time, never said.
 *
 * Threads:  pure.
 */
#ifndef SELLA_SERVE_CREDENTIAL_H
#define SELLA_SERVE_CREDENTIAL_H

#include <stdbool.h>

#include "base/error.h"

enum { SELLA_KEY_MIN = 16, SELLA_KEY_MAX = 512 }; /* bytes */

/* First line of the file. SELLA_FORMAT when it is shorter, longer or not printable ASCII without
 * blanks. free() it. */
sella_status sella_credential_read(const char *path, char **key, sella_err *err);

/* Does one of the two headers (NULL: absent) show the key? `Bearer KEY`, `Basic base64(anyone:KEY)`
 * or the bare key in X-API-Key. The time taken does not depend on where a wrong key differs. */
bool sella_credential_right(const char *key, const char *authorization, const char *x_api_key);

#endif
