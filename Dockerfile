# One service to an image; `docker compose build` makes all four.
#
#   docker build --build-arg SERVICE=story_service .
#
# SERVICE is what `python -m` runs. PYTHON_IMAGE is any image with Python 3.11 or newer, its pip and its venv module.
# For packages that come through a mirror or a proxy, pass pip's configuration to the build; it does not stay in the image:
# --secret id=pip,src=/etc/pip.conf
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
ARG SERVICE
RUN python -m venv --without-pip /venv
# Only wheels: no compiler is needed.
RUN --mount=type=bind,source=requirements,target=/requirements \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python -m pip --python /venv/bin/python install \
    --quiet --no-cache-dir --require-hashes --only-binary=:all: --requirement "/requirements/${SERVICE%_service}.txt"
WORKDIR /app
COPY protos/ ./
COPY servicekit/ servicekit/
# The library that the story service writes with when it has no key.
COPY offline_writer/ offline_writer/
COPY ${SERVICE}/ ${SERVICE}/
# The schema is in the image of the service that applies it (`python -m storage_service migrate`).
RUN --mount=type=bind,source=supabase/migrations,target=/migrations \
    if [ "$SERVICE" = storage_service ]; then cp -r /migrations storage_service/supabase/migrations; fi
COPY LICENSE NOTICE ./
RUN python -m compileall -q /app

FROM ${PYTHON_IMAGE}
ARG SERVICE
ENV SERVICE=${SERVICE} PATH=/venv/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp TALE_DATA_DIR=/data
# A new volume that is mounted here inherits owner and mode.
RUN install -d -m 0700 -o 10001 -g 10001 /data
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
CMD exec python -m "$SERVICE"
