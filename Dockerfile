# Ringside Proxy as a container: slim, no root, hash-pinned, nothing written outside /data.
#
# SQLite: the slim images carry a version below 3.51.3, in which two connections that write and
# checkpoint at the same moment can corrupt the write-ahead log. That cannot happen here: the
# single-writer rule gives one connection, in one process that holds a lock file, all writes and all
# checkpoints; every other connection is read-only and never checkpoints
# (.github/decisions/0001-single-writer-thread-and-group-commit.md). The running version is in the
# start-up log and in the metric ringside_sqlite_fixed. Only let a second program checkpoint the
# file (a replicator, say) with an image whose SQLite is 3.51.3 or newer.

# The same Python and Debian as below, with binutils.
FROM python:3.13-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# What runs, in an environment without pip.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/ringside \
 && pip --python /opt/ringside/bin/python install --require-hashes -r requirements.lock

# What builds; it stays behind in this stage. The demo's lock file pins the build backend.
COPY requirements-demo.lock ./
RUN pip install --require-hashes -r requirements-demo.lock

COPY pyproject.toml README.md LICENSE ./
COPY ringside_proxy ./ringside_proxy
RUN python -m hatchling build -t wheel -d /wheels \
 && pip --python /opt/ringside/bin/python install --no-deps --no-index /wheels/*.whl

# Wheels come with symbols for a debugger: 22 of 75 MB.
RUN find /opt/ringside -name '*.so' -exec strip --strip-debug {} +


FROM python:3.13-slim-trixie

RUN groupadd --gid 10001 ringside \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin ringside \
 && install -d -o 10001 -g 10001 -m 0700 /data \
 && install -d /ringside/config
COPY --from=build /opt/ringside /opt/ringside

# budgets.timezone needs the time zone database, which the slim images carry; an image without it
# is not built.
RUN ["/opt/ringside/bin/python", "-c", "import zoneinfo; zoneinfo.ZoneInfo('Europe/Zurich')"]

# The API listens on loopback unless RINGSIDE_HOST says otherwise: the containers of a pod share
# it, and nobody else needs it. Health and metrics are asked for by the pod's address.
ENV PATH=/opt/ringside/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RINGSIDE_ADMIN_HOST=0.0.0.0 \
    RINGSIDE_STORE_URL=sqlite:////data/ringside.db

# A configuration is found at /ringside/config/ringside.yaml.
WORKDIR /ringside
USER 10001:10001
VOLUME /data
EXPOSE 8080 9090

# Past any http_proxy of the environment; the port is another one if the configuration says so.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('RINGSIDE_ADMIN_PORT', '9090') + '/healthz', timeout=5)"]

ENTRYPOINT ["ringside", "serve"]
