# One image for every role; the command picks the role.
FROM python:3.11-slim AS build
WORKDIR /app
COPY requirements.lock .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home orderflow \
    && mkdir /var/lib/orderflow && chown 10001:10001 /var/lib/orderflow
COPY --from=build /venv /venv
WORKDIR /app
COPY streams streams
COPY agents agents
COPY tables tables
COPY connectors connectors
COPY sql sql
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
VOLUME /var/lib/orderflow
ENTRYPOINT ["python", "-m", "streams"]
CMD ["--help"]
