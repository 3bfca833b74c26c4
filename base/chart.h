/* Line charts as SVG files. */
#ifndef REMLA_BASE_CHART_H
#define REMLA_BASE_CHART_H
#include "base/file.h"

typedef struct chart_line {
    const char *name;
    const double *y; /* (points); values that are not finite are left out */
} chart_line;

typedef struct chart {
    const char *title, *x_name; /* plain text without <, > or & */
    const double *x;            /* (points), rising */
    int64_t points;
    const chart_line *line;
    int lines; /* at most 4 */
} chart;

/* Durable; the vertical axis begins at 0. */
status chart_write(const chart *c, const char *path, message *why);

#endif
