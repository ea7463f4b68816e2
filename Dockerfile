# One image, three commands (each a package):
#   docker run evergreen service                      serve        (the default)
#   docker run evergreen monitoring                   watch
#   docker run evergreen training model.yaml          train once   ... and `docker run evergreen monitoring.cli status` for the rest
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    EVERGREEN_HOME=/var/lib/evergreen

WORKDIR /opt/evergreen
COPY requirements.txt ./
RUN python -m pip install --require-hashes -r requirements.txt
COPY training ./training
COPY service ./service
COPY monitoring ./monitoring
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/evergreen --shell /usr/sbin/nologin evergreen \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/evergreen \
    && python -m compileall -q training service monitoring

USER 10001:10001
VOLUME /var/lib/evergreen
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
# Alive, not ready: a service that waits for its first champion must not be killed. The monitor answers on 8001.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u\ntry: u.urlopen('http://127.0.0.1:8000/livez', timeout=2)\nexcept OSError: u.urlopen('http://127.0.0.1:8001/livez', timeout=2)"]
ENTRYPOINT ["python", "-m"]
CMD ["service"]
