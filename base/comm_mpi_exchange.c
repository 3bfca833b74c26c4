/* The calls between ranks. Those that move much data are written here on point-to-point messages instead of
 * MPI's collectives, for four reasons: sums run in our order whatever algorithm the library would pick,
 * memory is bounded, no count exceeds MPI's int, and it is known who is late.
 *
 * reduce_scatter cuts every rank's shard into chunks. For one chunk with 3 ranks, seen by rank 1:
 *
 *     rank 0 --- its part of shard 1 --->  received[0]
 *     own memory, nothing is sent          part[1]       out = part[0] + part[1] + part[2]
 *     rank 2 --- its part of shard 1 --->  received[2]
 *
 * and rank 1 sends the same chunk of shards 0 and 2 to their owners. Two exchanges alternate: while one is
 * added up, the messages of the next chunk travel. Each part crosses the network once per receiver, which is
 * the minimum. */
#include "base/comm_mpi.h"
#include "base/comm_sums.h"
#include "base/memory.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES = 1 << 30 };

/* The messages of one piece of a call. */
typedef struct exchange {
    MPI_Request *request; /* (2*size): [2r] from rank r, [2r+1] to it; MPI_REQUEST_NULL: none */
    char *buffer;         /* (size, chunk) floats, for what others send; or twice as many halves, the second
                             part of them for what this rank sends, rounded */
    const void **part;    /* (size): each rank's contribution */
    int64_t from, n;      /* which elements */
} exchange;

static exchange exchanges[2];
static int64_t chunk; /* floats */
static int rank, size;
static double delay; /* seconds */
static _Atomic int64_t sent_bytes;

/* Chooses the chunk and allocates. 256 KiB a message is enough for full speed; with many ranks it shrinks to
 * 64 KiB, so that 256 ranks need no more than 32 MiB. */
void comm_mpi_exchange_start(const comm *world)
{
    enum { MOST = 1 << 16, LEAST = 1 << 14, ALL = 1 << 22 };
    rank = world->rank;
    size = world->size;
    chunk = ALL / size > MOST ? MOST : ALL / size < LEAST ? LEAST : ALL / size;
    for (exchange *x = exchanges; x < exchanges + 2; x++) {
        x->request = memory_new(2 * size, sizeof *x->request, "the exchange of gradients");
        x->buffer = memory_new(size * chunk, sizeof(float), "the exchange of gradients");
        x->part = memory_new(size, sizeof *x->part, "the exchange of gradients");
        for (int i = 0; i < 2 * size; i++) x->request[i] = MPI_REQUEST_NULL;
    }
    delay = comm_delay();
}

void comm_mpi_exchange_stop(void)
{
    for (exchange *x = exchanges; x < exchanges + 2; x++) {
        free(x->request);
        free(x->buffer);
        free(x->part);
        *x = (exchange){0};
    }
}

int64_t comm_mpi_bytes_sent(const comm *c)
{
    (void)c;
    return sent_bytes;
}

/* ---- pieces ------------------------------------------------------------------------------------------- */

static void receive(exchange *x, int source, void *to, int64_t bytes)
{
    MPI_OK(MPI_Irecv(to, (int)bytes, MPI_BYTE, source, 0, MPI_COMM_WORLD, &x->request[2 * source]));
}

static void send(exchange *x, int to, const void *from, int64_t bytes)
{
    MPI_OK(MPI_Isend(from, (int)bytes, MPI_BYTE, to, 0, MPI_COMM_WORLD, &x->request[2 * to + 1]));
    sent_bytes += bytes;
}

/* The ranks in an order in which not all send to the same one first: `step` places on, or back. */
static int onward(int step) { return (rank + step) % size; }
static int back(int step) { return (rank - step + size) % size; }

typedef void piece_work(exchange *x, const comm_mpi_call *k, int64_t piece);

/* Does pieces 0..count-1 of a call: while one is finished, the next one's messages travel. */
static void in_pieces(const comm_mpi_call *k, int64_t count, piece_work *start, piece_work *finish)
{
    if (count > 0) start(&exchanges[0], k, 0);
    for (int64_t i = 0; i < count; i++) {
        exchange *const x = &exchanges[i % 2];
        if (i + 1 < count) start(&exchanges[(i + 1) % 2], k, i + 1);
        comm_mpi_wait_ranks(x->request);
        finish(x, k, i);
    }
}

static int64_t pieces_of(int64_t count, int64_t piece) { return (count + piece - 1) / piece; }

static void cut(exchange *x, int64_t count, int64_t length, int64_t piece)
{
    x->from = piece * length;
    x->n = count - x->from < length ? count - x->from : length;
}

/* ---- reduce_scatter ----------------------------------------------------------------------------------- */

static void shard_start(exchange *x, const comm_mpi_call *k, int64_t piece)
{
    const bool halves = k->how.sent == BF16;
    const int64_t item = dtype_bytes(k->how.sent);
    uint16_t *const rounded = (uint16_t *)(void *)x->buffer + size * chunk;
    cut(x, k->count, chunk, piece);
    for (int step = 1; step < size; step++) {
        char *const theirs = x->buffer + back(step) * chunk * item;
        x->part[back(step)] = theirs;
        receive(x, back(step), theirs, x->n * item);
    }
    for (int step = 0; step < size; step++) {
        const int to = onward(step);
        const float *const full = (const float *)k->inp + to * k->count + x->from;
        uint16_t *const half = rounded + to * chunk;
        if (halves) comm_sums_round(half, full, x->n);
        const void *const part = halves ? (const void *)half : full;
        if (step == 0)
            x->part[rank] = part;
        else
            send(x, to, part, x->n * item);
    }
}

static void shard_finish(exchange *x, const comm_mpi_call *k, int64_t piece)
{
    (void)piece;
    comm_sums_f32((float *)k->out + x->from, x->part, size, x->n, &k->how);
}

static void reduce_scatter(const comm_mpi_call *k)
{
    comm_mpi_pause(delay);
    in_pieces(k, pieces_of(k->count, chunk), shard_start, shard_finish);
}

void comm_mpi_reduce_scatter(const comm *c, float *out, float *full, int64_t shard, const reduction *how)
{
    (void)c;
    comm_mpi_queue((comm_mpi_call){.name = "reduce_scatter",
                                   .run = reduce_scatter,
                                   .out = out,
                                   .inp = full,
                                   .count = shard,
                                   .how = *how,
                                   .timed = true});
}

/* ---- sum_f64: everybody sends all to all, and adds ---------------------------------------------------- */

static int64_t doubles(void) { return chunk / 2; }

static void values_start(exchange *x, const comm_mpi_call *k, int64_t piece)
{
    cut(x, k->count, doubles(), piece);
    double *const own = (double *)k->out + x->from, *const received = (double *)(void *)x->buffer;
    const int64_t bytes = x->n * (int64_t)sizeof *own;
    x->part[rank] = own;
    for (int step = 1; step < size; step++) {
        double *const theirs = received + back(step) * doubles();
        x->part[back(step)] = theirs;
        receive(x, back(step), theirs, bytes);
        send(x, onward(step), own, bytes);
    }
}

static void values_finish(exchange *x, const comm_mpi_call *k, int64_t piece)
{
    (void)piece;
    double *const out = (double *)k->out + x->from;
    for (int64_t i = 0; i < x->n; i++) {
        double sum = ((const double *)x->part[0])[i];
        for (int r = 1; r < size; r++) sum += ((const double *)x->part[r])[i];
        out[i] = sum;
    }
}

static void sum_f64(const comm_mpi_call *k)
{
    in_pieces(k, pieces_of(k->count, doubles()), values_start, values_finish);
}

void comm_mpi_sum_f64(const comm *c, double *values, int64_t count)
{
    (void)c;
    comm_mpi_queue(
        (comm_mpi_call){.name = "sum_f64", .run = sum_f64, .out = values, .count = count, .timed = true});
}

/* ---- all_gather --------------------------------------------------------------------------------------- */

enum { PART_BYTES = 1 << 24 };

/* All at once, not rank after rank: then those that are late are those whose own messages are missing. */
static void part_start(exchange *x, const comm_mpi_call *k, int64_t piece)
{
    char *const all = (char *)k->out;
    cut(x, k->count, PART_BYTES, piece);
    for (int step = 1; step < size; step++) {
        receive(x, back(step), all + back(step) * k->count + x->from, x->n);
        send(x, onward(step), all + rank * k->count + x->from, x->n);
    }
}

static void part_finish(exchange *x, const comm_mpi_call *k, int64_t piece) { (void)x, (void)k, (void)piece; }

static void all_gather(const comm_mpi_call *k)
{
    char *const own = (char *)k->out + rank * k->count;
    comm_mpi_pause(delay);
    if (k->inp != own) memcpy(own, k->inp, (size_t)k->count);
    in_pieces(k, pieces_of(k->count, PART_BYTES), part_start, part_finish);
}

void comm_mpi_all_gather(const comm *c, void *all, const void *part, int64_t bytes)
{
    (void)c;
    comm_mpi_queue((comm_mpi_call){
        .name = "all_gather", .run = all_gather, .out = all, .inp = part, .count = bytes, .timed = true});
}

/* ---- MPI's own collectives, for little data ------------------------------------------------------------ */

/* Elements of a piece, of so many at most. */
static int piece_of(const comm_mpi_call *k, int64_t most, int64_t piece)
{
    const int64_t left = k->count - piece * most;
    return (int)(left < most ? left : most);
}

static void broadcast(const comm_mpi_call *k, int64_t piece, MPI_Request *request)
{
    MPI_OK(MPI_Ibcast((char *)k->out + piece * MESSAGE_BYTES, piece_of(k, MESSAGE_BYTES, piece), MPI_BYTE,
                      k->root, MPI_COMM_WORLD, request));
}

enum { MESSAGE_VALUES = MESSAGE_BYTES / 8 };

static void max_i64(const comm_mpi_call *k, int64_t piece, MPI_Request *request)
{
    MPI_OK(MPI_Iallreduce(MPI_IN_PLACE, (int64_t *)k->out + piece * MESSAGE_VALUES,
                          piece_of(k, MESSAGE_VALUES, piece), MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD, request));
}

void comm_mpi_broadcast(const comm *c, void *bytes, int64_t count, int root)
{
    (void)c;
    comm_mpi_now((comm_mpi_call){.name = "broadcast",
                                 .start = broadcast,
                                 .pieces = pieces_of(count, MESSAGE_BYTES),
                                 .out = bytes,
                                 .count = count,
                                 .root = root});
}

void comm_mpi_max_i64(const comm *c, int64_t *values, int64_t count)
{
    (void)c;
    comm_mpi_now((comm_mpi_call){.name = "max_i64",
                                 .start = max_i64,
                                 .pieces = pieces_of(count, MESSAGE_VALUES),
                                 .out = values,
                                 .count = count});
}
