"""What a run costs: CPU seconds stay the same beside other work, wall seconds do not."""

import os
import time


class Cost:
    """Counts from where it is made, with all threads of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def numbers(self) -> dict[str, float]:
        """Wall and CPU seconds so far, with compilation, and the load of the last minute."""
        numbers = {
            "wall_seconds": round(time.perf_counter() - self._wall, 2),
            "cpu_seconds": round(time.process_time() - self._cpu, 2),
        }
        if hasattr(os, "getloadavg"):
            numbers["load_average"] = round(os.getloadavg()[0], 2)
        return numbers
