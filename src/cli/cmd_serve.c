/* cmd_serve.c - sella serve: a run over HTTP, until a signal says stop. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "sella/serve.h"

static const sella_option option[] = {
    {"host", 0, SELLA_TYPE_TEXT, "ADDRESS", "127.0.0.1", 0, 0, NULL, "",
     "Numeric address to listen on. Anything but loopback should have an API key.", false},
    {"port", 0, SELLA_TYPE_INT, "N", "8080", 0, 65535, NULL, "",
     "Port to listen on; 0 takes any that is free.", false},
    SELLA_MODEL_OPTION,
    SELLA_WEIGHTS_OPTION,
    {"warm", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "",
     "CSV with the columns user and history: put these users' prompts into the prefix cache before "
     "the first request.",
     false},
    {"cache-mb", 0, SELLA_TYPE_INT, "N", "256", 0, 1048576, NULL, "MiB",
     "Size of the prefix cache of a language model; 0: none.", false},
    {"store", 0, SELLA_TYPE_TEXT, "FILE", "(RUN/feedback.sqlite)", 0, 0, NULL, "",
     "SQLite file that feedback goes to; made when it is missing.", false},
    {"no-store", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "", "Take no feedback.", false},
    {"api-key-file", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "",
     "Ask for the key in this file's first line, on everything but /health and the page.", false},
    {"tls-cert", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "",
     "PEM certificate (chain): speak HTTPS.", false},
    {"tls-key", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "", "PEM key of the certificate.",
     false},
    {"access-log", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "",
     "Append a JSON line for every request; - is standard output.", false},
    {"client-header", 0, SELLA_TYPE_TEXT, "NAME", NULL, 0, 0, NULL, "",
     "Behind a proxy: the header whose last entry names the client, for fairness and the access "
     "log.",
     false},
    {"queue", 0, SELLA_TYPE_INT, "N", "256", 1, 100000, NULL, "requests",
     "Requests that may wait for scoring; more get 503.", false},
    {"connections", 0, SELLA_TYPE_INT, "N", "1024", 1, 60000, NULL, "", "Connections open at once.",
     false},
    {"timeout", 0, SELLA_TYPE_REAL, "S", "30", 0.1, 3600, NULL, "seconds",
     "Close a connection that is idle or sends slower than this; give up a request that waits "
     "longer.",
     false},
    {"body-limit", 0, SELLA_TYPE_INT, "N", "1048576", 64, 1073741824, NULL, "bytes",
     "Size of a request's body.", false},
};

/* SIGHUP reloads, the first SIGINT or SIGTERM stops in good order, another one at once. */
static sella_status until_stopped(sella_server *server, const sigset_t *signals,
                                  const sella_cli *cli)
{
    for (int number = 0; sigwait(signals, &number) == 0;) {
        sella_err err = {0};
        if (number != SIGHUP) {
            break;
        }
        if (sella_serve_reload(server, &err) == SELLA_OK) {
            sella_say(&cli->talk, SELLA_LEVEL_INFO, "reloaded");
        } else {
            sella_say(&cli->talk, SELLA_LEVEL_WARN, "not reloaded, the old run goes on: %s",
                      err.text);
        }
    }
    sella_say(&cli->talk, SELLA_LEVEL_INFO,
              "stopping: accepted requests are finished; once more stops at once");
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
    sella_serve_stop(server);
    return SELLA_OK;
}

static bool loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

static void tell(const sella_server *server, const sella_serve_options *options,
                 const sella_cli *cli)
{
    if (cli->json) {
        json_t *line = json_pack("{s:s, s:i, s:i}", "url", sella_serve_url(server), "port",
                                 sella_serve_port(server), "pid", (int)getpid());
        char *text = sella_json_line(line);
        puts(text != NULL ? text : "");
        fflush(stdout);
        free(text);
        json_decref(line);
    }
    sella_say(&cli->talk, SELLA_LEVEL_INFO, "serving %s at %s (Ctrl-C stops, SIGHUP reloads)",
              options->run, sella_serve_url(server));
    if (!loopback(options->host) && options->api_key_file == NULL) {
        sella_say(
            &cli->talk, SELLA_LEVEL_WARN,
            "%s can be reached from other machines, and no API key is asked for (--api-key-file)",
            options->host);
    }
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_server *server = NULL;
    sigset_t signals;
    const int64_t cache_mb = sella_args_int(args, "cache-mb");
    const sella_serve_options options = {.run = args->positional[0],
                                         .model = sella_args_text(args, "model"),
                                         .weights = sella_args_text(args, "weights"),
                                         .threads = cli->threads,
                                         .host = sella_args_text(args, "host"),
                                         .port = (int)sella_args_int(args, "port"),
                                         .api_key_file = sella_args_text(args, "api-key-file"),
                                         .tls_cert = sella_args_text(args, "tls-cert"),
                                         .tls_key = sella_args_text(args, "tls-key"),
                                         .warm = sella_args_text(args, "warm"),
                                         .cache_bytes = cache_mb > 0 ? cache_mb << 20 : -1,
                                         .store = sella_args_text(args, "store"),
                                         .no_store = sella_args_flag(args, "no-store"),
                                         .access_log = sella_args_text(args, "access-log"),
                                         .client_header = sella_args_text(args, "client-header"),
                                         .queue = (int)sella_args_int(args, "queue"),
                                         .connections = (int)sella_args_int(args, "connections"),
                                         .timeout = sella_args_real(args, "timeout"),
                                         .body_limit = (size_t)sella_args_int(args, "body-limit"),
                                         .talk = &cli->talk};
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    /* before the server's threads are made, which inherit it */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    sella_status status = sella_serve_start(&options, &server, err);
    if (status == SELLA_OK) {
        tell(server, &options, cli);
        status = until_stopped(server, &signals, cli);
    }
    return status;
}

const sella_command sella_cmd_serve = {
    .computes = true,
    .name = "serve",
    .usage = "RUN",
    .help = "Answer recommendation requests over HTTP.",
    .details = "Routes: GET /health /ready /metrics /openapi.json /v1/model /v1/items "
               "/v1/users/ID, POST /v1/score\n"
               "/v1/recommend /v1/explain /v1/feedback, and a page at /. Ctrl-C or SIGTERM "
               "finishes what was\n"
               "accepted and stops; SIGHUP opens the RUN anew and swaps it in between requests. "
               "With --json one\n"
               "line {\"url\",\"port\",\"pid\"} is printed when it is ready.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
