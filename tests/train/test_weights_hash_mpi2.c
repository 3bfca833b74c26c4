/* Two ranks with the same weights agree; one bit of one of them does not pass. */
#include "train/weights_hash.h"
#include "tests/support/check.h"
#include "tests/support/small_dims.h"
#include <string.h>

static const comm *world;

static void test_one_bit(void **state)
{
    (void)state;
    const dims d = SMALL_GQA;
    model m;
    model_init(&m, &d, ops_cpu_f32(), 32);
    message why = {""};
    uint64_t zeros, hash;
    REQUIRE(weights_hash(&m, world, &zeros, &why) == OK, "%s", why.text);
    float *last = (float *)m.w.unit[3].data + m.table.unit_numel[3] - 1;
    *last = 1;
    REQUIRE(weights_hash(&m, world, &hash, &why) == OK && hash != zeros, "the last weight does not count");
    if (world->rank == 1) *last = 1 + 0x1p-23f;
    REQUIRE(weights_hash(&m, world, &hash, &why) == ERR_DEVICE, "a bit of rank 1 is not seen");
    REQUIRE(strstr(why.text, "weights of rank 1"), "%s", why.text);
    /* The padding differs with the number of ranks, and is no weight. */
    *last = 1;
    last[1] = world->rank == 1 ? 7 : 0;
    REQUIRE(weights_hash(&m, world, &hash, &why) == OK, "padding counts: %s", why.text);
    model_free(&m);
}

int main(void)
{
    world = comm_start();
    if (world->size != 2) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_bit)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(world);
    return failed;
}
