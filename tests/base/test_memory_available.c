/* Available memory, from files that imitate /proc and control groups. */
#include "base/memory_available.h"
#include "base/file.h"
#include "tests/support/check.h"
#include "tests/support/scratch.h"
#include <stdio.h>
#include <string.h>

/* Writes a file below the scratch folder with all folders above it. */
static void put(const char *name, const char *text)
{
    char folder[PATH_BYTES];
    message why;
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
        if (!folder_exists(scratch_path(folder)))
            assert_int_equal(folder_make(scratch_path(folder), &why), OK);
    }
    scratch_text(name, text);
}

static int64_t available(void) { return memory_available_at(scratch_path("proc"), scratch_path("groups")); }

static void least_of_all(void **state)
{
    (void)state;
    assert_true(available() == INT64_MAX); /* nothing is known */
    put("proc/meminfo", "MemTotal:  2000 kB\nMemAvailable:    1000 kB\n");
    assert_int_equal(available(), 1024000);

    /* Version 2: a group and the one that it is in. */
    put("proc/self/cgroup", "0::/job/step\n");
    put("groups/job/step/memory.max", "max\n");
    put("groups/job/step/memory.current", "5\n");
    assert_int_equal(available(), 1024000);
    put("groups/job/memory.max", "900000\n");
    put("groups/job/memory.current", "300000\n");
    put("groups/job/memory.stat", "anon 7\nactive_file 1000\ninactive_file 100000\n");
    assert_int_equal(available(), 700000); /* the kernel drops cache when memory is requested */
    put("groups/job/step/memory.max", "500005\n");
    assert_int_equal(available(), 500000);
    put("groups/job/step/memory.current", "600000\n");
    assert_int_equal(available(), 0);

    /* Version 1, in a container that sees only its own group, at the top. */
    put("proc/self/cgroup", "9:name=systemd:/a\n4:cpu,memory:/not/seen\n3:memoryless:/x\n0::/\n");
    put("groups/memory/memory.limit_in_bytes", "400000\n");
    put("groups/memory/memory.usage_in_bytes", "150000\n");
    put("groups/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 50000\n");
    assert_int_equal(available(), 300000);
    put("groups/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    assert_int_equal(available(), 1024000);
}

static void this_machine(void **state)
{
    (void)state;
    const int64_t bytes = memory_available_bytes();
    assert_true(bytes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(least_of_all), cmocka_unit_test(this_machine)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
