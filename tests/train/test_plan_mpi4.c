/* The same with four ranks. */
#include "tests/train/test_plan_mpi2.c"
