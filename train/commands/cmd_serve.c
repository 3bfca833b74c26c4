/* remla serve MODEL: answers requests over HTTP until a signal asks it to stop. The main thread computes;
 * connections have threads of their own (serve/http.h). */
#include "base/log.h"
#include "base/stop.h"
#include "serve/service.h"
#include "train/commands/commands.h"
#include "train/serving.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All that serves. Zeros are nothing. */
typedef struct server {
    serving model[WORKER_ENGINES];
    int models;
    int fd, port;     /* the address; fd is -1 when the HTTP server has it */
    int64_t capacity; /* texts of a model, running and waiting */
    counters *counters;
    worker *worker;
    service *service;
    http_server *http;
} server;

static status open_models(server *s, const char *folder, const options *o, message *why)
{
    s->models = 1;
    TRY(serving_open(&s->model[0], folder, o, why));
    if (!o->serve_base[0]) return OK;
    s->models = 2;
    TRY(serving_open(&s->model[1], o->serve_base, o, why));
    if (!strcmp(s->model[0].as.name, s->model[1].as.name)) { /* requests tell them apart by what was typed */
        s->model[0].as.name = folder;
        s->model[1].as.name = o->serve_base;
    }
    if (!strcmp(s->model[0].as.name, s->model[1].as.name))
        return fail(why, ERR_USAGE, "serve.base is the model itself, %s", folder);
    return OK;
}

static status start_models(server *s, const options *o, const comm *c, message *why)
{
    s->capacity = o->decode_sequences + o->serve_queue;
    for (int i = 0; i < s->models; i++) {
        TRY(serving_start(&s->model[i], o, s->capacity, c, why));
        const serving *m = &s->model[i];
        log_line(
            "model  %s: texts of %lld tokens, %lld at once; cache of %lld tokens and its scratch %.2f GiB%s",
            m->as.name, (long long)m->as.longest, (long long)o->decode_sequences,
            (long long)m->x.decode.settings.positions, (double)m->cache_bytes / (1 << 30),
            m->chat ? "" : "; no chat template");
    }
    return OK;
}

/* ---- listening ----------------------------------------------------------------------------------------- */

/* A key on the command line is in `ps` for all to see. */
static const char *key_of(const options *o)
{
    const char *key = o->serve_key[0] ? o->serve_key : getenv("REMLA_SERVE_KEY");
    return key ? key : "";
}

static void observe(void *context, const engine_event *event) { counters_finished(context, event); }

static void start_service(server *s, const options *o)
{
    engine *engines[WORKER_ENGINES] = {s->model[0].engine, s->model[1].engine};
    s->counters = counters_new();
    const worker_limits limits = {.capacity = s->capacity,
                                  .patience = (double)o->serve_patience,
                                  .duration = (double)o->serve_duration};
    s->worker = worker_new(engines, s->models, &limits, observe, s->counters);
    service_settings settings = {.models = s->models,
                                 .worker = s->worker,
                                 .counters = s->counters,
                                 .access = {.host = o->serve_host,
                                            .key = key_of(o),
                                            .origins = (const char *const *)o->serve_origins.item,
                                            .num_origins = o->serve_origins.count},
                                 .chat_tokens = o->serve_max_tokens};
    for (int i = 0; i < s->models; i++) settings.model[i] = &s->model[i].as;
    s->service = service_new(&settings);
}

static status start_http(server *s, const options *o, message *why)
{
    const http_settings settings = {.fd = s->fd,
                                    .connections = (int)o->serve_connections,
                                    .max_body = o->serve_max_body,
                                    .timeout = (double)o->serve_timeout,
                                    .context = s->service,
                                    .admit = service_admit,
                                    .handle = service_handle,
                                    .too_large = service_too_large};
    s->fd = -1;
    TRY(http_start(&s->http, &settings, why));
    char url[PATH_BYTES + 32];
    const bool colons = strchr(o->serve_host, ':'); /* an address of IPv6 */
    snprintf(url, sizeof url, colons ? "http://[%s]:%d" : "http://%s:%d", o->serve_host, s->port);
    log_line("listening on %s, a page to talk to the model", url);
    log_line("try    curl %s/v1/completions -H 'Content-Type: application/json' %s-d '%s'", url,
             key_of(o)[0] ? "-H 'Authorization: Bearer KEY' " : "",
             "{\"prompt\": \"Once upon a time\", \"max_tokens\": 32}");
    if (!key_of(o)[0] && !access_is_loopback(o->serve_host))
        log_warning("other machines can reach %s, and there is no key (REMLA_SERVE_KEY)", o->serve_host);
    return OK;
}

static status serve(server *s, const options *o, message *why)
{
    enum { DELIVERY = 5 }; /* seconds in which answers that are ready must be taken after the last pass */
    stop_catch();
    start_service(s, o);
    TRY(start_http(s, o, why));
    stop_announce("stopping: requests that run may finish; SIGINT ends at once\n", NULL);
    const int64_t cancelled = worker_run(s->worker, stop_requested, (double)o->serve_grace);
    if (cancelled)
        log_warning("%lld requests were not done after serve.grace=%lld seconds, and are cancelled",
                    (long long)cancelled, (long long)o->serve_grace);
    http_stop(s->http, DELIVERY);
    log_line("stopped");
    return OK;
}

static void close_all(server *s)
{
    if (s->service) service_free(s->service);
    if (s->worker) worker_free(s->worker);
    if (s->counters) counters_free(s->counters);
    if (s->fd >= 0) close(s->fd);
    for (int i = 0; i < s->models; i++) serving_close(&s->model[i]);
}

status cmd_serve(const command_line *line, options *o, const comm *c, message *why)
{
    static server s; /* models must not move */
    if (c->size > 1) return fail(why, ERR_USAGE, "serve runs in one process; there are %d ranks", c->size);
    s.fd = -1;
    status result = open_models(&s, line->positional[0], o, why);
    /* Before the weights, which take long to load. */
    if (result == OK) result = http_bind(o->serve_host, (int)o->serve_port, &s.fd, &s.port, why);
    if (result == OK) result = start_models(&s, o, c, why);
    if (result == OK) result = serve(&s, o, why);
    close_all(&s);
    return result;
}
