"""Can each JSON, TOML and YAML file named on the command line must be readable."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import yaml

READERS = {".json": json.loads, ".toml": tomllib.loads, ".yaml": yaml.safe_load}
READERS[".yml"] = READERS[".yaml"]


def main(paths: list[str]) -> int:
    """Print one line per broken file; 1 if there is one."""
    broken = 0
    for path in map(Path, paths):
        try:
            READERS[path.suffix](path.read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError) as error:
            print(f"{path}: {error}")
            broken = 1
    return broken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
