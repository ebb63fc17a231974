"""Wrong calls of the functions of `training`, `data` and `metrics`, for test_api_mistakes.py.

Each module has `CALLS`: function, or MODULE.FUNCTION of data -> (what its line must name, the
call).
"""

from wrong_calls import data, metrics, training

CALLS = metrics.CALLS | data.CALLS | training.CALLS
