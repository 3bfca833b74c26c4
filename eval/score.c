/* The requests' tokens are a tree (eval/prefix_tree.h), and a pass takes the first nodes, in the order of a
 * walk in depth, whose parents are computed: rest of a context here, choices of the question before there. A
 * node continues a fork of its parent's sequence; its last child takes the sequence over. The tokens
 * whose log-probability a row's hidden state gives are its goals; they belong to the node of the row.
 *
 *     ... the question: | which is a metal?   | iron
 *                       |                     | wood
 *                       | what melts?         | ice
 *
 * Here every run of tokens between bars is a node. The goal "wood" belongs to the row of "?", in the node of
 * the context; a choice of one token has no row of its own.
 *
 * Pages and sequences are booked when a node starts, and free again when nothing below it is left. Nodes may
 * be short of them; but the first path of the walk that is not done never is, since no other node may start
 * unless what is left is enough for the longest path. So the walk ends, in a pool of any size that holds one
 * path. */
#include "eval/score.h"
#include "base/clock.h"
#include "base/memory.h"
#include "eval/prefix_tree.h"
#include <stdlib.h>

/* A token to score at the row of `position`, in its node; its log-probability goes to `slot`. */
typedef struct goal {
    int64_t position, slot;
    int32_t token;
} goal;

typedef struct booking {
    int64_t pages, sequences;
} booking;

struct score_plan {
    const score_request *request;
    int64_t count;
    decoder_settings settings;
    prefix_tree tree;
    booking path;   /* of the longest path */
    goal *goal;     /* by node */
    int64_t *goals; /* (nodes + 1) goals of node n: goals[n] to goals[n+1]-1 */
    int64_t *slot;  /* (count + 1) of a request's first score */
    int64_t tokens; /* of the tree */
    int64_t asked;  /* of all requests */
};

/* ---- the plan ------------------------------------------------------------------------------------------ */

static int64_t pages_of(const prefix_node *n)
{
    return (n->to + DECODER_PAGE - 1) / DECODER_PAGE - n->from / DECODER_PAGE;
}

/* The model reads all tokens but the last. */
static sequence *inputs_of(const score_request *request, int64_t count)
{
    sequence *s = memory_new(count, sizeof *s, "sequences to score");
    for (int64_t i = 0; i < count; i++) {
        REQUIRE(request[i].scored >= 1 && request[i].scored < request[i].count,
                "request %lld: %lld of %lld tokens", (long long)i, (long long)request[i].scored,
                (long long)request[i].count);
        s[i] = (sequence){request[i].tokens, request[i].count - 1};
    }
    return s;
}

/* Cuts the sorted sequences into parts that take equally long, as counted in rows: those of tokens that the
 * sequence before has not, and those of the head. This rank's is [*first, *end). */
static void share(const score_request *request, const sequence *s, const int64_t *order, int64_t count,
                  const comm *c, int64_t *first, int64_t *end)
{
    int64_t *cost = memory_new(count + 1, sizeof *cost, "costs of requests"); /* of those before */
    for (int64_t i = 0; i < count; i++) {
        const int64_t known = i ? sequences_common(&s[order[i - 1]], &s[order[i]]) : 0;
        cost[i + 1] = cost[i] + s[order[i]].count - known + request[order[i]].scored;
    }
    for (*first = 0; *first < count && cost[*first] * c->size < cost[count] * c->rank;) ++*first;
    for (*end = *first; *end < count && cost[*end] * c->size < cost[count] * (c->rank + 1);) ++*end;
    free(cost);
}

/* The walk's goals, in the order of the nodes. */
static void find_goals(score_plan *p)
{
    const prefix_node *node = p->tree.node;
    p->goals = memory_new(p->tree.count + 2, sizeof *p->goals, "goals");
    p->goal = memory_new(p->slot[p->count], sizeof *p->goal, "goals");
    int64_t *next = p->goals + 1; /* counts first, then where a node's next goal goes; in the end, its end */
    for (int filling = 0; filling < 2; filling++) {
        for (int64_t i = 0; i < p->count; i++) {
            const score_request *r = &p->request[i];
            int64_t n = p->tree.end[i];
            for (int64_t at = r->count - 2, left = r->scored; n >= 0 && left > 0; at--, left--) {
                while (at < node[n].from) n = node[n].parent;
                if (filling)
                    p->goal[next[n]++] = (goal){at, p->slot[i] + left - 1, r->tokens[at + 1]};
                else
                    next[n + 1]++;
            }
        }
        for (int64_t n = 0; !filling && n < p->tree.count; n++) next[n + 1] += next[n];
    }
}

static void measure_tree(score_plan *p, int64_t rows)
{
    booking *path = memory_new(p->tree.count, sizeof *path, "paths");
    int64_t longest = 1;
    for (int64_t i = 0; i < p->tree.count; i++) {
        const prefix_node *n = &p->tree.node[i];
        const booking before = n->parent >= 0 ? path[n->parent] : (booking){0};
        path[i] = (booking){before.pages + pages_of(n), before.sequences + 1};
        if (path[i].pages > p->path.pages) p->path.pages = path[i].pages;
        if (path[i].sequences > p->path.sequences) p->path.sequences = path[i].sequences;
        if (n->to > longest) longest = n->to;
        p->tokens += n->to - n->from;
    }
    free(path);
    /* A continuation has about eight tokens: so many of them fill a pass; contexts have more pages. */
    const int64_t beside = rows / 8 + 16;
    p->settings = (decoder_settings){.rows = rows,
                                     .sequences = p->path.sequences + beside,
                                     .positions = (p->path.pages + beside + beside / 2 + 1) * DECODER_PAGE,
                                     .longest = longest,
                                     .cache = F32};
}

score_plan *score_plan_new(const score_request *request, int64_t count, int64_t rows, const comm *c)
{
    score_plan *p = memory_new(1, sizeof *p, "a plan of scores");
    *p = (score_plan){.request = request, .count = count};
    p->slot = memory_new(count + 1, sizeof *p->slot, "places of scores");
    for (int64_t i = 0; i < count; i++) {
        p->slot[i + 1] = p->slot[i] + request[i].scored;
        p->asked += request[i].count - 1;
    }
    sequence *inputs = inputs_of(request, count);
    int64_t *order = sequences_sort(inputs, count), first, end;
    share(request, inputs, order, count, c, &first, &end);
    prefix_tree_init(&p->tree, inputs, count, order + first, end - first);
    free(order);
    free(inputs);
    find_goals(p);
    measure_tree(p, rows);
    return p;
}

void score_plan_free(score_plan *p)
{
    if (!p) return;
    prefix_tree_free(&p->tree);
    free(p->goal);
    free(p->goals);
    free(p->slot);
    free(p);
}

const decoder_settings *score_plan_settings(const score_plan *p) { return &p->settings; }

/* ---- nodes that may start, the first of the walk first: a heap ----------------------------------------- */

typedef struct heap {
    int64_t *node;
    int64_t count;
} heap;

static void heap_swap(heap *h, int64_t i, int64_t j)
{
    const int64_t node = h->node[i];
    h->node[i] = h->node[j];
    h->node[j] = node;
}

static void heap_add(heap *h, int64_t node)
{
    int64_t i = h->count++;
    h->node[i] = node;
    for (; i && h->node[i] < h->node[(i - 1) / 2]; i = (i - 1) / 2) heap_swap(h, i, (i - 1) / 2);
}

static void heap_drop_first(heap *h)
{
    h->node[0] = h->node[--h->count];
    for (int64_t i = 0, child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && h->node[child + 1] < h->node[child]) child++;
        if (h->node[i] <= h->node[child]) break;
        heap_swap(h, i, child);
    }
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

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
    heap ready;
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
        if (node->parent < 0) heap_add(&w->ready, i);
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
    if (w->left.pages - pages_of(&node[n]) >= w->p->path.pages && w->left.sequences > w->p->path.sequences)
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
    w->left.pages -= pages_of(node);
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
        heap_drop_first(&w->ready);
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
        w->left.pages += pages_of(&node[n]);
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
        for (int64_t child = n + 1; child < node[n].end; child = node[child].end) heap_add(&w->ready, child);
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
