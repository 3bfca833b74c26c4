/* One rank with a device loads what any number of ranks has written. */
#include "tests/train/load_trial.h"
#include "tests/support/device.h"

int main(void)
{
    if (!device_here(NULL)) return 77;
    kind = "cuda";
    return load_trial(1);
}
