/* Private to model/convert/: what a method of conversion tells the driver (layerwise.c). */
#ifndef REMLA_MODEL_CONVERT_STRATEGY_H
#define REMLA_MODEL_CONVERT_STRATEGY_H
#include "model/convert/work.h"

/* One walk through all layers of the original, in which streams go through the layers side by side. */
typedef struct layers_pass {
    const char *name; /* on the terminal */
    bool writes; /* the layer that w->target has after `layer` is the result's, rounded to what is written */
    void (*begin)(conversion_work *w); /* opens the streams; the driver embeds them */
    /* Makes a layer, and sends the streams through. w->source and g are the original's. Collective, as is
     * `end`. */
    status (*layer)(conversion_work *w, int64_t layer, const gqa_layer *g, message *why);
    status (*end)(conversion_work *w, message *why); /* the streams have their losses */
} layers_pass;

typedef struct conversion_strategy {
    bool reports_layers; /* fills w->report->layer */
    status (*text_check)(const layers_job *j, message *why);
    void (*open)(conversion_work *w); /* sets w->state */
    void (*close)(conversion_work *w);
    const layers_pass *(*next)(conversion_work *w); /* the pass to run; NULL when the result is written */
} conversion_strategy;

extern const conversion_strategy strategy_remla;    /* remla.c */
extern const conversion_strategy strategy_transmla; /* transmla.c */

#endif
