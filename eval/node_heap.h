/* Private to eval/: keeps nodes of a tree, and knows the first of them in the order of their numbers. */
#ifndef REMLA_EVAL_NODE_HEAP_H
#define REMLA_EVAL_NODE_HEAP_H
#include <stdint.h>

typedef struct node_heap {
    int64_t *node; /* (count) node[0] is the first; the caller owns it, with room for all that are added */
    int64_t count;
} node_heap;

void node_heap_add(node_heap *h, int64_t node);
void node_heap_drop_first(node_heap *h);

#endif
