/* For tests of what runs on a device (builds with CUDA): is there one, and bytes to it and back. */
#ifndef REMLA_TESTS_DEVICE_H
#define REMLA_TESTS_DEVICE_H
#include "base/device.h"
#include <stdbool.h>

/* Whether this machine has a device; says so on standard error if not. *emulated (may be NULL): it is that of
 * tests/emu, which fails when it is told to. A child process asks, because one that has spoken to a GPU
 * cannot fork any more, and check_stops forks. */
bool device_here(bool *emulated);

/* This process's device, which must be there. The caller closes it. */
device *device_open_first(void);

/* In how many of `orders` orders in which the emulator runs its streams `wrong` returns true, each in a child
 * process. For a process that has not spoken to a device yet. */
int device_orders_wrong(int orders, bool (*wrong)(const void *context), const void *context);

/* Copies through the staging ring, on the device's stream. get waits. */
void device_put(device *d, void *memory, const void *from, int64_t bytes);
void device_get(device *d, void *to, const void *memory, int64_t bytes);

#endif
