/* Two ranks; the tests are in comm_ranks.h. */
#define RANKS 2
#include "tests/base/comm_ranks.h"
