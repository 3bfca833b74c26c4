/* The distance between two names, to suggest the one that a mistyped name was meant to be. */
#ifndef REMLA_BASE_NEAREST_H
#define REMLA_BASE_NEAREST_H

/* Letters to insert, remove, replace or swap with a neighbour to make `b` of `a`. Only the first 63 bytes
 * of each count. */
int edit_distance(const char *a, const char *b);

#endif
