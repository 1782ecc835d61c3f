# The service: API, workers and migrations are one image, told apart by their command. Two targets:
#
#   docker build --target cpu  .    the default
#   docker build --target cuda .    with torch for CUDA; workers with a GPU
#
# For wheels of torch without CUDA, which make the cpu image much smaller, pass the index that
# PyTorch's installation page names for CPU: docker compose build --build-arg TORCH_INDEX_URL=…
FROM python:3.11-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/tightrope/bin:$PATH

FROM base AS build
RUN python -m venv /opt/tightrope
WORKDIR /source
COPY constraints.txt ./

# torch first: it is large, and changes less often than what follows.
FROM build AS torch-cpu
ARG TORCH_INDEX_URL=""
RUN pip install --constraint constraints.txt ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch

FROM build AS torch-cuda
RUN pip install --constraint constraints.txt torch

FROM scratch AS source
COPY pyproject.toml README.md LICENSE ./
COPY reports ./reports
COPY models ./models
COPY solvers ./solvers
COPY training ./training
COPY store ./store
COPY worker ./worker
COPY api ./api
COPY cli ./cli
COPY client ./client

FROM torch-cpu AS build-cpu
COPY --from=source / ./
RUN pip install --constraint constraints.txt ./client ".[postgres]" \
    && python -m compileall -q /opt/tightrope

FROM torch-cuda AS build-cuda
COPY --from=source / ./
RUN pip install --constraint constraints.txt ./client ".[postgres]" \
    && python -m compileall -q /opt/tightrope

# What runs: no compiler, no package index, nobody's password, a user that owns nothing but /data.
FROM base AS runtime
# libgomp: threads of the arithmetic libraries.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /home/tightrope --create-home tightrope \
    && install --directory --owner tightrope --group tightrope /data
ENV PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=PASSIVE \
    TIGHTROPE_DATA_DIR=/data
USER tightrope
WORKDIR /home/tightrope
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "api", "--host", "0.0.0.0", "--port", "8000"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/tightrope /opt/tightrope
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=build-cpu /opt/tightrope /opt/tightrope
