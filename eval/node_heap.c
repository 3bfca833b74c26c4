/* A binary heap: every node comes before the two at its children's places. */
#include "eval/node_heap.h"

static void swap(node_heap *h, int64_t i, int64_t j)
{
    const int64_t node = h->node[i];
    h->node[i] = h->node[j];
    h->node[j] = node;
}

void node_heap_add(node_heap *h, int64_t node)
{
    int64_t i = h->count++;
    h->node[i] = node;
    for (; i && h->node[i] < h->node[(i - 1) / 2]; i = (i - 1) / 2) swap(h, i, (i - 1) / 2);
}

void node_heap_drop_first(node_heap *h)
{
    h->node[0] = h->node[--h->count];
    for (int64_t i = 0, child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && h->node[child + 1] < h->node[child]) child++;
        if (h->node[i] <= h->node[child]) break;
        swap(h, i, child);
    }
}
