# One image for every process of Procfile; the command says which. Only the locked server parts are in it.
FROM python:3.12-slim-bookworm AS build
WORKDIR /source
COPY bootstrap.lock ./
RUN python -m venv /uv && /uv/bin/pip install --no-cache-dir --require-hashes -r bootstrap.lock

# The parts first, so that a change of our code does not fetch them again. The lock gives versions and hashes.
COPY requirements.lock pyproject.toml ./
RUN /uv/bin/uv venv /app \
 && /uv/bin/uv pip install --no-cache --python /app/bin/python --require-hashes --constraint requirements.lock \
      --extra server -r pyproject.toml

# What builds the wheel is a development part of the lock, and stays in this stage.
COPY . .
RUN /uv/bin/uv venv /tools \
 && /uv/bin/uv pip install --no-cache --python /tools/bin/python --require-hashes --constraint requirements.lock \
      --group pyproject.toml:dev \
 && /tools/bin/hatchling build -t wheel -d /dist \
 && /uv/bin/uv pip install --no-cache --python /app/bin/python --no-deps /dist/*.whl

FROM python:3.12-slim-bookworm
# An id of its own: the jail takes even this away from guests.
RUN useradd --system --uid 10001 --no-create-home spell \
 && install -d -o spell -g spell /var/cache/spell/artifacts /var/cache/spell/metrics
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A container runs one kind of process, so they may share a folder: a restarted one goes on with its counters.
ENV PROMETHEUS_MULTIPROC_DIR=/var/cache/spell/metrics
USER spell
WORKDIR /tmp
CMD ["python", "-m", "api"]
