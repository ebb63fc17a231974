"""One of two processes that train together on this machine.

    python process_pair.py DIRECTORY '{"steps": 4}'

with JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID set. The wide model, sharded over
both processes, or with "slow" the tiny one, which waits after each step.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gen_jax import training


def main() -> None:
    training.configure_backend(1)
    import eight_devices
    import tiny

    directory, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    if options.pop("slow", False):
        wait = lambda step, state: time.sleep(0.1)
        tiny.train(directory, sample_every=1, on_sample=wait, **options)
    else:
        eight_devices.train_wide(directory, fsdp=True, **options)


if __name__ == "__main__":
    training.run_main(main)
