/* formats_room.h - a test program's folder with one current file name, so that calls can be written
 * in one line.
 *
 * Does:     room_make and room_remove are a cmocka group set-up and tear-down; room_path and
 *           room_write give names valid until the next call.
 * Not here: the folder itself (scratch.h).
 */
#ifndef SELLA_TESTS_FORMATS_ROOM_H
#define SELLA_TESTS_FORMATS_ROOM_H

#include "scratch.h"

static char *room_folder;
static char *room_current;

static inline int room_make(void **state)
{
    (void)state;
    room_folder = scratch_make();
    return 0;
}

static inline int room_remove(void **state)
{
    (void)state;
    free(room_current);
    scratch_remove(room_folder);
    return 0;
}

static inline const char *room_path(const char *name)
{
    free(room_current);
    room_current = sella_path_join(room_folder, name, NULL);
    return room_current;
}

static inline const char *room_write(const char *name, const void *data, size_t bytes)
{
    /* a new file, since some file systems flush one that is written over */
    (void)remove(room_path(name));
    free(room_current);
    room_current = scratch_file(room_folder, name, data, bytes);
    return room_current;
}

/* What a refusal must be: one line that holds `part`. */
static inline void room_says(const sella_err *err, const char *part)
{
    if (strstr(err->text, part) == NULL || strchr(err->text, '\n') != NULL) {
        fail_msg("'%s' lacks '%s'", err->text, part);
    }
}

#endif
