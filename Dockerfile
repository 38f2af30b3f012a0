# The gateway and its worker in one small image: no root, read-only but for /data and /journal.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY fhir_gateway fhir_gateway
COPY profiles profiles
COPY mappings mappings
RUN python -m venv /opt/gateway && /opt/gateway/bin/pip install --no-cache-dir ".[pdf]"

FROM python:3.12-slim-bookworm
# Pango and fonts (Latin, Arabic script, South Asian scripts): what a printed booklet needs
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-noto-core \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/gateway /opt/gateway
RUN useradd --system --uid 10001 --home-dir /data gateway && install -d -o gateway /data /journal
USER 10001
ENV PATH=/opt/gateway/bin:$PATH GATEWAY_HOST=0.0.0.0 GATEWAY_DATA=/data GATEWAY_JOURNAL=/journal PYTHONUNBUFFERED=1
VOLUME ["/data", "/journal"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["fhir-gateway"]
CMD ["serve"]
