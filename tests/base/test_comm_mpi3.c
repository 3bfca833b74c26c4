/* The same with three ranks: a tree that is not full. */
#include "tests/base/test_comm_mpi2.c"
