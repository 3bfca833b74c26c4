/* libmicrohttpd calls `answer` once when a request's header is there, then with every piece of its body, then
 * once more. The first call admits, the pieces are collected, the last call hands over to the handler. */
#include "serve/http.h"
#include "base/clock.h"
#include "base/memory.h"
#include "serve/watch.h"
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { MOST_HEADERS = 8, STACK_BYTES = 2 << 20, BACKLOG = 128, PIECE = 64 << 10 };

struct http_server {
    http_settings settings;
    struct MHD_Daemon *daemon;
    watch *watch;
    atomic_int exchanges; /* now */
};

typedef struct header {
    char *name, *value;
} header;

struct http_exchange {
    http_server *server;
    struct MHD_Connection *connection;
    watched *watched; /* the connection */
    const char *method, *path;
    double began;
    text_buffer body;
    bool too_large;
    header headers[MOST_HEADERS]; /* of the answer */
    int num_headers;
    struct MHD_Response *response; /* the answer, once there is one */
    int code;
    bool queued;
    void *note;
    http_stream stream; /* while it is open */
    text_buffer piece;  /* of the stream: made, and `sent` of it gone */
    int64_t sent;
};

const char *http_method(const http_exchange *x) { return x->method; }
const char *http_path(const http_exchange *x) { return x->path; }
const char *http_body(const http_exchange *x) { return x->body.bytes ? x->body.text : ""; }
int64_t http_body_bytes(const http_exchange *x) { return x->body.bytes; }
double http_began(const http_exchange *x) { return x->began; }
void *http_note(const http_exchange *x) { return x->note; }
void http_set_note(http_exchange *x, void *note) { x->note = note; }

const char *http_header(const http_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

void http_watch(http_exchange *x, void (*gone)(void *state), void *state)
{
    watch_gone(x->watched, gone, state);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

void http_add_header(http_exchange *x, const char *name, const char *value)
{
    REQUIRE(x->num_headers < MOST_HEADERS, "more than %d headers of an answer", MOST_HEADERS);
    header *h = &x->headers[x->num_headers++];
    h->name = memory_check(strdup(name), "a header");
    h->value = memory_check(strdup(value), "a header");
}

static void set_response(http_exchange *x, int code, const char *type, struct MHD_Response *response)
{
    REQUIRE(!x->response, "a request is answered twice");
    x->response = memory_check(response, "an answer");
    x->code = code;
    http_add_header(x, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    for (int i = 0; i < x->num_headers; i++)
        MHD_add_response_header(response, x->headers[i].name, x->headers[i].value);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

void http_answer(http_exchange *x, int code, const char *type, text_buffer *body)
{
    if (!body->text) text_buffer_reserve(body, 1);
    set_response(x, code, type,
                 MHD_create_response_from_buffer((size_t)body->bytes, body->text, MHD_RESPMEM_MUST_FREE));
    *body = (text_buffer){0};
}

/* The connection's thread waits in `next`, so the client has no limit meanwhile; it has one to take the
 * piece. */
static ssize_t read_stream(void *state, uint64_t position, char *out, size_t most)
{
    (void)position;
    http_exchange *x = state;
    if (x->sent == x->piece.bytes) {
        x->sent = x->piece.bytes = 0;
        watch_limit(x->watched, 0);
        const bool more = x->stream.next(x->stream.state, &x->piece);
        watch_limit(x->watched, x->server->settings.timeout);
        if (!more) return MHD_CONTENT_READER_END_OF_STREAM;
    }
    const int64_t left = x->piece.bytes - x->sent, count = left < (int64_t)most ? left : (int64_t)most;
    memcpy(out, x->piece.text + x->sent, (size_t)count);
    x->sent += count;
    return (ssize_t)count;
}

static void end_stream(http_exchange *x)
{
    if (!x->stream.end) return;
    x->stream.end(x->stream.state);
    x->stream.end = NULL;
}

void http_answer_stream(http_exchange *x, const char *type, const http_stream *stream)
{
    x->stream = *stream;
    set_response(x, MHD_HTTP_OK, type,
                 MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, read_stream, x, NULL));
}

/* ---- a request ----------------------------------------------------------------------------------------- */

static enum MHD_Result queue(http_exchange *x)
{
    x->queued = true;
    watch_limit(x->watched, x->server->settings.timeout);
    return MHD_queue_response(x->connection, (unsigned)x->code, x->response);
}

static http_exchange *exchange_new(http_server *server, struct MHD_Connection *connection, const char *method,
                                   const char *path)
{
    http_exchange *x = memory_new(1, sizeof *x, "a request");
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->server = server, x->connection = connection, x->method = method, x->path = path;
    x->watched = info->socket_context;
    x->began = clock_seconds();
    atomic_fetch_add(&server->exchanges, 1);
    return x;
}

/* Returns the length that the header announces; 0 if none. */
static int64_t announced_bytes(const http_exchange *x)
{
    const char *length = http_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length ? strtoll(length, NULL, 10) : 0;
}

static enum MHD_Result begin(http_exchange *x)
{
    const http_settings *s = &x->server->settings;
    s->admit(s->context, x);
    if (!x->response && announced_bytes(x) > s->max_body) {
        x->too_large = true;
        s->too_large(s->context, x);
    }
    /* A client that waits for permission to send its body is told now; the others read no answer before they
     * have sent all, so their bodies are taken and dropped. */
    const char *expect = http_header(x, MHD_HTTP_HEADER_EXPECT);
    if (x->response && expect && !strcasecmp(expect, "100-continue")) return queue(x);
    return MHD_YES;
}

static void collect(http_exchange *x, const char *data, int64_t bytes)
{
    const http_settings *s = &x->server->settings;
    if (x->response) return;
    if (x->body.bytes + bytes > s->max_body) { /* sent in chunks, so nothing was announced */
        x->too_large = true;
        s->too_large(s->context, x);
        return;
    }
    text_buffer_append(&x->body, data, bytes);
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *data, size_t *bytes,
                              void **state)
{
    (void)version;
    http_server *server = context;
    http_exchange *x = *state;
    if (!x) {
        *state = x = exchange_new(server, connection, method, path);
        return begin(x);
    }
    if (x->queued) return MHD_YES;
    if (*bytes) {
        collect(x, data, (int64_t)*bytes);
        *bytes = 0;
        return MHD_YES;
    }
    watch_limit(x->watched, 0);
    if (!x->response) server->settings.handle(server->settings.context, x);
    REQUIRE(x->response, "%s %s was not answered", method, path);
    return queue(x);
}

static void completed(void *context, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode how)
{
    (void)context, (void)connection, (void)how;
    http_exchange *x = *state;
    if (!x) return;
    watch_gone(x->watched, NULL, NULL);
    end_stream(x);
    if (x->response) MHD_destroy_response(x->response);
    watch_limit(x->watched, x->server->settings.timeout); /* for the next request */
    for (int i = 0; i < x->num_headers; i++) free(x->headers[i].name), free(x->headers[i].value);
    text_buffer_free(&x->body);
    text_buffer_free(&x->piece);
    atomic_fetch_sub(&x->server->exchanges, 1);
    free(x);
    *state = NULL;
}

static void connected(void *context, struct MHD_Connection *connection, void **socket_context,
                      enum MHD_ConnectionNotificationCode what)
{
    http_server *server = context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        watch_remove(*socket_context);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = watch_add(server->watch, info->connect_fd);
    watch_limit(*socket_context, server->settings.timeout);
}

/* ---- listening ----------------------------------------------------------------------------------------- */

static status bind_to(const struct addrinfo *a, int *fd, const char *host, int port, message *why)
{
    const int on = 1;
    *fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (*fd >= 0 && setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(*fd, a->ai_addr, a->ai_addrlen) == 0)
        return OK;
    const status failed =
        fail(why, ERR_INPUT, "cannot listen on %.200s, port %d: %m (serve.host, serve.port)", host, port);
    if (*fd >= 0) close(*fd);
    return failed;
}

status http_bind(const char *host, int port, int *fd, int *bound, message *why)
{
    char number[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list;
    snprintf(number, sizeof number, "%d", port);
    const int error = getaddrinfo(host, number, &hints, &list);
    if (error)
        return fail(why, ERR_INPUT, "serve.host=%.200s is no address of this machine: %s", host,
                    gai_strerror(error));
    const status result = bind_to(list, fd, host, port, why);
    freeaddrinfo(list);
    TRY(result);
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof address;
    getsockname(*fd, (struct sockaddr *)&address, &bytes);
    *bound = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                 : ((struct sockaddr_in *)&address)->sin_port);
    return OK;
}

status http_start(http_server **server, const http_settings *settings, message *why)
{
    http_server *x = memory_new(1, sizeof *x, "a server");
    x->settings = *settings;
    x->watch = watch_start();
    if (listen(settings->fd, BACKLOG) == 0)
        x->daemon = MHD_start_daemon(
            MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0,
            NULL, NULL, answer, x, MHD_OPTION_LISTEN_SOCKET, settings->fd, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned)settings->connections, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
            MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, connected, x,
            MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (x->daemon) {
        *server = x;
        return OK;
    }
    close(settings->fd);
    watch_stop(x->watch);
    free(x);
    return fail(why, ERR_DEVICE, "the server does not start: %m");
}

void http_stop(http_server *server, double seconds)
{
    const int fd = MHD_quiesce_daemon(server->daemon);
    if (fd >= 0) close(fd);
    const double deadline = clock_seconds() + seconds;
    while (atomic_load(&server->exchanges) && clock_seconds() < deadline)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    MHD_stop_daemon(server->daemon);
    watch_stop(server->watch);
    free(server);
}
