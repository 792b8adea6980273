/* banned.h - string calls that cannot be used safely; included into every file by the build.
 *
 * Not here: what to use instead: snprintf, base/text.h, sella_parse_int.
 */
#ifndef SELLA_BASE_BANNED_H
#define SELLA_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets atoi atol atoll atof strtok

#endif
