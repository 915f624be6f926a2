# The engine, in the place of amazon/aws-stepfunctions-local:
#   docker build -t signoff . && docker run -p 127.0.0.1:8083:8083 signoff
# Options go behind the image's name, variables come with -e or --env-file (docs/local.md).

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY locks/run.txt locks/
RUN python -m venv /opt/signoff \
 && /opt/signoff/bin/pip install --no-cache-dir --disable-pip-version-check \
    --require-hashes --only-binary :all: -r locks/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY templates templates
COPY examples examples
# Built by the locked build backend, which is then not needed any more.
RUN /opt/signoff/bin/pip install --no-cache-dir --disable-pip-version-check \
    --no-deps --no-build-isolation . \
 && /opt/signoff/bin/pip uninstall --yes editables hatchling setuptools pip

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin signoff \
 && install --directory --owner=signoff --group=signoff --mode=0700 /data
COPY --from=build /opt/signoff /opt/signoff
# Inside a container loopback is the container's own: who may reach the engine is up to -p.
ENV PATH=/opt/signoff/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SIGNOFF_DATA_DIR=/data \
    SIGNOFF_ENGINE_HOST=0.0.0.0 \
    SIGNOFF_ENGINE_OPEN=1
USER signoff
WORKDIR /data
VOLUME /data
EXPOSE 8083
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('SIGNOFF_ENGINE_PORT', '8083') + '/healthz', timeout=2)"]
ENTRYPOINT ["signoff", "engine"]
