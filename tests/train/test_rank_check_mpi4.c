/* Four ranks: the one that has the fault is named. */
#include "tests/train/rank_check_trial.h"

int main(void) { return trial_main(4); }
