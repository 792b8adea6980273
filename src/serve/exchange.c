/* exchange.c - filling replies, freeing exchanges (serve/exchange.h). */
#include "serve/exchange.h"

#include "base/json.h"
#include "serve/ask.h"
#include "serve/feedback.h"
#include "serve/stream.h"

static void drop_reply(sella_exchange *x)
{
    free(x->reply);
    x->reply = NULL;
    x->fixed = NULL;
    x->bytes = 0;
}

void sella_reply_text(sella_exchange *x, int code, const char *type, char *text, size_t bytes)
{
    drop_reply(x);
    x->code = text != NULL ? code : 0;
    x->type = type;
    x->reply = text;
    x->bytes = text != NULL ? bytes : 0;
}

void sella_reply_static(sella_exchange *x, int code, const char *type, const char *text,
                        size_t bytes)
{
    drop_reply(x);
    x->code = code;
    x->type = type;
    x->fixed = text;
    x->bytes = bytes;
}

void sella_reply_json(sella_exchange *x, int code, json_t *value)
{
    char *line = value != NULL ? sella_json_line(value) : NULL;
    json_decref(value);
    sella_reply_text(x, code, "application/json", line, line != NULL ? strlen(line) : 0);
}

void sella_exchange_free(sella_exchange *x)
{
    if (x == NULL) {
        return;
    }
    sella_target_release(&x->target);
    sella_text_release(&x->body);
    sella_ask_free(x->ask);
    sella_feedback_free(x->feedback);
    sella_stream_free(x->stream);
    free(x->reply);
    free(x);
}
