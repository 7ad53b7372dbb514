# Images of the project: `docker compose build` makes those of the services.
#
#   docker build --build-arg SERVICE=story_service .                 a service; SERVICE is what `python -m` runs
#   docker build --build-arg SERVICE=tale_client --target cli .      the `tale` command
#   docker build --build-arg SERVICE=proxy --target proxy .          Envoy, for the compose profile `scale`
#
# PYTHON_IMAGE is any image with Python 3.11 or newer, its pip and its venv module. VERSION, REVISION and SOURCE (an URL) go
# into the image's labels.
# For packages that come through a mirror or a proxy, pass pip's configuration to the build; it does not stay in the image:
# --secret id=pip,src=/etc/pip.conf
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS packages
ARG SERVICE
RUN python -m venv --without-pip /venv
# Only wheels: no compiler is needed.
RUN --mount=type=bind,source=requirements,target=/requirements \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    lock=${SERVICE%_service} && \
    PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python -m pip --python /venv/bin/python install \
    --quiet --no-cache-dir --require-hashes --only-binary=:all: --requirement "/requirements/${lock#tale_}.txt"

# The packages of an image, as CycloneDX: docker build --build-arg SERVICE=… --target sbom --output .
FROM packages AS inventory
RUN --mount=type=bind,source=requirements,target=/requirements \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv --without-pip /tools && python -m pip --python /tools/bin/python install \
    --quiet --no-cache-dir --require-hashes --only-binary=:all: --requirement /requirements/sbom.txt && \
    /tools/bin/cyclonedx-py environment --output-reproducible --output-file /sbom.cdx.json /venv/bin/python

FROM scratch AS sbom
COPY --from=inventory /sbom.cdx.json /

FROM packages AS code
ARG SERVICE
WORKDIR /app
COPY protos/tale/ tale/
COPY servicekit/ servicekit/
COPY ${SERVICE}/ ${SERVICE}/
# The story service writes with offline_writer when it has no key. The storage service applies the schema
# (`python -m storage_service migrate`).
RUN --mount=type=bind,source=offline_writer,target=/offline_writer \
    --mount=type=bind,source=supabase/migrations,target=/migrations \
    case "$SERVICE" in \
        story_service) cp -r /offline_writer offline_writer ;; \
        storage_service) cp -r /migrations storage_service/supabase/migrations ;; \
    esac
COPY LICENSE NOTICE ./
RUN python -m compileall -q /app

# The client is installed as the package that it is released as.
FROM packages AS client
WORKDIR /source
RUN --mount=type=bind,source=requirements,target=/requirements \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv --without-pip /build && python -m pip --python /build/bin/python install \
    --quiet --no-cache-dir --require-hashes --only-binary=:all: --requirement /requirements/build.txt
COPY pyproject.toml LICENSE NOTICE ./
COPY docs/client.md docs/
COPY protos/tale/ protos/tale/
COPY servicekit/version.py servicekit/
COPY tale_client/ tale_client/
RUN python -m pip --python /build/bin/python wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . && \
    python -m pip --python /venv/bin/python install --quiet --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM ${PYTHON_IMAGE} AS base
ARG SERVICE
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="tale generator: ${SERVICE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/venv/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp

FROM base AS proxy
COPY --from=packages /venv /venv
USER 10001:10001
CMD ["envoy", "--config-path", "/etc/envoy/envoy.yaml", "--log-level", "warning", "--concurrency", "2"]

FROM base AS cli
COPY --from=client /venv /venv
COPY LICENSE NOTICE /app/
COPY deploy/compose/as-owner /usr/local/bin/
RUN install -d /tale/out
WORKDIR /tale
ENTRYPOINT ["as-owner"]

FROM base
ARG SERVICE
ENV SERVICE=${SERVICE} TALE_DATA_DIR=/data
# New volumes that are mounted here inherit owner and mode.
RUN install -d -m 0700 -o 10001 -g 10001 /data /run/tale
COPY --from=code /venv /venv
COPY --from=code /app /app
WORKDIR /app
USER 10001:10001
CMD exec python -m "$SERVICE"
