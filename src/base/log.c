/* log.c - messages and progress to the caller (base/log.h). */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

double sella_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void sella_say(const sella_talk *talk, sella_level level, const char *fmt, ...)
{
    if (!talk || !talk->line) {
        return;
    }
    char text[2048];
    va_list args;
    va_start(args, fmt);
    int need = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (need >= 0) {
        talk->line(talk->user, level, text);
    }
}

static void report(const sella_progress *progress, const char *note, int finished)
{
    const sella_talk *talk = progress->talk;
    if (!talk || !talk->progress) {
        return;
    }
    double seconds = sella_now() - progress->start_seconds;
    double moved = progress->done - progress->start_done;
    double rate = seconds > 0 ? moved / seconds : 0;
    double left = progress->total - progress->done;
    sella_progress_report out = {
        .what = progress->what,
        .unit = progress->unit,
        .done = progress->done,
        .total = progress->total,
        .rate = rate,
        .eta_seconds = finished                                       ? 0
                       : rate > 0 && progress->total > 0 && left >= 0 ? left / rate
                                                                      : -1,
        .note = note,
        .finished = finished,
    };
    talk->progress(talk->user, &out);
}

void sella_progress_start(sella_progress *progress, const sella_talk *talk, const char *what,
                          const char *unit, double total, double done)
{
    *progress = (sella_progress){.talk = talk,
                                 .what = what,
                                 .unit = unit,
                                 .total = total,
                                 .done = done,
                                 .start_seconds = sella_now(),
                                 .start_done = done};
    report(progress, NULL, 0);
}

void sella_progress_step(sella_progress *progress, double done, const char *note)
{
    progress->done = done;
    report(progress, note, 0);
}

void sella_progress_end(sella_progress *progress)
{
    report(progress, NULL, 1);
}

bool sella_stop_wanted(const sella_talk *talk)
{
    return talk && talk->stop && talk->stop(talk->user) != 0;
}
