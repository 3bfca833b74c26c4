/* One rank saves, and trains on meanwhile. */
#include "tests/train/save_trial.h"

int main(void) { return save_trial(1); }
