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

FROM ${PYTHON_IMAGE}
ARG SERVICE
ENV SERVICE=${SERVICE} PATH=/venv/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp TALE_DATA_DIR=/data
# New volumes that are mounted here inherit owner and mode.
RUN install -d -m 0700 -o 10001 -g 10001 /data /run/tale
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
CMD exec python -m "$SERVICE"
