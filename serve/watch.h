/* Watches the connections of a server from a thread of its own. libmicrohttpd's own limit counts seconds
 * without a byte, so a client that sends a byte now and then would hold its thread forever; and while a
 * handler waits for an answer nobody looks at the socket. */
#ifndef REMLA_SERVE_WATCH_H
#define REMLA_SERVE_WATCH_H

typedef struct watch watch;
typedef struct watched watched; /* a connection */

watch *watch_start(void);
void watch_stop(watch *w); /* all connections must have been removed */

/* A connection with the socket `fd`. */
watched *watch_add(watch *w, int fd);
void watch_remove(watched *c); /* before the socket is closed; frees c */

/* From now on the connection has so many seconds until the next call, then it is shut down; 0: no limit. */
void watch_limit(watched *c, double seconds);
/* Calls `gone` once when the client has closed the connection. NULL ends that; `gone` does not run any more
 * when this returns. */
void watch_gone(watched *c, void (*gone)(void *state), void *state);

#endif
