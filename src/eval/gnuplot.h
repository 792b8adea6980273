/* gnuplot.h - a picture from data and a script, drawn by gnuplot, which is another program and may
 * be missing.
 *
 * Does:     sella_plot_init -> csv and script are appended as texts -> sella_plot_draw writes
 *           DIR/NAME.csv and DIR/NAME.gp and runs `gnuplot NAME.gp` in DIR (no shell), which leaves
 *           DIR/NAME.svg. Whoever wants another look edits the .gp and runs gnuplot again. Text
 *           that comes from data stands in the CSV, or in single quotes made by sella_plot_quote:
 *           gnuplot expands nothing there.
 * Memory:   a sella_plot owns its texts.
 * Threads:  one object per thread.
 */
#ifndef SELLA_EVAL_GNUPLOT_H
#define SELLA_EVAL_GNUPLOT_H

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

typedef struct sella_plot {
    const char *dir, *name; /* borrowed; name: letters, digits, '-' and '_' */
    sella_text csv, script;
    int width, height; /* points of the picture */
} sella_plot;

/* Starts the script: SVG of width x height, NAME.csv as data with a header line, ids for colours
 * (c1 .. c8). */
sella_status sella_plot_init(sella_plot *plot, const char *dir, const char *name, int width,
                             int height, sella_err *err);
void sella_plot_release(sella_plot *plot);

/* Append to csv one field: quoted when it has to be, control characters as blanks, '"' as "''" and
 * '\\' as U+2216 (gnuplot reads no doubled quotes, and escapes everywhere). */
sella_status sella_plot_field(sella_plot *plot, const char *text, char after, sella_err *err);
/* Append a real number, or nothing when it is not finite (gnuplot leaves the point out). */
sella_status sella_plot_real(sella_plot *plot, double value, char after, sella_err *err);
/* Append 'text' to the script as a string of gnuplot. */
sella_status sella_plot_quote(sella_plot *plot, const char *text, sella_err *err);

/* Write both files, draw. *drawn false: there is no gnuplot; the two files are left. SELLA_IO with
 * gnuplot's own words when it fails. */
sella_status sella_plot_draw(const sella_plot *plot, bool *drawn, sella_err *err);

#endif
