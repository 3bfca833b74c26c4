/* One rank with a device saves, and trains on meanwhile. Weights are rounded, masters are not, and lie on the
 * host in one of the stages; copies that were not waited for show. */
#include "tests/train/save_trial.h"
#include "tests/support/device.h"

int main(void)
{
    if (!device_here(NULL)) return 77;
    kind = "cuda";
    return save_trial(1);
}
