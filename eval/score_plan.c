/* Makes the plan of a run: which requests are this rank's, the tree of their tokens, the goals of its nodes,
 * and what a decoder needs for it. */
#include "base/memory.h"
#include "eval/score_parts.h"
#include <stdlib.h>

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
        path[i] = (booking){before.pages + node_pages(n), before.sequences + 1};
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
