/* The same with four ranks: a tree of two levels. */
#include "tests/base/cuda/test_comm_nccl_mpi2.c"
