/* What somebody who mistyped a name may have meant. */
#ifndef REMLA_TRAIN_OPTIONS_NEAREST_H
#define REMLA_TRAIN_OPTIONS_NEAREST_H

/* Letters to insert, remove, replace or swap with a neighbour to make `b` of `a`. Only the first 63 bytes
 * of each count. */
int edit_distance(const char *a, const char *b);

#endif
