/* Four ranks: all stages, both kinds of sums. */
#include "base/machine.h"
#include "tests/optim/shards_trial.h"

int main(void)
{
    const comm *world = comm_start();
    if (world->size != 4) return 77;
    message why;
    REQUIRE(machine_start(world->local_rank, world->local_size, &why) == OK, "%s", why.text);
    static const int64_t micro_batches[] = {1, 2, 5, 8};
    trial_all(ops_cpu_f32(), world, micro_batches, (int)(sizeof micro_batches / sizeof *micro_batches));
    comm_stop(world);
    return 0;
}
