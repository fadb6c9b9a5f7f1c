"""A request of Kafka's protocol that aiokafka has no class for.

Source: KIP-339; kafka.apache.org/protocol#The_Messages_IncrementalAlterConfigs, version 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String


class _IncrementalAlterConfigsResponse(Response):  # type: ignore[misc]  # the library ships no types
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _IncrementalAlterConfigsStruct(RequestStruct):  # type: ignore[misc]  # the same
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _IncrementalAlterConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(
                        ("name", String("utf-8")),
                        ("config_operation", Int8),
                        ("value", String("utf-8")),
                    ),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class IncrementalAlterConfigs(Request[_IncrementalAlterConfigsStruct]):  # type: ignore[misc]  # the same
    """Set single configs; `rows` of (resource type, name, [(config, operation, value)])."""

    API_KEY: ClassVar[int] = 44

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def build(self, request_struct_class: type[_IncrementalAlterConfigsStruct]) -> RequestStruct:
        """What goes over the line."""
        return request_struct_class(self._rows, False)
