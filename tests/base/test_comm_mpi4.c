/* The same with four ranks: sums of more than two numbers have an order. */
#include "tests/base/test_comm_mpi2.c"
