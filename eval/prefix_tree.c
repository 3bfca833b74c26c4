/* A range of sorted sequences that agree up to some depth agree as far as its first and its last one do: that
 * is a node. Behind it the range falls into runs with the same next token, each a range of its own. */
#include "eval/prefix_tree.h"
#include "base/array.h"
#include "base/memory.h"
#include <stdlib.h>

int64_t sequences_common(const sequence *a, const sequence *b)
{
    const int64_t shorter = a->count < b->count ? a->count : b->count;
    int64_t n = 0;
    while (n < shorter && a->tokens[n] == b->tokens[n]) n++;
    return n;
}

static int compare(const void *a, const void *b, void *sequences)
{
    const sequence *s = sequences;
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    const int64_t n = sequences_common(&s[i], &s[j]);
    if (n < s[i].count && n < s[j].count) return s[i].tokens[n] < s[j].tokens[n] ? -1 : 1;
    if (s[i].count != s[j].count) return s[i].count < s[j].count ? -1 : 1;
    return (i > j) - (i < j);
}

int64_t *sequences_sort(const sequence *s, int64_t count)
{
    int64_t *order = memory_new(count, sizeof *order, "an order of sequences");
    for (int64_t i = 0; i < count; i++) order[i] = i;
    qsort_r(order, (size_t)count, sizeof *order, compare, (void *)s);
    return order;
}

static void add_range(prefix_tree *t, const sequence *s, const int64_t *order, int64_t first, int64_t end,
                      int64_t parent, int64_t depth)
{
    const int64_t to = sequences_common(&s[order[first]], &s[order[end - 1]]);
    int64_t here = parent;
    if (to > depth) {
        t->node = array_reserve(t->node, &t->capacity, t->count + 1, sizeof *t->node);
        here = t->count++;
        t->node[here] =
            (prefix_node){.parent = parent, .from = depth, .to = to, .tokens = s[order[first]].tokens};
        if (parent >= 0) t->node[parent].children++;
    }
    for (; first < end && s[order[first]].count == to; first++) t->end[order[first]] = here;
    while (first < end) {
        int64_t next = first + 1;
        while (next < end && s[order[next]].tokens[to] == s[order[first]].tokens[to]) next++;
        add_range(t, s, order, first, next, here, to);
        first = next;
    }
    if (here != parent) t->node[here].end = t->count;
}

void prefix_tree_init(prefix_tree *t, const sequence *s, int64_t count, const int64_t *order, int64_t ordered)
{
    *t = (prefix_tree){.end = memory_new(count, sizeof *t->end, "the ends of sequences")};
    for (int64_t i = 0; i < count; i++) t->end[i] = -1;
    if (ordered) add_range(t, s, order, 0, ordered, -1, 0);
}

void prefix_tree_free(prefix_tree *t)
{
    free(t->node);
    free(t->end);
    *t = (prefix_tree){0};
}
