/* recovery_plot CSV STEM: draws what bench/recovery.sh has measured, the means over the orders of the data,
 * as STEM-docs.svg and STEM-other.svg: the loss above the original's over the tokens trained on. */
#include "base/chart.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POINTS = 4, LINES = 4, TEXTS = 2 };
static const double tokens[POINTS] = {0, 8192, 16384, 32768};
static const struct {
    const char *start, *name;
    double rate;
} lines[LINES] = {{"transmla", "TransMLA's start, 1.5e-4", 1.5e-4},
                  {"transmla", "TransMLA's start, 5e-4", 5e-4},
                  {"remla", "start by layers, 1.5e-4", 1.5e-4},
                  {"remla", "start by layers, 5e-4", 5e-4}};

typedef struct means {
    double original[TEXTS], sum[TEXTS][LINES][POINTS];
    int count[LINES][POINTS];
} means;

/* A row without training (rate 0) is the first point of both rates. */
static void add_row(means *m, const char *start, double rate, double at, const double *loss)
{
    if (!strcmp(start, "original")) memcpy(m->original, loss, sizeof m->original);
    for (int l = 0; l < LINES; l++)
        for (int p = 0; p < POINTS; p++) {
            if (strcmp(start, lines[l].start) || at != tokens[p] || (at > 0 && rate != lines[l].rate))
                continue;
            for (int t = 0; t < TEXTS; t++) m->sum[t][l][p] += loss[t];
            m->count[l][p]++;
        }
}

static void read_rows(means *m, FILE *in)
{
    char line[256], start[32];
    double rate, seed, at, loss[TEXTS];
    while (fgets(line, sizeof line, in))
        if (sscanf(line, "%31[a-z],%lf,%lf,%lf,%lf,%lf", start, &rate, &seed, &at, &loss[0], &loss[1]) == 6)
            add_row(m, start, rate, at, loss);
}

static status draw(const means *m, int text, const char *path, message *why)
{
    double above[LINES][POINTS];
    chart_line line[LINES];
    for (int l = 0; l < LINES; l++) {
        for (int p = 0; p < POINTS; p++)
            above[l][p] =
                m->count[l][p] ? m->sum[text][l][p] / m->count[l][p] - m->original[text] : (double)NAN;
        line[l] = (chart_line){lines[l].name, above[l]};
    }
    const chart c = {.title = text ? "loss above the original's, on fortunes"
                                   : "loss above the original's, on documentation",
                     .x_name = "tokens of documentation trained on",
                     .x = tokens,
                     .points = POINTS,
                     .line = line,
                     .lines = LINES};
    return chart_write(&c, path, why);
}

int main(int argc, char **argv)
{
    FILE *in = argc == 3 ? fopen(argv[1], "r") : NULL;
    if (!in) {
        fprintf(stderr, "usage: recovery_plot CSV STEM\n");
        return 2;
    }
    means m = {0};
    read_rows(&m, in);
    fclose(in);
    static const char *const names[TEXTS] = {"docs", "other"};
    for (int text = 0; text < TEXTS; text++) {
        char path[PATH_BYTES];
        message why;
        snprintf(path, sizeof path, "%s-%s.svg", argv[2], names[text]);
        if (draw(&m, text, path, &why) == OK) continue;
        fprintf(stderr, "recovery_plot: %s\n", why.text);
        return 3;
    }
    return 0;
}
