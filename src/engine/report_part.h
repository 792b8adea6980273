/* report_part.h - the parts of a page about runs, shared by `report` and `experiment`.
 *
 * Does:     sella_report_start -> parts in any order -> sella_report_end.
 * Memory:   a sella_report_page owns its strings; runs are borrowed.
 * Threads:  one object per thread.
 */
#ifndef SELLA_ENGINE_REPORT_PART_H
#define SELLA_ENGINE_REPORT_PART_H

#include "engine/html.h"
#include "engine/published.h"
#include "engine/report_runs.h"

typedef struct sella_report_page {
    sella_html html;
    const sella_runs *runs;
    char *output, *figures; /* folders */
    const sella_talk *talk;
    json_t *names;          /* of figures, in order */
    bool missing;           /* a picture was not drawn: no gnuplot */
} sella_report_page;

/* Folders, head of the page. */
sella_status sella_report_start(sella_report_page *page, const sella_runs *runs, const char *output,
                                const char *title, const sella_talk *talk, sella_err *err);
/* Note the figure DIR/figures/NAME and set its picture and caption. */
void sella_report_picture(sella_report_page *page, const char *name, bool drawn,
                          const char *caption);

/* The table of figures of every split that some run has scores of; each with a heading. */
void sella_report_tables(sella_report_page *page);
/* The published figures beside ours and how to read them; nothing for other data. */
void sella_report_published(sella_report_page *page);
/* A picture for each kind of curve. */
sella_status sella_report_curves(sella_report_page *page, sella_err *err);
void sella_report_configuration(sella_report_page *page);
void sella_report_environment(sella_report_page *page);

/* Close, write OUTPUT/index.html; *json as sella_report says. Releases the page in every case. */
sella_status sella_report_end(sella_report_page *page, sella_status status, char **json,
                              sella_err *err);

/* Which published data set the runs are about; NONE when they are mixed or of another. */
sella_known sella_report_known(const sella_runs *runs);

#endif
