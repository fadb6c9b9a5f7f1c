"""Every fault that the stand-in knows. Importing this package fills the table `KINDS`."""

from upstream.standin.faults import content, freshness, journal, json_api, refusals, transport
from upstream.standin.faults.registry import KINDS, BadFault, Fault, FaultKind, Faults

__all__ = [
    "KINDS",
    "BadFault",
    "Fault",
    "FaultKind",
    "Faults",
    "content",
    "freshness",
    "journal",
    "json_api",
    "refusals",
    "transport",
]
