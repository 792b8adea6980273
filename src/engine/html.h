/* html.h - building one self-contained page.
 *
 * Does:     sella_html_begin -> raw markup, escaped texts, numbers -> sella_html_save. Everything
 *           that comes from data goes through sella_html_text. The first failure sticks, so that
 *           calls need no checks between them.
 * Memory:   a sella_html owns its texts: save or release it.
 * Threads:  one object per thread.
 */
#ifndef SELLA_ENGINE_HTML_H
#define SELLA_ENGINE_HTML_H

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

typedef struct sella_html {
    sella_text text;
    sella_text contents; /* a link to each section */
    int sections;
    size_t top;          /* of text: where the contents will stand */
    sella_status status;
    sella_err *err;
} sella_html;

/* Head, style (light, dark, print, narrow screens), heading. */
void sella_html_begin(sella_html *html, const char *title, sella_err *err);
/* A heading that the contents of the page name: up to its first ". ", or all of it.
 *
 *   title  in   our own words, as markup
 */
void sella_html_section(sella_html *html, const char *title);
void sella_html_raw(sella_html *html, const char *markup);
/* printf of markup whose arguments are numbers or our own words. */
void sella_html_format(sella_html *html, const char *fmt, ...) SELLA_PRINTF(2, 3);
/* Text with & < > " ' as entities. */
void sella_html_text(sella_html *html, const char *text);
/* 33,891 */
void sella_html_count(sella_html *html, int64_t count);
/* <td class="n ...">.7351 ± .0021</td>; a dash when mean is not finite; sd NaN: none. */
void sella_html_figure(sella_html *html, double mean, double sd, const char *class_name);
/* DIR/NAME.svg as a figure with a caption and links to its data; a sentence when the picture is not
 * there, or holds more than shapes and text. */
void sella_html_picture(sella_html *html, const char *dir, const char *folder, const char *name,
                        const char *caption);
void sella_html_release(sella_html *html);
/* End of the page, written atomically; releases the page in every case. Returns the first
 * failure. */
sella_status sella_html_save(sella_html *html, const char *path);

#endif
