# The service in a container; docs/deployment.md describes its start and its size.
# Pinned to versions of Python and Debian. To pin the exact image: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /app
COPY requirements.txt requirements-rembg.txt requirements-gpu.txt requirements-jobs.txt ./
# Package that replaces onnxruntime, for EXECUTION_PROVIDERS: --build-arg ONNXRUNTIME="-r requirements-gpu.txt"
ARG ONNXRUNTIME=""
# Packages of JOBS_BACKEND=celery: --build-arg JOBS="-r requirements-jobs.txt"
ARG JOBS=""
# The base image's pip installs into an environment without pip. Unused files are removed: test suites of packages, and
# onnxruntime's tools for converting models.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install -r requirements.txt \
    && python -m pip --python /opt/venv/bin/python install --no-deps -r requirements-rembg.txt \
    && if [ -n "${ONNXRUNTIME}" ]; then \
    python -m pip --python /opt/venv/bin/python uninstall --yes onnxruntime \
    && python -m pip --python /opt/venv/bin/python install ${ONNXRUNTIME} || exit 1; fi \
    && if [ -n "${JOBS}" ]; then python -m pip --python /opt/venv/bin/python install ${JOBS} || exit 1; fi \
    && find /opt/venv/lib -type d -name tests -prune -exec rm -r {} + \
    && rm -r /opt/venv/lib/python3*/site-packages/onnxruntime/quantization \
    /opt/venv/lib/python3*/site-packages/onnxruntime/tools \
    /opt/venv/lib/python3*/site-packages/onnxruntime/transformers
COPY gunicorn.conf.py ./
COPY app app
# Compiled here, because the running container can't write.
RUN /opt/venv/bin/python -m compileall -q app gunicorn.conf.py
# Models to include beside the embedded ones, by rembg's names: --build-arg MODELS="u2net silueta"
ARG MODELS=""
ENV REMBG_HOME=/models
RUN mkdir -p /models \
    && for model in ${MODELS}; do /opt/venv/bin/python -m app models pull "${model}" || exit 1; done \
    && install -d -m 1777 /data/outputs /data/uploads /data/models /data/jobs

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Background Remover API" \
      org.opencontainers.image.description="Removes the background of a photo over HTTP" \
      org.opencontainers.image.licenses="MIT AND Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.15-slim-bookworm"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /models /models
COPY --from=build /data /data
COPY --from=build /app /app
# HOME: required by libraries, otherwise unused.
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    REMBG_HOME=/models \
    OUTPUT_DIR=/data/outputs \
    UPLOAD_DIR=/data/uploads \
    JOBS_DIR=/data/jobs
WORKDIR /app
# Numeric, so that an orchestrator can verify that it is not root; it owns no file of the image.
USER 10001:10001
EXPOSE 5001
# gunicorn's graceful stop, which takes up to SHUTDOWN_GRACE (30 s): docker stop --time 45.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "app.healthcheck"]
CMD ["python", "-m", "app", "serve"]
