/* terminal.c - progress bar, plain progress lines, Ctrl-C (cli/terminal.h). */
#include "cli/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"

enum { BAR = 24 };
#define LIVE_SECONDS 0.1
#define PLAIN_SECONDS 10.0

/* A handler can only reach a global. */
static volatile sig_atomic_t stops;

static void on_signal(int number)
{
    static const char text[] = "\nstopping at the next checkpoint; once more stops at once\n";
    (void)number;
    if (stops > 0) {
        _exit(130);
    }
    stops = 1;
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
}

void sella_stop_on_signal(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int stop_wanted(void *user)
{
    (void)user;
    return stops > 0;
}

void sella_duration_text(double seconds, char *out, size_t room)
{
    long s = seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 0;
    if (s < 100) {
        snprintf(out, room, "%ld s", s);
    } else if (s < 3600) {
        snprintf(out, room, "%ld:%02ld min", s / 60, s % 60);
    } else {
        snprintf(out, room, "%ld:%02ld h", s / 3600, s % 3600 / 60);
    }
}

static void clear_bar(sella_terminal *terminal)
{
    if (terminal->drawn) {
        fputs("\r\x1b[K", terminal->out);
        terminal->drawn = false;
    }
}

static void on_line(void *user, sella_level level, const char *text)
{
    sella_terminal *terminal = user;
    if ((level == SELLA_LEVEL_DEBUG && !terminal->verbose) ||
        (level < SELLA_LEVEL_WARN && terminal->quiet)) {
        return;
    }
    clear_bar(terminal);
    fprintf(terminal->out, "%s%s\n", level == SELLA_LEVEL_WARN ? "warning: " : "", text);
    fflush(terminal->out);
}

static void rate_text(double rate, char *out, size_t room)
{
    if (rate >= 100) {
        snprintf(out, room, "%.0f", rate);
    } else {
        snprintf(out, room, "%.3g", rate);
    }
}

/* The facts of a report in words: "12345 of 33891 rows (36 %), 640 rows/s, 34 s left, loss
 * 0.653". */
static void report_text(const sella_progress_report *report, char *out, size_t room)
{
    char rate[32], left[48] = "", share[80] = "";
    rate_text(report->rate, rate, sizeof rate);
    if (report->total > 0) {
        snprintf(share, sizeof share, " of %.0f", report->total);
    }
    int used = snprintf(out, room, "%.0f%s %s", report->done, share, report->unit);
    if (report->total > 0 && used > 0 && (size_t)used < room) {
        used += snprintf(out + used, room - (size_t)used, " (%d %%)",
                         (int)(100 * report->done / report->total));
    }
    if (report->eta_seconds >= 0 && !report->finished) {
        char duration[32];
        sella_duration_text(report->eta_seconds, duration, sizeof duration);
        snprintf(left, sizeof left, ", %s left", duration);
    }
    if (used > 0 && (size_t)used < room) {
        snprintf(out + used, room - (size_t)used, ", %s %s/s%s%s%s", rate, report->unit, left,
                 report->note ? ", " : "", report->note ? report->note : "");
    }
}

static int columns(const sella_terminal *terminal)
{
    struct winsize size;
    return ioctl(fileno(terminal->out), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col
                                                                                     : 80;
}

static void draw_bar(sella_terminal *terminal, const sella_progress_report *report)
{
    enum { LEAST = 4, FRAME = 4 }; // "what [bar] facts"
    char bar[BAR + 4] = "", facts[256], line[512];
    report_text(report, facts, sizeof facts);
    /* the facts come first: the bar takes what they leave */
    int room = columns(terminal) - 1 - (int)(strlen(report->what) + strlen(facts)) - FRAME,
        width = room > BAR ? BAR : room;
    if (width >= LEAST) {
        int full = report->total > 0 ? (int)(width * report->done / report->total) : 0;
        full = full < 0 ? 0 : full > width ? width : full;
        bar[0] = '[';
        memset(bar + 1, '.', (size_t)width);
        memset(bar + 1, '#', (size_t)full);
        memcpy(bar + 1 + width, "] ", 3);
    }
    snprintf(line, sizeof line, "%s %s%s", report->what, bar, facts);
    size_t bytes = strlen(line), most = (size_t)columns(terminal) - 1;
    if (bytes > most) {
        for (bytes = most; bytes > 0 && ((unsigned char)line[bytes] & 0xc0) == 0x80;) {
            bytes--; // not within a character
        }
    }
    fprintf(terminal->out, "\r\x1b[K%.*s%s", (int)bytes, line, report->finished ? "\n" : "");
    terminal->drawn = !report->finished;
}

static void on_progress(void *user, const sella_progress_report *report)
{
    sella_terminal *terminal = user;
    double now = sella_now();
    if (terminal->quiet) {
        return;
    }
    if (terminal->last == 0) {
        /* plain lines start after ten seconds: short work says one line */
        terminal->last = terminal->live ? now - LIVE_SECONDS : now;
    }
    if (!report->finished &&
        now - terminal->last < (terminal->live ? LIVE_SECONDS : PLAIN_SECONDS)) {
        return;
    }
    terminal->last = now;
    if (terminal->live) {
        draw_bar(terminal, report);
    } else {
        char facts[256];
        report_text(report, facts, sizeof facts);
        fprintf(terminal->out, "%s: %s\n", report->what, facts);
    }
    fflush(terminal->out);
}

void sella_terminal_init(sella_terminal *terminal, FILE *out, bool quiet, bool verbose)
{
    const char *kind = getenv("TERM");
    *terminal = (sella_terminal){.out = out, .quiet = quiet, .verbose = verbose};
    terminal->live = isatty(fileno(out)) && kind && strcmp(kind, "dumb") != 0;
    terminal->talk = (sella_talk){
        .line = on_line, .progress = on_progress, .stop = stop_wanted, .user = terminal};
}

void sella_terminal_end(sella_terminal *terminal)
{
    if (terminal->drawn) {
        fputc('\n', terminal->out);
        terminal->drawn = false;
    }
    fflush(terminal->out);
}
