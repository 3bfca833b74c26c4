/* Builds without CUDA: there is no device, and device_open says so. The other functions are never reached
 * with a device. */
#include "base/device.h"
#include <stddef.h>

status device_open(device **d, int local_rank, message *why)
{
    (void)local_rank;
    *d = NULL;
    return fail(why, ERR_USAGE, "this remla was built without CUDA: build it with the preset cuda");
}

void device_close(device *d) { REQUIRE(!d, "no device is ever open"); }

const char *device_text(const device *d)
{
    (void)d;
    return "no device";
}

void device_versions_read(const device *d, device_versions *v)
{
    *v = (device_versions){.runtime = 0};
    REQUIRE(!d, "no device is ever open");
}

void *device_reserve(device *d, int64_t bytes, const char *name)
{
    (void)d;
    die(ERR_BUG, "%lld bytes of device memory for %s in a build without CUDA", (long long)bytes, name);
}

void device_release(device *d, void *memory)
{
    (void)d;
    REQUIRE(!memory, "device memory in a build without CUDA");
}

void *device_reserve_pinned(device *d, int64_t bytes, const char *name)
{
    (void)d;
    die(ERR_BUG, "%lld bytes of pinned memory for %s in a build without CUDA", (long long)bytes, name);
}

void device_release_pinned(device *d, void *memory)
{
    (void)d;
    REQUIRE(!memory, "pinned memory in a build without CUDA");
}

double device_peak_flops(const device *d, bool bf16)
{
    (void)bf16;
    REQUIRE(!d, "no device is ever open");
    return 0;
}

stream *device_stream(device *d)
{
    REQUIRE(!d, "no device is ever open");
    return NULL;
}

void device_sync(device *d) { REQUIRE(!d, "no device is ever open"); }

device_ticket device_copy_in(device *d, void *to, const void *from, int64_t bytes)
{
    (void)to, (void)from, (void)bytes;
    REQUIRE(!d, "no device is ever open");
    return (device_ticket){0};
}

void device_copy_out(device *d, void *to, const void *from, int64_t bytes)
{
    (void)to, (void)from, (void)bytes;
    REQUIRE(!d, "no device is ever open");
}

void device_wait(device *d, device_ticket ticket)
{
    (void)ticket;
    REQUIRE(!d, "no device is ever open");
}

void device_copies_finish(device *d) { REQUIRE(!d, "no device is ever open"); }
