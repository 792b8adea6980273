/* check.h - CHECK(call): the running test fails with the error's sentence unless the call gives
 * SELLA_OK; the call names its last argument `err`.
 *
 * Include after <cmocka.h>. */
#ifndef SELLA_TESTS_CHECK_H
#define SELLA_TESTS_CHECK_H

#include "base/error.h"

#define CHECK(call)                                                               \
    do {                                                                          \
        sella_err check_err = {0};                                                \
        sella_err *err = &check_err;                                              \
        if ((call) != SELLA_OK) {                                                 \
            fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #call, check_err.text); \
        }                                                                         \
    } while (0)

#endif
