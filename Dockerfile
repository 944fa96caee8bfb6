# The service with its bundled model, on the CPU. See docker-compose.yml for how it is meant to run.
FROM python:3.11-slim-bookworm AS build

# Where torch comes from: PyTorch's CPU builds when they answer within 3 seconds, else pip's own index.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
# Every other package has to have the hash of requirements.lock; empty, where a mirror builds packages again.
ARG LOCKED=1
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# The dependencies first: they change less often than the code, and their layer is kept.
COPY pyproject.toml constraints.txt requirements.lock README.md LICENSE ./
COPY scripts/install scripts/
COPY app/__init__.py app/
COPY index/__init__.py index/
RUN ./scripts/install

# Away with what is only needed to compile against packages, to test them, or to install more of them.
ARG PACKAGES=/app/.venv/lib/python3.11/site-packages
RUN .venv/bin/python -m pip uninstall --quiet --yes setuptools pip \
    && rm -rf "$PACKAGES/torch/include" "$PACKAGES/torch/test" \
    && find "$PACKAGES/torch/bin" -type f ! -name torch_shm_manager -delete \
    && find "$PACKAGES" -type d -name tests -prune -exec rm -rf {} +

COPY app app
COPY index index
COPY scripts/demo_corpus.py scripts/
RUN python -m compileall -q app index


FROM python:3.11-slim-bookworm

RUN useradd --system --uid 10001 --user-group --no-create-home funnel \
    && install --directory --owner funnel --group funnel /data /cache
COPY --from=build /app /app

ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp HF_HOME=/cache/huggingface HF_HUB_DISABLE_TELEMETRY=1 \
    FUNNEL_HOST=0.0.0.0 FUNNEL_PORT=8000 FUNNEL_DATA_DIR=/data
WORKDIR /app
USER 10001:10001
VOLUME ["/data", "/cache"]
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['FUNNEL_PORT'] + '/readyz', timeout=4)"]

CMD ["funnel", "serve"]
