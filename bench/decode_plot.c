/* decode_plot CSV STEM: draws what bench/decode has measured over the length of sequences, as
 * STEM-smollm2.svg (tokens a second, as it is and converted) and STEM-llama2-7b.svg (gains of the conversions
 * of a layer), of 16 sequences each. */
#include "base/chart.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POINTS = 6, LINES = 4, CHARTS = 2, BATCH = 16 };
static const double lengths[POINTS] = {1024, 2048, 4096, 8192, 16384, 32768};
static const struct {
    const char *stem, *title;
    bool gain; /* the original's time / this one's, else tokens a second */
    int lines;
    struct {
        const char *model, *cache, *name;
    } line[LINES];
} charts[CHARTS] = {
    {"smollm2",
     "SmolLM2-135M, 16 sequences: tokens a second",
     false,
     4,
     {{"smollm2-gqa", "f32", "GQA, cache in f32"},
      {"smollm2-gqa", "bf16", "GQA, bf16"},
      {"smollm2-mla-128", "f32", "MLA, f32"},
      {"smollm2-mla-128", "bf16", "MLA, bf16"}}},
    {"llama2-7b",
     "a layer of Llama-2-7B, 16 sequences, cache in bf16: speed over the original's",
     true,
     3,
     {{"llama2-7b-mla-576", "bf16", "576 numbers a token"},
      {"llama2-7b-mla-1024", "bf16", "1024"},
      {"llama2-7b-mla-2560", "bf16", "2560 of 8192"}}},
};

typedef struct curves {
    double y[CHARTS][LINES][POINTS];
} curves;

static void add_row(curves *all, const char *model, const char *cache, double length, double speed,
                    double gain)
{
    for (int c = 0; c < CHARTS; c++)
        for (int l = 0; l < charts[c].lines; l++)
            for (int p = 0; p < POINTS; p++)
                if (!strcmp(model, charts[c].line[l].model) && !strcmp(cache, charts[c].line[l].cache) &&
                    length == lengths[p])
                    all->y[c][l][p] = charts[c].gain ? gain : speed;
}

static void read_rows(curves *all, FILE *in)
{
    char line[1024], model[64], cache[16];
    double batch, length, speed;
    while (fgets(line, sizeof line, in)) {
        double gain = (double)NAN; /* has no number where the original did not fit in memory */
        const int found = sscanf(line, "%63[^,],%*f,%15[^,],%lf,%lf,%lf,%*f,%*f,%*f,%*f,%*f,%*f,%*f,%lf",
                                 model, cache, &batch, &length, &speed, &gain);
        if (found >= 5 && batch == BATCH) add_row(all, model, cache, length, speed, gain);
    }
}

static status draw(const curves *all, int c, const char *path, message *why)
{
    chart_line line[LINES];
    for (int l = 0; l < charts[c].lines; l++) line[l] = (chart_line){charts[c].line[l].name, all->y[c][l]};
    const chart drawn = {.title = charts[c].title,
                         .x_name = "tokens of a sequence",
                         .x = lengths,
                         .points = POINTS,
                         .line = line,
                         .lines = charts[c].lines};
    return chart_write(&drawn, path, why);
}

int main(int argc, char **argv)
{
    FILE *in = argc == 3 ? fopen(argv[1], "r") : NULL;
    if (!in) {
        fprintf(stderr, "usage: decode_plot CSV STEM\n");
        return 2;
    }
    static curves all;
    for (int i = 0; i < CHARTS * LINES * POINTS; i++) (&all.y[0][0][0])[i] = (double)NAN;
    read_rows(&all, in);
    fclose(in);
    for (int c = 0; c < CHARTS; c++) {
        char path[PATH_BYTES];
        message why;
        snprintf(path, sizeof path, "%s-%s.svg", argv[2], charts[c].stem);
        if (draw(&all, c, path, &why) == OK) continue;
        fprintf(stderr, "decode_plot: %s\n", why.text);
        return 3;
    }
    return 0;
}
