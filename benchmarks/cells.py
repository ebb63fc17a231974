"""Results of a benchmark that grow cell by cell, over several calls with the same options."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gen_jax.errors import ConfigError


def begun(path: Path, config: Any, left_out: tuple[str, ...]) -> tuple[dict[str, Any], dict]:
    """The options as JSON without those `left_out`, and the cells that `path` already holds.

    Raises ConfigError where these were made with other options.
    """
    how = {name: value for name, value in asdict(config).items() if name not in left_out}
    how = json.loads(json.dumps(how))
    before = json.loads(path.read_text()) if path.is_file() else {}
    if before and before["how"] != how:
        other = [name for name in how if before["how"].get(name) != how[name]]
        raise ConfigError(f"{path} holds cells of other {', '.join(other)}; move it away first")
    return how, before.get("cells", {})
