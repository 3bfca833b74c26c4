/* Private to eval/score*.c: what a run of scores works on.
 *
 * The requests' tokens are a tree (eval/prefix_tree.h). The tokens whose log-probability a row's hidden state
 * gives are its goals; they belong to the node of the row.
 *
 *     ... the question: | which is a metal?   | iron
 *                       |                     | wood
 *                       | what melts?         | ice
 *
 * Here every run of tokens between bars is a node. The goal "wood" belongs to the row of "?", in the node of
 * the context; a choice of one token has no row of its own. */
#ifndef REMLA_EVAL_SCORE_PARTS_H
#define REMLA_EVAL_SCORE_PARTS_H
#include "eval/prefix_tree.h"
#include "eval/score.h"

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

/* Pages that a node takes beside those of the nodes above it, with the copy of one that they fill in part. */
static inline int64_t node_pages(const prefix_node *n)
{
    return decoder_pages_of(n->to) - n->from / DECODER_PAGE;
}

#endif
