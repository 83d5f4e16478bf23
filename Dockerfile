# One image for every Procfile line; compose.yaml shows how they belong together.
FROM python:3.13-slim-bookworm AS build
WORKDIR /app
COPY requirements.lock .
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: -r requirements.lock \
    && .venv/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin billstack
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
COPY --from=build /app/.venv .venv
COPY schema.sql pyproject.toml ./
COPY api api
COPY sync sync
COPY workers workers
# The program writes nothing into the image, so one compilation here serves every start.
RUN python -m compileall -q api sync workers
USER 10001
EXPOSE 8000
# Of the web; compose.yaml turns it off for the other lines, which rq and the scheduler watch themselves.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/healthz', timeout=4)"]
CMD ["gunicorn", "--config", "api/gunicorn.py", "--worker-tmp-dir", "/dev/shm", "api:create_app()"]
