/* What the server counts, as text for Prometheus (its exposition format, version 0.0.4). Any thread may call.
 */
#ifndef REMLA_SERVE_METRICS_H
#define REMLA_SERVE_METRICS_H
#include "generate/engine.h"

typedef struct metrics metrics;

metrics *metrics_new(void);
void metrics_free(metrics *m);

/* A request was answered. route: a path of the table of routes, a string literal. */
void metrics_answered(metrics *m, const char *route, int code, double seconds);
/* A choice has ended: an event FINISHED of an engine. */
void metrics_finished(metrics *m, const engine_event *event);

/* Appends everything. statistics: of each model, by name. */
void metrics_print(metrics *m, const char *const *name, const engine_statistics *statistics, int models,
                   text_buffer *out);

#endif
