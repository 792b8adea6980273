/* html.c - escaping, figures, pictures, the page's frame (engine/html.h). */
#include "engine/html.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"

enum { PICTURE_MOST = 8 << 20 };

/* One rule a line as far as it fits; narrow screens and paper stand behind what they change. */
static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c2330;--soft:#5a6475;--line:#d9dee7;--paper:#fff;\n"
    "--band:#f4f6fa;--mark:#0b63a5}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e4e8ef;--soft:#9aa5b5;--line:#353d4a;\n"
    "--paper:#14181f;--band:#1c222c;--mark:#7cc0f5}\n"
    "figure svg{filter:invert(1) hue-rotate(180deg)}\n"
    ".bitmap svg{filter:none;background:#fff;border-radius:.4rem}}\n"
    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%}\n"
    "body{margin:0 auto;max-width:76rem;padding:1.2rem 1rem 3rem;\n"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;\n"
    "color:var(--ink);background:var(--paper)}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:.4rem 0 .2rem}\n"
    "h2{font-size:1.2rem;margin:2.2rem 0 .5rem;padding-top:.6rem;\n"
    "border-top:1px solid var(--line)}\n"
    "h3{font-size:1rem;margin:1.4rem 0 .3rem}\n"
    "p{margin:.5rem 0;max-width:52rem}\n"
    "li{max-width:52rem}\n"
    "nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.6rem 0;font-size:.9rem}\n"
    ".soft,figcaption{color:var(--soft);font-size:.875rem}\n"
    ".wide{overflow-x:auto;margin:.6rem 0}\n"
    "table{border-collapse:collapse;font-size:.9rem;min-width:min(100%,34rem)}\n"
    "table.many{min-width:100%}\n"
    "th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;\n"
    "vertical-align:baseline;white-space:nowrap}\n"
    "thead th{border-bottom:2px solid var(--line);font-weight:600}\n"
    ".n{text-align:right;font-variant-numeric:tabular-nums}\n"
    "thead th.n{text-align:right}\n"
    "thead th.c{text-align:center}\n"
    "tbody tr:nth-child(even){background:var(--band)}\n"
    "tr.group th{background:var(--paper);color:var(--soft);font-weight:600;padding-top:.8rem}\n"
    "tr.control td,tr.control th{font-style:italic}\n"
    ".best{font-weight:700;color:var(--mark)}\n"
    ".second{text-decoration:underline}\n"
    ".published{color:var(--soft)}\n"
    "small{color:var(--soft);font-size:.8em;font-weight:400}\n"
    ".sd{color:var(--soft);font-size:.8em;font-weight:400;display:inline-block;margin-left:.4em}\n"
    ".many .sd{width:100%;margin:0}\n"
    "figure{margin:1rem 0;overflow-x:auto}\n"
    "figure svg{width:100%;height:auto;display:block}\n"
    ".pair{display:grid;gap:0 1.5rem;\n"
    "grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr))}\n"
    ".pair figure{min-width:0}\n"
    "a{color:var(--mark)}\n"
    "code{font-size:.9em;overflow-wrap:anywhere}\n"
    "details{margin:.5rem 0;border:1px solid var(--line);border-radius:.4rem;padding:.4rem .8rem}\n"
    "summary{cursor:pointer}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;font-size:.9rem;\n"
    "margin:.5rem 0}\n"
    "dt{color:var(--soft)}\n"
    "dd{margin:0;overflow-wrap:anywhere}\n"
    ".note{border-left:3px solid var(--mark);padding:.2rem .8rem;background:var(--band)}\n"
    ".columns{columns:18rem;font-size:.85rem}\n"
    ".columns div{break-inside:avoid;overflow-wrap:anywhere}\n"
    "@media (max-width:40rem){body{padding:.8rem .7rem 2rem;font-size:15px}\n"
    "h1{font-size:1.35rem}\n"
    "th,td{padding:.25rem .4rem}\n"
    ".sd{width:100%;margin:0}\n"
    "dl{grid-template-columns:1fr}\n"
    "dd{margin-bottom:.3rem}}\n"
    "@media print{:root{--ink:#000;--paper:#fff;--band:#f4f4f4;--soft:#444;--line:#bbb;\n"
    "--mark:#000}\n"
    "body{max-width:none;padding:0;font-size:10pt}\n"
    "nav{display:none}\n"
    ".wide,figure{overflow:visible}\n"
    "figure svg{filter:none}\n"
    ".picture{min-width:0!important}\n"
    ".pair{grid-template-columns:1fr 1fr}\n"
    "h2,h3,h2+.soft,tr.group{break-after:avoid}\n"
    "tr,figure{break-inside:avoid}\n"
    "th,td{padding:.15rem .35rem;font-size:8pt;white-space:normal}\n"
    ".many th,.many td{padding:.1rem .25rem;font-size:7pt}\n"
    ".n,.sd{white-space:nowrap}}\n";

void sella_html_raw(sella_html *html, const char *markup)
{
    if (html->status == SELLA_OK) {
        html->status = sella_text_append(&html->text, markup, strlen(markup), html->err);
    }
}

void sella_html_format(sella_html *html, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text) {
        html->status =
            html->status ? html->status
                         : sella_err_set(html->err, SELLA_STATE, "a line of the page is too long");
        return;
    }
    sella_html_raw(html, text);
}

void sella_html_text(sella_html *html, const char *text)
{
    while (*text) {
        const size_t plain = strcspn(text, "&<>\"'");
        if (html->status == SELLA_OK) {
            html->status = sella_text_append(&html->text, text, plain, html->err);
        }
        text += plain;
        if (*text) {
            sella_html_raw(html, *text == '&'   ? "&amp;"
                                 : *text == '<' ? "&lt;"
                                 : *text == '>' ? "&gt;"
                                 : *text == '"' ? "&quot;"
                                                : "&#39;");
            text++;
        }
    }
}

void sella_html_begin(sella_html *html, const char *title, sella_err *err)
{
    *html = (sella_html){.err = err};
    sella_html_raw(html, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                         "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
                         "'none'; style-src 'unsafe-inline'; img-src data:\">\n<title>");
    sella_html_text(html, title);
    sella_html_raw(html, "</title>\n<style>");
    sella_html_raw(html, style);
    sella_html_raw(html, "</style>\n</head>\n<body>\n<h1>");
    sella_html_text(html, title);
    sella_html_raw(html, "</h1>\n");
    html->top = html->text.size;
}

void sella_html_section(sella_html *html, const char *title)
{
    enum { ENTRY = 400 };
    const char *dot = strstr(title, ". "); // "Table 3. All methods": the number is enough
    const int bytes = dot ? (int)(dot - title) : (int)strlen(title);
    char entry[ENTRY];
    html->sections++;
    snprintf(entry, sizeof entry, "<a href=\"#part%d\">%.*s</a>\n", html->sections, bytes, title);
    if (html->status == SELLA_OK) {
        html->status = sella_text_append(&html->contents, entry, strlen(entry), html->err);
    }
    sella_html_format(html, "<h2 id=\"part%d\">%s</h2>\n", html->sections, title);
}

void sella_html_count(sella_html *html, int64_t count)
{
    char text[32];
    sella_html_raw(html, sella_count_text(count, text, sizeof text));
}

void sella_html_figure(sella_html *html, double mean, double sd, const char *class_name)
{
    const char *space = class_name[0] ? " " : "";
    if (!isfinite(mean)) {
        sella_html_format(html, "<td class=\"n%s%s\">-</td>", space, class_name);
    } else if (isfinite(sd)) {
        sella_html_format(html,
                          "<td class=\"n%s%s\">%.4f<span class=\"sd\">&plusmn; %.4f</span></td>",
                          space, class_name, mean, sd);
    } else {
        sella_html_format(html, "<td class=\"n%s%s\">%.4f</td>", space, class_name, mean);
    }
}

/* Does an attribute on...= begin behind this character? */
static bool handler(const char *at)
{
    if (!strchr(" \t\r\n/\"'", *at) || strncasecmp(at + 1, "on", 2) != 0) {
        return false;
    }
    const char *end =
        at + 1 + strspn(at + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return end[strspn(end, " \t\r\n")] == '=';
}

/* Shapes and text only: nothing that runs, loads or links outside. The folder may have come from
 * elsewhere. */
static bool harmless(const char *svg)
{
    static const char *const refused[] = {"<script",  "<foreignObject", "<iframe",   "<style",
                                          "<a ",      "<set",           "<animate",  "<!ENTITY",
                                          "<handler", "javascript:",    "http-equiv"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (strcasestr(svg, refused[i])) {
            return false;
        }
    }
    /* inside the picture, or a bitmap that it brings */
    for (const char *at = svg; (at = strcasestr(at, "href=")); at += 5) {
        if ((at[5] != '\'' && at[5] != '"') ||
            (at[6] != '#' && strncmp(at + 6, "data:image/png;base64,", 22) != 0)) {
            return false;
        }
    }
    char quote = 0;
    bool tag = false;
    for (const char *at = svg; *at; at++) { // names of attributes stand in a tag, outside quotes
        if (!tag || quote) {
            tag = tag || *at == '<';
            quote = *at == quote ? 0 : quote;
            continue;
        }
        if (handler(at)) {
            return false;
        }
        tag = *at != '>';
        quote = *at == '"' || *at == '\'' ? *at : 0;
    }
    return true;
}

/* From <svg to the end, NUL-terminated, free(); NULL when it is not there or not harmless. */
static char *picture_text(const char *dir, const char *name, bool *refused)
{
    sella_map map;
    char file[160], *text = NULL;
    snprintf(file, sizeof file, "%s.svg", name);
    char *path = sella_path_join(dir, file, NULL);
    *refused = false;
    if (path && sella_map_open(path, &map, NULL) == SELLA_OK) {
        const uint8_t *from =
            map.size < PICTURE_MOST && map.size > 0 ? memmem(map.data, map.size, "<svg", 4) : NULL;
        const size_t bytes = from ? map.size - (size_t)(from - map.data) : 0;
        if (from && sella_utf8_valid((const char *)from, bytes) == bytes &&
            !memchr(from, 0, bytes)) {
            text = strndup((const char *)from, bytes);
        }
        if (!text || !harmless(text)) {
            *refused = true;
            free(text);
            text = NULL;
        }
        sella_map_close(&map);
    }
    free(path);
    return text;
}

void sella_html_picture(sella_html *html, const char *dir, const char *folder, const char *name,
                        const char *caption)
{
    bool refused;
    char *svg = picture_text(dir, name, &refused);
    const char *box = svg ? strstr(svg, "viewBox=\"0 0 ") : NULL;
    const long width = box ? strtol(box + 13, NULL, 10) : 0;
    /* drawn no larger than meant, and no smaller than can be read: narrow screens scroll it. The
     * colours of a bitmap mean something: a dark page leaves them as they are. */
    if (width > 0 && width < 4000) {
        sella_html_format(html,
                          "<figure style=\"max-width:%ldpx\"%s>\n<div class=\"picture\" "
                          "style=\"min-width:%ldpx\">\n",
                          width * 5 / 4, strstr(svg, "<image") ? " class=\"bitmap\"" : "",
                          width * 3 / 4);
    } else {
        sella_html_raw(html, "<figure>\n<div class=\"picture\">\n");
    }
    if (svg) {
        sella_html_raw(html, svg);
    } else if (refused) {
        sella_html_raw(
            html,
            "<p class=\"note\">The picture holds more than shapes and text and is left out.</p>");
    } else {
        sella_html_raw(html, "<p class=\"note\">Not drawn: gnuplot is not installed. Its data and "
                             "script are beside this page.</p>");
    }
    free(svg);
    sella_html_raw(html, "\n</div>\n<figcaption>");
    sella_html_text(html, caption);
    sella_html_format(html,
                      " Data: <a href=\"%s/%s.csv\">%s.csv</a>, script: <a "
                      "href=\"%s/%s.gp\">%s.gp</a>.</figcaption>\n</figure>\n",
                      folder, name, name, folder, name, name);
}

/* The contents, where there is something to choose from, below the heading. */
static void put_contents(sella_html *html)
{
    enum { LEAST = 4 };
    if (html->sections < LEAST || html->status != SELLA_OK) {
        return;
    }
    const sella_html old = *html;
    html->text = (sella_text){0};
    html->status = sella_text_append(&html->text, old.text.data, old.top, html->err);
    sella_html_raw(html, "<nav>\n");
    sella_html_raw(html, old.contents.data);
    sella_html_raw(html, "</nav>\n");
    sella_html_raw(html, old.text.data + old.top);
    free(old.text.data);
}

void sella_html_release(sella_html *html)
{
    sella_text_release(&html->text);
    sella_text_release(&html->contents);
}

sella_status sella_html_save(sella_html *html, const char *path)
{
    sella_html_raw(html, "</body>\n</html>\n");
    put_contents(html);
    if (html->status == SELLA_OK) {
        html->status = sella_write_file(path, html->text.data, html->text.size, html->err);
    }
    sella_html_release(html);
    return html->status;
}
