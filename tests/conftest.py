"""What holds for every test: its folder's mark, loopback only, one printed seed."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import fault_summary, kafka_broker
from tests.support.loopback_only import sitecustomize

ROOT = Path(__file__).parent
# Of one test, where the usual time is not enough on a busy machine: the real program under a fault
# or for a whole run; fifty examples on real files; other processes that have to start.
TIMEOUT_SECONDS = {"faults": 800, "e2e": 800, "property": 300, "integration": 240}
KAFKA_TIMEOUT_SECONDS = 240  # the first one waits for the broker, the others for the first one
ID_CHARACTERS_MAX = 60
# What waits most, beside what computes most; the small files of the unit tests fill the end.
ORDER = ("faults", "property", "contract", "e2e", "integration", "unit")
SEED = "PYPISTREAM_SEED"
# A developer's own settings must not reach the program under test; these are the tests' own.
KEPT = (SEED, "PYPISTREAM_RECORDED", "PYPISTREAM_FAULTS", "PYPISTREAM_TEST_")

settings.register_profile(
    "short",
    deadline=None,
    print_blob=True,
    database=None,
    max_examples=50,
    # the first run on a machine builds hypothesis' tables of characters; the time-out says enough
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", settings.get_profile("short"), max_examples=5_000)


@pytest.hookimpl(tryfirst=True)  # before hypothesis takes its seed and xdist starts its workers
def pytest_configure(config: pytest.Config) -> None:
    """Clean the environment, which subprocesses and xdist's workers inherit, and draw the seed."""
    for name in [n for n in os.environ if n.startswith("PYPISTREAM_") and not n.startswith(KEPT)]:
        del os.environ[name]
    guard = str(Path(sitecustomize.__file__).parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([guard, *(p for p in paths if p and p != guard)])
    seed = os.environ.setdefault(SEED, str(secrets.randbelow(2**32)))
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = seed
    settings.load_profile("long" if os.environ.get("PYPISTREAM_TEST_LONG") else "short")
    if not hasattr(config, "workerinput"):
        kafka_broker.prepare()


@pytest.hookimpl(trylast=True)  # after xdist ended its workers; comes after Ctrl-C, too
def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the broker that a test of this run started."""
    if not hasattr(config, "workerinput"):
        kafka_broker.stop()


def pytest_report_header() -> str:
    """Say how to replay this run."""
    return replay()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it again at the end, where the failures are, and with -q too; before it the faults."""
    fault_summary.tell(terminalreporter)
    terminalreporter.write_line(replay())


def replay() -> str:
    """Return the run's seed and how to give it to another run."""
    return f"seed: {os.environ[SEED]} (replay: {SEED}={os.environ[SEED]} make test)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder's name, and with `kafka`; long ones get a longer time-out.

    The faults come first: they take minutes, most of which they wait, beside all others.
    """
    items.sort(key=lambda item: ORDER.index(_folder(item)))
    for item in items:
        folder = _folder(item)
        item.add_marker(folder)
        seconds = TIMEOUT_SECONDS.get(folder, 0)
        wants_broker = _on_kafka(item)
        if folder == "e2e" and (wants_broker or item.path.name.startswith("test_kafka_")):
            item.add_marker("whole_on_kafka")  # some with brokers of their own: `make kafka`
        if wants_broker:
            item.add_marker("kafka")
            seconds = max(seconds, KAFKA_TIMEOUT_SECONDS)
        if seconds and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(seconds))


def pytest_collection_finish() -> None:
    """Keep what was collected out of each search for garbage: a seventh of the time went there."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let go of it again: libraries that count their objects would tell of leaks at the end."""
    gc.unfreeze()


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).parts[0]


def _on_kafka(item: pytest.Item) -> bool:
    """Whether it says so, asks for a broker, or for the adapter `kafka` by a parameter."""
    if item.get_closest_marker("kafka"):
        return True
    if not isinstance(item, pytest.Function):
        return False
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "kafka_bootstrap" in item.fixturenames or "kafka" in [*map(str, parameters)]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test by its argument, not by a body: those are long, and may hold a time.

    The ids of a test must be the same in every xdist worker; pytest numbers equal ones.
    """
    if isinstance(val, bytes) or (isinstance(val, str) and len(val) > ID_CHARACTERS_MAX):
        return argname
    return None


@pytest.fixture(scope="session")
def seed() -> int:
    """Return the run's one seed: everything random in a test comes from it."""
    return int(os.environ[SEED])


@pytest.fixture(scope="session")
def kafka_bootstrap() -> str:
    """Return HOST:PORT of the run's one Kafka broker, as PYPISTREAM_TEST_KAFKA says it, too."""
    return kafka_broker.bootstrap()


@pytest.fixture(autouse=True)
def _kafka_if_asked_for(request: pytest.FixtureRequest) -> None:
    """A test with `kafka` among its parameters finds the broker up."""
    if request.node.get_closest_marker("kafka"):
        request.getfixturevalue("kafka_bootstrap")


@pytest.fixture
async def kafka_prefix(kafka_bootstrap: str) -> AsyncIterator[str]:
    """Return a beginning for the names of this test's topics, which are dropped at its end."""
    prefix = kafka_broker.fresh_prefix()
    yield prefix
    await kafka_broker.drop_topics(kafka_bootstrap, prefix)
