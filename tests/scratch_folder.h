/* scratch_folder.h - for test programs whose whole fixture is one folder.
 *
 * Does:     cmocka_run_group_tests(tests, setup, teardown) makes `folder` and removes it. Include
 *           after <cmocka.h>.
 */
#ifndef SELLA_TESTS_SCRATCH_FOLDER_H
#define SELLA_TESTS_SCRATCH_FOLDER_H

#include "scratch.h"

static char *folder;

static int setup(void **state)
{
    (void)state;
    folder = scratch_make();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    return 0;
}

#endif
