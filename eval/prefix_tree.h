/* Finds what token sequences have in common. Every node is a run of tokens; the sequences below it begin with
 * the tokens of the nodes above it, and with its own. So each token that several sequences begin with is in
 * the tree once. */
#ifndef REMLA_EVAL_PREFIX_TREE_H
#define REMLA_EVAL_PREFIX_TREE_H
#include <stdint.h>

typedef struct sequence {
    const int32_t *tokens; /* borrowed */
    int64_t count;         /* 1 at least */
} sequence;

/* The sequences in lexicographic order, as indices of `s`; equal ones by index. The caller frees. */
int64_t *sequences_sort(const sequence *s, int64_t count);
/* Returns how many tokens both begin with. */
int64_t sequences_common(const sequence *a, const sequence *b);

typedef struct prefix_node {
    int64_t parent;        /* -1: none */
    int64_t from, to;      /* positions of its tokens, the first of which follows the parent's last */
    const int32_t *tokens; /* of a whole sequence: the node's are tokens[from..to-1] */
    int64_t children, end; /* the nodes below it are node+1 to end-1: the first child is node+1, the next one
                              where the first one ends */
} prefix_node;

typedef struct prefix_tree {
    prefix_node *node; /* parents before children, sequences in sorted order: the order of a walk in depth */
    int64_t count, capacity;
    int64_t *end; /* (sequences) by index of `s`: the node with the last token; -1 where not in `order` */
} prefix_tree;

/* A tree of the sequences order[0..ordered), a part of what sequences_sort gives; `count` are all. */
void prefix_tree_init(prefix_tree *t, const sequence *s, int64_t count, const int64_t *order,
                      int64_t ordered);
void prefix_tree_free(prefix_tree *t);

#endif
