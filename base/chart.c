/* Draws a chart as SVG text: axes with round numbers at the ticks, one path per line. A value that is not
 * finite interrupts its path. The text is made in memory and written as one file. */
#include "base/chart.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 720, HEIGHT = 360, LEFT = 56, RIGHT = 16, TOP = 36, BOTTOM = 44, TICKS = 5 };

/* Colours that colour-blind readers can tell apart (Okabe and Ito 2008). */
static const char *const colours[] = {"#d55e00", "#0072b2", "#009e73", "#cc79a7"};

typedef struct frame {
    double x0, x1, y1; /* y0 is 0 */
} frame;

static double across(const frame *f, double x)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (f->x1 > f->x0 ? (x - f->x0) / (f->x1 - f->x0) : 0.5);
}
static double down(const frame *f, double y) { return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / f->y1; }

/* The least of 1, 2, 5, 10, ... that is not below `x`. */
static double round_up(double x)
{
    const double unit = pow(10, floor(log10(x)));
    for (int i = 0; i < 3; i++) {
        static const double steps[] = {1, 2, 5};
        if (steps[i] * unit >= x) return steps[i] * unit;
    }
    return 10 * unit;
}

static frame frame_of(const chart *c)
{
    frame f = {.x0 = c->points ? c->x[0] : 0, .x1 = c->points ? c->x[c->points - 1] : 1};
    double top = 0;
    for (int l = 0; l < c->lines; l++)
        for (int64_t i = 0; i < c->points; i++)
            if (isfinite(c->line[l].y[i])) top = fmax(top, c->line[l].y[i]);
    f.y1 = TICKS * round_up(top > 0 ? top / TICKS : 1);
    return f;
}

static void draw_axes(FILE *out, const chart *c, const frame *f)
{
    fprintf(out, "<text x=\"%d\" y=\"20\" font-size=\"14\">%s</text>\n", LEFT, c->title);
    for (int i = 0; i <= TICKS; i++) {
        const double y = f->y1 * i / TICKS;
        fprintf(out,
                "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" "
                "text-anchor=\"end\">%g</text>\n",
                LEFT, down(f, y), WIDTH - RIGHT, LEFT - 6, down(f, y) + 4, y);
    }
    const double step = round_up(fmax((f->x1 - f->x0) / 10, 1e-9));
    for (double x = ceil(f->x0 / step) * step; x <= f->x1; x += step)
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", across(f, x),
                HEIGHT - BOTTOM + 16, x);
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 8, c->x_name);
}

static void draw_line(FILE *out, const chart *c, int l, const frame *f)
{
    bool pen_down = false;
    fprintf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colours[l]);
    for (int64_t i = 0; i < c->points; i++) {
        const double y = c->line[l].y[i];
        if (isfinite(y)) fprintf(out, "%c%.1f %.1f", pen_down ? 'L' : 'M', across(f, c->x[i]), down(f, y));
        pen_down = isfinite(y);
    }
    fprintf(out, "\"/>\n<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"%s\">%s</text>\n",
            WIDTH - RIGHT - 4, TOP + 14 + 16 * l, colours[l], c->line[l].name);
}

status chart_write(const chart *c, const char *path, message *why)
{
    REQUIRE(c->lines <= (int)(sizeof colours / sizeof *colours), "%d lines in one chart", c->lines);
    char *text;
    size_t bytes;
    FILE *out = memory_check(open_memstream(&text, &bytes), "a chart");
    const frame f = frame_of(c);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
            "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT);
    draw_axes(out, c, &f);
    for (int l = 0; l < c->lines; l++) draw_line(out, c, l, &f);
    fputs("</svg>\n", out);
    if (fclose(out)) memory_failed("a chart");
    const status s = file_write(path, text, (int64_t)bytes, NULL, why);
    free(text);
    return s;
}
