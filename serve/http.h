/* HTTP/1.1 on a socket, by libmicrohttpd: connections, whole bodies, answers and streams. Knows nothing of
 * routes and models. Each connection has a thread of its own, on which the handlers below are called, so they
 * may wait. One more thread watches all connections (serve/watch.h): it closes those that are too slow, and
 * tells a handler that waits when its client has vanished. */
#ifndef REMLA_SERVE_HTTP_H
#define REMLA_SERVE_HTTP_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct http_server http_server;

/* A request and its answer. */
typedef struct http_exchange http_exchange;

typedef struct http_settings {
    int fd;           /* of http_bind; the server closes it */
    int connections;  /* at most, at once; further ones are closed as they come */
    int64_t max_body; /* bytes; a larger body is answered with 413 */
    double timeout;   /* seconds in which a request must arrive whole, and its answer be taken */
    void *context;    /* of the handlers */
    /* The header is there; may answer already, with a refusal. The body is then read and dropped. */
    void (*admit)(void *context, http_exchange *x);
    /* All is there and nothing has been answered: must answer. Not called when the body was too large. */
    void (*handle)(void *context, http_exchange *x);
    void (*too_large)(void *context, http_exchange *x); /* must answer */
} http_settings;

/* Takes an address, at which clients are refused until http_start. port 0: any that is free; *bound: the one
 * that it is. ERR_INPUT: the host is unknown, or the port taken. */
status http_bind(const char *host, int port, int *fd, int *bound, message *why);

/* Answers from now on. Takes settings->fd over, also when it fails. */
status http_start(http_server **server, const http_settings *settings, message *why);
/* Takes no more connections, waits up to so many seconds for the answers that are on their way, then closes
 * all connections and waits for their threads: handlers that wait must have been told to end. */
void http_stop(http_server *server, double seconds);

/* Borrowed until the answer is given. A header that was not sent is NULL. */
const char *http_method(const http_exchange *x);
const char *http_path(const http_exchange *x); /* without the part behind a question mark */
const char *http_header(const http_exchange *x, const char *name);
const char *http_body(const http_exchange *x);
int64_t http_body_bytes(const http_exchange *x);
double http_began(const http_exchange *x);        /* clock_seconds at the header */
void *http_note(const http_exchange *x);          /* what a handler has left at the exchange, or NULL */
void http_set_note(http_exchange *x, void *note); /* borrowed */

/* Adds a header to the answer that follows; both texts are copied. */
void http_add_header(http_exchange *x, const char *name, const char *value);
/* Answers; takes the memory of `body` over and empties it. `type`: of the content. */
void http_answer(http_exchange *x, int code, const char *type, text_buffer *body);

/* Answers with 200 and a body that comes in pieces. `next` appends the next piece, waiting for it, and
 * returns false when there is none any more; `end` is called once, when the stream is over for whatever
 * reason. Both are called on the connection's thread. */
typedef struct http_stream {
    bool (*next)(void *state, text_buffer *out);
    void (*end)(void *state);
    void *state;
} http_stream;
void http_answer_stream(http_exchange *x, const char *type, const http_stream *stream);

/* Has `gone` called, from another thread, when the client closes its connection while the exchange is worked
 * on. It must not wait. NULL ends that: `gone` does not run any more when this returns. */
void http_watch(http_exchange *x, void (*gone)(void *state), void *state);

#endif
