/* Ranks over MPI, host memory. */
#include "base/comm_calls.h"
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

static void checked(int code, const char *call)
{
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    die(ERR_DEVICE, "%s: %.*s", call, length, text);
}
#define MPI_OK(call) checked(call, #call)

enum { CHUNK_BYTES = 1 << 30, SUM_CHUNK = 1 << 18 }; /* MPI counts are int; 1 MiB of floats stays in cache while it is added */

static void barrier(void) { MPI_OK(MPI_Barrier(MPI_COMM_WORLD)); }

static void broadcast(void *bytes, int64_t count, int root)
{
    for (int64_t done = 0; done < count; done += CHUNK_BYTES) {
        const int n = (int)(count - done < CHUNK_BYTES ? count - done : CHUNK_BYTES);
        MPI_OK(MPI_Bcast((char *)bytes + done, n, MPI_BYTE, root, MPI_COMM_WORLD));
    }
}

static void max_i64(int64_t *values, int64_t count)
{
    REQUIRE(count <= INT_MAX, "%lld values", (long long)count);
    MPI_OK(MPI_Allreduce(MPI_IN_PLACE, values, (int)count, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD));
}

/* Counts beyond int go through a type of 4 KiB blocks; the rest of each part, which is smaller than a block, follows on its own. */
static void all_gather(void *all, const void *part, int64_t bytes)
{
    int rank, size;
    MPI_OK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    MPI_OK(MPI_Comm_size(MPI_COMM_WORLD, &size));
    char *own = (char *)all + rank * bytes;
    if (part != own) memmove(own, part, (size_t)bytes);
    if (bytes <= INT_MAX) {
        MPI_OK(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD));
        return;
    }
    for (int root = 0; root < size; root++) broadcast((char *)all + root * bytes, bytes, root);
}

/* sum = sum + part, elementwise. */
static void add(float *restrict sum, const float *restrict part, int64_t n)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; i++) sum[i] += part[i];
}

/* Pairwise exchange in chunks: every rank sends each other rank the chunk of that rank's shard and receives theirs of its own, into two sets of
 * buffers, so that the next chunk travels while this one is added up in rank order. */
typedef struct exchange {
    MPI_Request *request; /* 2*size */
    float *received;      /* (size, SUM_CHUNK) */
    int64_t from, n;
} exchange;

static void exchange_start(exchange *x, const comm *c, const float *full, int64_t shard, int64_t from)
{
    x->from = from;
    x->n = shard - from < SUM_CHUNK ? shard - from : SUM_CHUNK;
    for (int step = 0; step < c->size; step++) {
        const int to = (c->rank + step) % c->size, source = (c->rank - step + c->size) % c->size;
        x->request[2 * step] = x->request[2 * step + 1] = MPI_REQUEST_NULL;
        if (step == 0) continue; /* itself */
        MPI_OK(MPI_Irecv(x->received + (int64_t)source * SUM_CHUNK, (int)x->n, MPI_FLOAT, source, 0, MPI_COMM_WORLD, &x->request[2 * step]));
        MPI_OK(MPI_Isend(full + to * shard + from, (int)x->n, MPI_FLOAT, to, 0, MPI_COMM_WORLD, &x->request[2 * step + 1]));
    }
}

static void exchange_finish(exchange *x, const comm *c, float *full, int64_t shard, float *out)
{
    MPI_OK(MPI_Waitall(2 * c->size, x->request, MPI_STATUSES_IGNORE));
    float *own = full + c->rank * shard + x->from;
    /* The sum starts with rank 0's part, whoever we are: the bits must not depend on the rank that adds. */
    memcpy(x->received + (int64_t)c->rank * SUM_CHUNK, own, sizeof(float) * (size_t)x->n);
    for (int r = 1; r < c->size; r++) add(x->received, x->received + (int64_t)r * SUM_CHUNK, x->n);
    memcpy(out + x->from, x->received, sizeof(float) * (size_t)x->n);
}

static void reduce_scatter_f32(const comm *c, float *out, float *full, int64_t shard)
{
    exchange pair[2];
    for (int i = 0; i < 2; i++) {
        pair[i].request = malloc(sizeof(MPI_Request) * (size_t)(2 * c->size));
        pair[i].received = malloc(sizeof(float) * (size_t)c->size * SUM_CHUNK);
        if (!pair[i].request || !pair[i].received) die(ERR_DEVICE, "no memory to exchange gradients");
    }
    int now = 0;
    if (shard > 0) exchange_start(&pair[0], c, full, shard, 0);
    for (int64_t from = 0; from < shard; from += SUM_CHUNK, now ^= 1) {
        if (from + SUM_CHUNK < shard) exchange_start(&pair[now ^ 1], c, full, shard, from + SUM_CHUNK);
        exchange_finish(&pair[now], c, full, shard, out);
    }
    for (int i = 0; i < 2; i++) {
        free(pair[i].request);
        free(pair[i].received);
    }
}

static void abort_job(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

/* A launcher leaves one of these in the environment; without it MPI is not started, so that a program run alone needs no working MPI. */
static int launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_SIZE") || getenv("PMI_RANK") || getenv("PMIX_RANK");
}

const comm *comm_mpi_start(void)
{
    static const struct comm_calls calls = {.barrier = barrier, .broadcast = broadcast, .all_gather = all_gather, .max_i64 = max_i64, .reduce_scatter_f32 = reduce_scatter_f32};
    static comm world;
    if (!launched()) return NULL;
    int provided;
    MPI_OK(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    MPI_OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_Comm host;
    MPI_OK(MPI_Comm_rank(MPI_COMM_WORLD, &world.rank));
    MPI_OK(MPI_Comm_size(MPI_COMM_WORLD, &world.size));
    MPI_OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world.rank, MPI_INFO_NULL, &host));
    MPI_OK(MPI_Comm_rank(host, &world.local_rank));
    MPI_OK(MPI_Comm_size(host, &world.local_size));
    MPI_OK(MPI_Comm_free(&host));
    world.calls = &calls;
    die_hook(world.rank, abort_job);
    return &world;
}

void comm_mpi_stop(void) { MPI_OK(MPI_Finalize()); }
