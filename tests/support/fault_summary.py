"""The table of a fault run at the end of pytest's output, whichever process played the faults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

ENDED = "fault"  # the property of a test's report that brings what came of its scene
REPORT = "PYPISTREAM_FAULTS_REPORT"  # where to write the table, for `make faults`


def tell(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, if faults were played; keep it if it is wanted, whole, and all is well."""
    brought = _brought(terminalreporter)
    if not brought:
        return
    # A second to import, and most runs play no faults.
    from tests.support import fault_report
    from tests.support.fault_run import Ended
    from tests.support.fault_scenes import EXCLUDED, all_kinds

    kinds = all_kinds()
    found = sorted((Ended(**each) for each in brought), key=lambda each: kinds.index(each.kind))
    terminalreporter.section(f"{len(found)} of {len(kinds)} faults")
    for line in fault_report.table(found):
        terminalreporter.write_line(line)
    whole = len(found) == len(kinds) and not any(ended.problems for ended in found)
    if whole and os.environ.get(REPORT):
        Path(os.environ[REPORT]).write_text(fault_report.page(found, EXCLUDED))


def _brought(terminalreporter: pytest.TerminalReporter) -> list[dict[str, Any]]:
    return [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == ENDED and isinstance(value, dict)
    ]
