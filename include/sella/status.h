/* status.h - result codes and the error object of every call that can fail.
 *
 * Does:     A call that can fail returns a sella_status (0 = ok) and takes a `sella_err *err` last
 *           (NULL allowed). On failure `err` holds the code and one complete sentence with the
 *           offending name, value and place, for example "ratings.csv:812: rating 'x' is not a
 *           number".
 * Memory:   sella_err is a plain struct owned by the caller; zero-initialise it.
 * Threads:  pure.
 */
#ifndef SELLA_STATUS_H
#define SELLA_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SELLA_API __attribute__((visibility("default")))
#define SELLA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define SELLA_API
#define SELLA_PRINTF(fmt, args)
#endif

/* X(name, value, text) */
#define SELLA_STATUS_LIST(X)                                        \
    X(OK, 0, "ok")                                                  \
    X(ARG, -1, "an argument or setting is wrong")                   \
    X(IO, -2, "a file could not be read or written")                \
    X(FORMAT, -3, "the contents of a file are malformed")           \
    X(SHAPE, -4, "a tensor has another type or shape than needed")  \
    X(MEMORY, -5, "not enough memory")                              \
    X(UNSUPPORTED, -6, "not supported")                             \
    X(DIVERGED, -7, "a loss, gradient or weight is not finite")     \
    X(STATE, -8, "a run or data set is not in the state needed")    \
    X(MISSING, -9, "a name, id or file was not found")              \
    X(INTERRUPTED, -10, "interrupted; a checkpoint was left")

typedef enum sella_status {
#define X(name, value, text) SELLA_##name = value,
    SELLA_STATUS_LIST(X)
#undef X
} sella_status;

typedef struct sella_err {
    sella_status code;
    char text[1024]; /* one sentence, UTF-8, no newline at the end */
} sella_err;

/* Name of a code ("FORMAT") and its general meaning; "unknown" for a value outside the list. Static
 * strings. */
SELLA_API const char *sella_status_name(sella_status status);
SELLA_API const char *sella_status_text(sella_status status);

#ifdef __cplusplus
}
#endif
#endif
