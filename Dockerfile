# The program with its locked packages, and nothing of what built it.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CACHE_DIR=/var/cache/pip
WORKDIR /src
COPY pyproject.toml requirements.lock ./
COPY scripts/locked.py scripts/
# Wheels only: what has to be compiled would need tools that a build should not depend on.
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv --without-pip /opt/pypistream \
 && python scripts/locked.py run >run.txt \
 && python scripts/locked.py build >build.txt \
 && pip --python /opt/pypistream install --require-hashes --only-binary :all: -r run.txt \
 && pip install --require-hashes --only-binary :all: -r build.txt
COPY . .
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /dist . \
 && pip --python /opt/pypistream install --no-index --no-deps /dist/*.whl

FROM python:3.12-slim
LABEL org.opencontainers.image.title="pypistream" \
      org.opencontainers.image.description="PyPI's changelog as an event log, and the latest metadata of every project" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 pypistream \
 && useradd --uid 10001 --gid pypistream --no-log-init --no-create-home --home-dir /data \
            --shell /usr/sbin/nologin pypistream \
 && install -d -o pypistream -g pypistream /data
COPY --from=build /opt/pypistream /opt/pypistream
ENV PATH=/opt/pypistream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYPISTREAM_DATA=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["pypistream"]
CMD ["--help"]
