"""A real broker that wants to know who you are: SCRAM over TLS, client certificates, ACLs.

Certificates are made by `openssl` for one run, users and rights by Kafka's own tools inside the
container. The plain listener, which the tools use, is a super-user's.
"""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from streams.kafka_settings import KafkaSettings, SecuritySettings
from tests.support.kafka_container import INNER, LIFE_SECONDS_MAX, START_SECONDS_MAX, KafkaContainer

HOST = "localhost"  # what the broker's certificate is made for
OTHER_NAME = "127.0.0.1"  # the same machine under a name that does not stand in it
PORTS = {"SCRAM": 9095, "MTLS": 9096, "LOGIN": 9097}  # in the container; LOGIN is without TLS
FOLDER = "/tmp/secure"  # in the container
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
DAYS = ("-days", "2")
# Listeners *named* SSL or SASL_SSL make the image insist on JKS stores; these take PEM files.
PROPERTIES = {
    "listeners": "PLAINTEXT://:9092,INNER://:9093,CONTROLLER://:9094,"
    + ",".join(f"{name}://:{port}" for name, port in PORTS.items()),
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT,"
    "SCRAM:SASL_SSL,MTLS:SSL,LOGIN:SASL_PLAINTEXT",
    "listener.name.mtls.ssl.client.auth": "required",
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": f"{FOLDER}/broker.pem",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": f"{FOLDER}/ca.pem",
    "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
MECHANISM = "SCRAM-SHA-512"
LOGIN_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
JVM = "-XX:-UseG1GC -XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # broker and tools live for minutes
TOOLS = "/opt/kafka/bin"
TOOL_ENVIRONMENT = "KAFKA_HEAP_OPTS=-Xmx64m"


class SecureContainer(KafkaContainer):
    """The same broker with three more listeners. `folder` holds `make_certificates`' files."""

    def __init__(self, image: str, folder: Path) -> None:
        super().__init__(image, PROPERTIES)
        self._folder = folder
        ports: dict[str, Any] = self.ports
        for name, port in PORTS.items():
            ports[f"{port}/tcp"] = ("127.0.0.1",)
            if name != "MTLS":
                # in a variable `-` of a property is `___`
                variable = f"KAFKA_LISTENER_NAME_{name}_SCRAM___SHA___512_SASL_JAAS_CONFIG"
                self.with_env(variable, LOGIN_MODULE)
        self.with_env("KAFKA_SASL_ENABLED_MECHANISMS", MECHANISM)
        self.with_env("KAFKA_JVM_PERFORMANCE_OPTS", JVM)

    def port(self, name: str) -> int:
        """Of a listener, on this machine."""
        self.reload()
        ports = self.get_wrapped_container().attrs["NetworkSettings"]["Ports"]
        return int(ports[f"{PORTS[name]}/tcp"][0]["HostPort"])

    def start(self) -> Self:
        """Start, and return once the broker serves."""
        testcontainers_config.ryuk_disabled = True
        DockerContainer.start(self)
        advertised = [f"{name}://{HOST}:{self.port(name)}" for name in PORTS]
        advertised += [f"PLAINTEXT://{self.bootstrap()}", f"INNER://{INNER}"]
        script = (
            "#!/bin/sh\n"
            f"export KAFKA_ADVERTISED_LISTENERS={','.join(advertised)}\n"
            f"exec timeout {LIFE_SECONDS_MAX} /etc/kafka/docker/run\n"
        )
        files = {f"secure/{p.name}": p.read_bytes() for p in self._folder.glob("*.pem")}
        files["start-broker.sh"] = script.encode()  # last: it is what the container waits for
        self.get_wrapped_container().put_archive("/tmp", _archive(files))
        started = LogMessageWaitStrategy("Kafka Server started")
        started.with_startup_timeout(START_SECONDS_MAX).wait_until_ready(self)
        return self


@dataclass(frozen=True)
class SecureKafka:
    """The running broker, as its clients need to know it."""

    container: SecureContainer
    folder: Path

    def login(self, user: str, prefix: str = "pypi.", **changes: str) -> KafkaSettings:
        """SCRAM over TLS."""
        given = {
            "protocol": "SASL_SSL",
            "username": user,
            "password": password_of(user),
            "cafile": str(self.folder / "ca.pem"),
            **changes,
        }
        return self._settings("SCRAM", prefix, SecuritySettings(**given))

    def certificate(self, user: str, prefix: str = "pypi.") -> KafkaSettings:
        """A client certificate; `user` "" = none."""
        security = SecuritySettings(
            "SSL",
            cafile=str(self.folder / "ca.pem"),
            certfile=str(self.folder / f"{user}.crt") if user else "",
            keyfile=str(self.folder / f"{user}.key") if user else "",
        )
        return self._settings("MTLS", prefix, security)

    def at(self, listener: str, security: SecuritySettings, host: str = HOST) -> KafkaSettings:
        """Any settings against any listener: what is not meant to work."""
        return KafkaSettings(f"{host}:{self.container.port(listener)}", security=security)

    def _settings(self, listener: str, prefix: str, security: SecuritySettings) -> KafkaSettings:
        return KafkaSettings(f"{HOST}:{self.container.port(listener)}", prefix, security)

    def add_user(self, user: str) -> None:
        """A login with `password_of`."""
        login = f"{MECHANISM}=[password={password_of(user)}]"
        who = ("--entity-type", "users", "--entity-name", user)
        self.tool("kafka-configs", "--alter", *who, "--add-config", login)

    def grant(self, line: str) -> None:
        """Run a `kafka-acls` line as a person would, but for where the broker is."""
        name, *arguments = shlex.split(line)
        assert name == "kafka-acls", line
        assert arguments[:2] == ["--bootstrap-server", "HOST:PORT"], line
        self.tool(name, *arguments[2:])

    def tool(self, name: str, *arguments: str) -> str:
        """One of Kafka's tools, as a super-user; what it says."""
        words: Sequence[str] = (f"{TOOLS}/{name}.sh", "--bootstrap-server", INNER, *arguments)
        done = self.container.exec(["sh", "-c", f"{TOOL_ENVIRONMENT} {shlex.join(words)}"])
        said = done.output.decode()
        assert done.exit_code == 0, said
        return said


def password_of(user: str) -> str:
    """Never the same as the name."""
    return f"{user[::-1]}-secret"


def make_certificates(folder: Path, users: Iterable[str]) -> None:
    """PEM files: `ca.pem`, `broker.pem` (key and chain), `USER.crt` and `.key`, and two strangers.

    `other.pem` is an authority that signed nothing here; `stranger.crt` is signed by itself.
    """
    for name in ("ca", "other", "stranger"):
        made = "stranger.crt" if name == "stranger" else f"{name}.pem"
        _openssl(folder, "req", "-x509", *EC, *DAYS, "-subj", f"/CN={name}",
                 "-keyout", f"{name}.key", "-out", made)  # fmt: skip
    for name in ("broker", *users):
        _openssl(folder, "req", *EC, "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                 "-out", f"{name}.csr")  # fmt: skip
        names = folder / f"{name}.names"
        names.write_text(f"subjectAltName=DNS:{HOST if name == 'broker' else name}\n")
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem",
                 "-CAkey", "ca.key", "-CAcreateserial", *DAYS, "-extfile", names.name,
                 "-out", f"{name}.crt")  # fmt: skip
    chain = ("broker.key", "broker.crt", "ca.pem")
    (folder / "broker.pem").write_text("".join((folder / name).read_text() for name in chain))


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _archive(files: dict[str, bytes]) -> bytes:
    """For `put_archive`; readable by the image's own user, who is not root."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    return archive.getvalue()
