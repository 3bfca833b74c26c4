/* Four ranks load what any number of ranks has written. */
#include "tests/train/load_trial.h"

int main(void) { return load_trial(4); }
