/* aside.h - a folder that is written beside its place and appears under its name only when it is
 * finished.
 *
 * Does:     begin -> write files below aside->path -> publish (fsync, rename) or abandon. The
 *           folder aside is called PLACE.WORD-PID and is locked (flock) as long as its process
 *           lives; begin removes those that dead processes left beside the same place, and touches
 *           no other.
 * Memory:   publish and abandon free the handle.
 * Threads:  one object per thread.
 * Not here: single files (base/file.h).
 */
#ifndef SELLA_BASE_ASIDE_H
#define SELLA_BASE_ASIDE_H

#include "base/error.h"

typedef struct sella_aside {
    char *path;  /* the folder that is written now */
    char *place; /* the folder that it will be; a link to a folder is followed */
    int lock;    /* descriptor of path, locked; -1 where the file system has no locks */
} sella_aside;

/* Refuse a place that is a file or a folder with contents (asked before long work; begin asks
 * again). */
sella_status sella_aside_check(const char *place, sella_err *err);
/* Start a folder for PLACE, which is missing or an empty folder (or a link to one).
 *
 *   word in   what is done, a part of the name: "import", "train"
 *
 * Returns: SELLA_OK; SELLA_STATE when PLACE is a file, a link to nothing, the working folder, or
 *          not empty; SELLA_IO. */
sella_status sella_aside_begin(const char *place, const char *word, sella_aside **out,
                               sella_err *err);
/* Put the finished folder into its place. Frees the handle; on failure what was written is
 * removed. */
sella_status sella_aside_publish(sella_aside *aside, sella_err *err);
/* Remove what was written; NULL is fine. */
void sella_aside_abandon(sella_aside *aside);

#endif
