/* Two ranks with devices load what any number of ranks has written; weights are rounded, masters are not, and
 * lie on the host in one of the stages. Fingerprints are those that the devices compute. */
#include "tests/train/load_trial.h"
#include "tests/support/device.h"

int main(void)
{
    if (!device_here(NULL)) return 77;
    kind = "cuda";
    return load_trial(2);
}
