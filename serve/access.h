/* Decides who may ask. A server on the loopback address can be reached by every web page that its user
 * visits: a page may send requests to http://127.0.0.1:8000, and a name of its own may be made to lead there
 * (DNS rebinding). The first carries an Origin that is not the server's, the second a Host that is not.
 * Programs send no Origin. */
#ifndef REMLA_SERVE_ACCESS_H
#define REMLA_SERVE_ACCESS_H
#include "base/status.h"
#include <stdbool.h>

typedef struct access_rules {
    const char *host;           /* that the server listens on; if loopback, others are refused as Host */
    const char *key;            /* that requests must bring; NULL or empty: none */
    const char *const *origins; /* further ones that may ask, or "*" */
    int num_origins;
} access_rules;

/* Returns whether only this machine reaches a server that listens on this host. */
bool access_is_loopback(const char *host);

/* Headers of a request; NULL: not sent. */
typedef struct access_headers {
    const char *host, *origin, *authorization;
} access_headers;

/* Returns 0, or the code to answer with and a sentence: 403, or 401 if `needs_key`. */
int access_check(const access_rules *rules, const access_headers *h, bool needs_key, message *why);
/* Returns whether the origin, which may ask, is not the server's own: then the browser wants CORS headers. */
bool access_is_foreign(const access_headers *h);

#endif
