"""`PYPISTREAM_*` variables: a misspelt name is refused, as it is in a settings file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields

from pypistream.logs import JSON, LOG_VARIABLE, TEXT, log_to_stderr, say
from pypistream.settings import Settings
from schemas.errors import UsageError

PREFIX = "PYPISTREAM_"
KNOWN = frozenset(
    {
        *(field.name.upper() for field in fields(Settings)),
        *("KAFKA_PASSWORD", "REPLICATION", LOG_VARIABLE.removeprefix(PREFIX)),
    }
)
"""What the program itself reads, without the prefix."""

_OTHERS = re.compile(
    r"TEST_\w+|SEED|NAMES|FAULTS|FAULTS_REPORT|RECORDED"  # tests and benchmarks
    r"|IMAGE|HTTP_PORT|KAFKA_PORTS|STANDIN_\w+"  # compose.yaml
    # Kubernetes sets such variables for every service, also for one with this program's name.
    r"|(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|(\w+_)?PORT(_[0-9]+_\w+)?"
)
_MISSPELT = 0.8  # similarity of a misspelt name: HTTP_PROT is HTTP_PORT, HTTP_PAGE is not


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise UsageError for a misspelt variable; warn of one that nothing reads."""
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in KNOWN or _OTHERS.fullmatch(name):
            continue
        close = difflib.get_close_matches(name.upper(), KNOWN, 1, _MISSPELT)
        if close:
            raise UsageError(
                f"{variable} in the environment is not a setting",
                hint=f"did you mean {PREFIX}{close[0]}? If not, unset it",
            )
        log_to_stderr()
        say(f"{variable} in the environment is not a setting: nothing reads it", "settings")
    if (chosen := environment.get(LOG_VARIABLE, "")) not in ("", TEXT, JSON):
        raise UsageError(
            f"{LOG_VARIABLE} in the environment is {chosen!r}", hint=f"`{TEXT}` or `{JSON}`"
        )
