/* Two ranks: there is no majority, so both are named. */
#include "tests/train/rank_check_trial.h"

int main(void) { return trial_main(2); }
