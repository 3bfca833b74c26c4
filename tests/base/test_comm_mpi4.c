/* Four ranks; the tests are in comm_ranks.h. */
#define RANKS 4
#include "tests/base/comm_ranks.h"
