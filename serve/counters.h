/* Counts what the server does, and prints it for Prometheus (its exposition format 0.0.4). Any thread may
 * call. */
#ifndef REMLA_SERVE_COUNTERS_H
#define REMLA_SERVE_COUNTERS_H
#include "generate/engine.h"

typedef struct counters counters;

counters *counters_new(void);
void counters_free(counters *m);

/* A request was answered. route: a path of the table of routes, a string literal. */
void counters_answered(counters *m, const char *route, int code, double seconds);
/* A choice has ended: an event FINISHED of an engine. */
void counters_finished(counters *m, const engine_event *event);

/* Appends everything. statistics: of each model, by name. */
void counters_print(counters *m, const char *const *name, const engine_statistics *statistics, int models,
                    text_buffer *out);

#endif
