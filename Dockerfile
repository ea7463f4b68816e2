# One image for every command; docs/deployment.md has the steps.
#   docker run evergreen:0.1.0 service                                 serve        (the default)
#   docker run evergreen:0.1.0 monitoring                              watch
#   docker run evergreen:0.1.0 monitoring.cli train /job/model.yaml    any verb of `evergreen`; the first version becomes the champion
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONPATH=/opt/evergreen \
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
# Alive, not ready: a service that waits for its first champion must not be killed. Asks the address that EVERGREEN_BIND or
# EVERGREEN_MONITOR_BIND names, of whatever the container was started for.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "monitoring.local.alive"]
ENTRYPOINT ["python", "-m"]
CMD ["service"]
