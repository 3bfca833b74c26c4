/* Damerau's distance between two short words (optimal string alignment), by the usual table. */
#include "base/nearest.h"
#include <string.h>

enum { LONGEST = 63 };

static int smaller(int a, int b) { return a < b ? a : b; }

int edit_distance(const char *a, const char *b)
{
    int cost[LONGEST + 1][LONGEST + 1]; /* cost[i][j]: from the first i letters of a to the first j of b */
    const int n = (int)strnlen(a, LONGEST), m = (int)strnlen(b, LONGEST);
    for (int i = 0; i <= n; i++) cost[i][0] = i;
    for (int j = 0; j <= m; j++) cost[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            const int replaced = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            cost[i][j] = smaller(replaced, smaller(cost[i - 1][j], cost[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = smaller(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    return cost[n][m];
}
