/* A pass takes the first nodes of the tree, in the order of a walk in depth, whose parents are computed: rest
 * of a context here, choices of the question before there. A node continues a fork of its parent's sequence;
 * its last child takes the sequence over.
 *
 * Pages and sequences are booked when a node starts, and free again when nothing below it is left. Nodes may
 * be short of them; but the first path of the walk that is not done never is, since no other node may start
 * unless what is left is enough for the longest path. So the walk ends, in a pool of any size that holds one
 * path. */
#include "base/clock.h"
#include "base/memory.h"
#include "eval/node_heap.h"
#include "eval/score_parts.h"
#include <stdlib.h>

typedef struct visit {
    int sequence;
    int64_t done;                  /* of its tokens */
    int64_t unstarted, unfinished; /* children */
    bool finished;                 /* and all below it */
} visit;

/* A part of a node in a pass. */
typedef struct piece {
    int64_t node, from, row; /* the node's position, and the pass's row, of the first token */
} piece;

typedef struct walk {
    const score_plan *p;
    decoder *x;
    visit *at;
    node_heap ready; /* nodes that may start, the first of the walk first */
    booking left;
    int64_t partial; /* the only node that is begun and not complete; -1: none */
    int64_t lane;    /* the first leaf that is not finished */
    int64_t done;    /* tokens */
    span *spans;     /* of a pass */
    piece *pieces;
    int count;
    int64_t rows;
    int32_t *row, *token; /* of its goals */
    int64_t *slot;
    int64_t goals, capacity;
    token_score *score;
    double *logprob; /* by slot */
} walk;

static void walk_init(walk *w, const score_plan *p, decoder *x)
{
    const int64_t n = p->tree.count, s = p->settings.sequences;
    *w = (walk){.p = p, .x = x, .partial = -1, .left = {x->settings.positions / DECODER_PAGE, s}};
    w->at = memory_new(n, sizeof *w->at, "a walk");
    w->ready.node = memory_new(n, sizeof *w->ready.node, "a walk");
    w->spans = memory_new(s, sizeof *w->spans, "a pass");
    w->pieces = memory_new(s, sizeof *w->pieces, "a pass");
    w->logprob = memory_new(p->slot[p->count], sizeof *w->logprob, "scores");
    for (int64_t i = 0; i < n; i++) {
        const prefix_node *node = &p->tree.node[i];
        w->at[i] = (visit){.unstarted = node->children, .unfinished = node->children};
        if (node->parent < 0) node_heap_add(&w->ready, i);
    }
}

static void walk_free(walk *w)
{
    free(w->at);
    free(w->ready.node);
    free(w->spans);
    free(w->pieces);
    free(w->row);
    free(w->token);
    free(w->slot);
    free(w->score);
    free(w->logprob);
}

/* Returns whether there is room for a node, beside the longest path or on the first one. */
static bool may_start(walk *w, int64_t n)
{
    const prefix_node *node = w->p->tree.node;
    if (w->left.pages - node_pages(&node[n]) >= w->p->path.pages && w->left.sequences > w->p->path.sequences)
        return true;
    while (node[w->lane].children || w->at[w->lane].finished) w->lane++;
    return n <= w->lane && w->lane < node[n].end;
}

static void start(walk *w, int64_t n)
{
    const prefix_node *node = &w->p->tree.node[n];
    visit *parent = node->parent < 0 ? NULL : &w->at[node->parent];
    int *s = &w->at[n].sequence;
    if (!parent)
        *s = decoder_open(w->x);
    else if (--parent->unstarted == 0)
        *s = parent->sequence;
    else
        *s = decoder_fork(w->x, parent->sequence, node->from);
    REQUIRE(*s >= 0, "node %lld of %lld: no sequence is left", (long long)n, (long long)w->p->tree.count);
    w->left.pages -= node_pages(node);
    w->left.sequences--;
}

/* Adds as much of a node as fits into the pass. */
static void take(walk *w, int64_t n)
{
    const prefix_node *node = &w->p->tree.node[n];
    visit *at = &w->at[n];
    const int64_t from = node->from + at->done, left = node->to - from, room = w->p->settings.rows - w->rows;
    const int64_t count = left < room ? left : room;
    w->spans[w->count] = (span){.sequence = at->sequence, .tokens = node->tokens + from, .count = count};
    w->pieces[w->count++] = (piece){n, from, w->rows};
    w->rows += count;
    at->done += count;
    w->partial = count < left ? n : -1;
}

static void fill_pass(walk *w)
{
    w->count = 0;
    w->rows = 0;
    if (w->partial >= 0) take(w, w->partial);
    while (w->rows < w->p->settings.rows && w->count < w->p->settings.sequences && w->ready.count &&
           may_start(w, w->ready.node[0])) {
        const int64_t n = w->ready.node[0];
        node_heap_drop_first(&w->ready);
        start(w, n);
        take(w, n);
    }
}

/* The goals of the rows of a pass. */
static void collect_goals(walk *w)
{
    w->goals = 0;
    for (int i = 0; i < w->count; i++) {
        const piece *here = &w->pieces[i];
        const int64_t to = here->from + w->spans[i].count;
        for (int64_t g = w->p->goals[here->node]; g < w->p->goals[here->node + 1]; g++) {
            const goal *wanted = &w->p->goal[g];
            if (wanted->position < here->from || wanted->position >= to) continue;
            if (w->goals == w->capacity) {
                w->capacity = w->capacity ? 2 * w->capacity : 256;
                w->row = memory_check(realloc(w->row, sizeof *w->row * (size_t)w->capacity), "goals");
                w->token = memory_check(realloc(w->token, sizeof *w->token * (size_t)w->capacity), "goals");
                w->slot = memory_check(realloc(w->slot, sizeof *w->slot * (size_t)w->capacity), "goals");
                w->score = memory_check(realloc(w->score, sizeof *w->score * (size_t)w->capacity), "goals");
            }
            w->row[w->goals] = (int32_t)(here->row + wanted->position - here->from);
            w->token[w->goals] = wanted->token;
            w->slot[w->goals++] = wanted->slot;
        }
    }
}

/* The node, and what is above it, when nothing below is left. */
static void finish(walk *w, int64_t n)
{
    const prefix_node *node = w->p->tree.node;
    for (; n >= 0 && w->at[n].unfinished == 0; n = node[n].parent) {
        w->at[n].finished = true;
        w->left.pages += node_pages(&node[n]);
        w->left.sequences++;
        if (node[n].parent >= 0) w->at[node[n].parent].unfinished--;
    }
}

static void end_pass(walk *w)
{
    const prefix_node *node = w->p->tree.node;
    for (int i = 0; i < w->count; i++) {
        const int64_t n = w->pieces[i].node;
        if (n == w->partial) continue;
        for (int64_t child = n + 1; child < node[n].end; child = node[child].end)
            node_heap_add(&w->ready, child);
        if (node[n].children) continue;
        decoder_close(w->x, w->at[n].sequence);
        finish(w, n);
    }
    w->done += w->rows;
}

static void compute_pass(walk *w)
{
    fill_pass(w);
    REQUIRE(w->count > 0 && decoder_forward(w->x, w->spans, w->count),
            "no room in a pool of %lld positions: %lld pages are booked", (long long)w->x->settings.positions,
            (long long)(w->x->settings.positions / DECODER_PAGE - w->left.pages));
    collect_goals(w);
    if (w->goals) decoder_scores(w->x, w->row, w->token, w->goals, w->score);
    for (int64_t i = 0; i < w->goals; i++) w->logprob[w->slot[i]] = w->score[i].logprob;
    end_pass(w);
}

void score_run(const score_plan *p, decoder *x, const comm *c, double *out, score_work *work,
               score_progress *progress, void *context)
{
    const double begin = clock_seconds();
    int64_t passes = 0;
    walk w;
    walk_init(&w, p, x);
    for (; w.done < p->tokens; passes++) {
        compute_pass(&w);
        if (progress) progress(context, w.done, p->tokens);
    }
    for (int64_t i = 0; i < p->count; i++) {
        out[i] = 0;
        if (p->tree.end[i] < 0) continue; /* another rank's */
        for (int64_t slot = p->slot[i]; slot < p->slot[i + 1]; slot++) out[i] += w.logprob[slot];
    }
    walk_free(&w);
    comm_wait(c, comm_sum_f64(c, out, p->count));
    double sums[] = {(double)w.done, (double)passes};
    comm_wait(c, comm_sum_f64(c, sums, 2));
    *work = (score_work){.asked = p->asked,
                         .computed = (int64_t)sums[0],
                         .passes = (int64_t)sums[1],
                         .seconds = clock_seconds() - begin};
}
