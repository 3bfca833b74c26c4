/* The public face of comm.h, and the communicator of one process: with one rank every function is the
 * identity (a sum may round what it adds). */
#include "base/bf16.h"
#include "base/comm_calls.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const comm *comm_self(void)
{
    static const comm self = {.rank = 0, .size = 1, .local_rank = 0, .local_size = 1, .calls = NULL};
    return &self;
}

const comm *comm_start(void)
{
    const comm *c = comm_mpi_start();
    return c ? c : comm_self();
}

void comm_stop(const comm *c)
{
    if (c->calls) c->calls->stop();
}

double comm_delay(void)
{
    const char *const text = getenv("REMLA_COMM_DELAY_MS");
    char *end;
    if (!text) return 0;
    const double ms = strtod(text, &end);
    if (end == text || *end || !(ms >= 0 && ms <= 1e9))
        die(ERR_USAGE, "the environment's REMLA_COMM_DELAY_MS is '%s', expected a number of milliseconds",
            text);
    return ms / 1000;
}

static const struct comm_calls *of_host(const comm *c)
{
    REQUIRE(!c->device, "a communicator over devices cannot do this: use the host's");
    return c->calls;
}

void comm_broadcast(const comm *c, void *bytes, int64_t count, int root)
{
    if (c->size > 1) of_host(c)->broadcast(c, bytes, count, root);
}

void comm_max_i64(const comm *c, int64_t *values, int64_t count)
{
    if (c->size > 1) of_host(c)->max_i64(c, values, count);
}

static comm_ticket ticket_of_last(const comm *c)
{
    return c->calls && c->calls->ticket ? c->calls->ticket(c) : (comm_ticket){0};
}

comm_ticket comm_sum_f64(const comm *c, double *values, int64_t count)
{
    if (c->size == 1) return (comm_ticket){0};
    c->calls->sum_f64(c, values, count);
    return ticket_of_last(c);
}

/* With one rank there is nothing to add. The copy is made here, except in a device's memory, which only the
 * device's own calls can copy. */
static bool copies(const comm *c) { return c->size == 1 && !c->device; }

comm_ticket comm_reduce_scatter(const comm *c, float *out, float *full, int64_t shard, const reduction *how)
{
    REQUIRE(how->sent == F32 || how->sent == BF16, "a sum of parts sent as %s", dtype_name(how->sent));
    if (!copies(c))
        c->calls->reduce_scatter(c, out, full, shard, how);
    else if (how->sent == BF16)
        for (int64_t i = 0; i < shard; i++) out[i] = bf16_float(bf16_of(full[i]));
    else if (out != full)
        memcpy(out, full, sizeof(float) * (size_t)shard);
    return ticket_of_last(c);
}

comm_ticket comm_all_gather(const comm *c, void *all, const void *part, int64_t part_bytes)
{
    if (!copies(c))
        c->calls->all_gather(c, all, part, part_bytes);
    else if (part != all)
        memcpy(all, part, (size_t)part_bytes);
    return ticket_of_last(c);
}

void comm_wait(const comm *c, comm_ticket ticket)
{
    if (!ticket.call) return;
    REQUIRE(c->calls && c->calls->wait, "the ticket of call %llu is another communicator's",
            (unsigned long long)ticket.call);
    c->calls->wait(c, ticket);
}

void comm_limit(const comm *c, double seconds)
{
    if (c->calls && c->calls->limit) c->calls->limit(c, seconds);
}

int64_t comm_bytes_sent(const comm *c)
{
    return c->calls && c->calls->bytes_sent ? c->calls->bytes_sent(c) : 0;
}

double comm_seconds_waited(const comm *c)
{
    return c->calls && c->calls->seconds_waited ? c->calls->seconds_waited(c) : 0;
}

const char *comm_host(const comm *c, int r) { return c->size > 1 ? of_host(c)->host(c, r) : "this host"; }

status comm_agree(const comm *c, status mine, message *why)
{
    if (c->size == 1) return mine;
    /* The largest number is the worst status and, among the ranks that have it, the lowest rank. */
    int64_t worst = (int64_t)mine * c->size + (c->size - 1 - c->rank);
    comm_max_i64(c, &worst, 1);
    const status all = (status)(worst / c->size);
    if (all != OK) comm_broadcast(c, why->text, sizeof why->text, c->size - 1 - (int)(worst % c->size));
    return all;
}
