# The service: API, workers and migrations are one image, told apart by their command.
#
# For wheels of torch without CUDA, which make the image much smaller, pass the index that PyTorch's
# installation page names for CPU: docker compose build --build-arg TORCH_INDEX_URL=…
FROM python:3.11-slim AS build
ARG TORCH_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/tightrope
ENV PATH=/opt/tightrope/bin:$PATH
WORKDIR /source
COPY constraints.txt ./
RUN pip install --constraint constraints.txt ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch
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
RUN pip install --constraint constraints.txt ./client ".[postgres]"

FROM python:3.11-slim
# libgomp: threads of the arithmetic libraries.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /home/tightrope --create-home tightrope \
    && install --directory --owner tightrope --group tightrope /data
COPY --from=build /opt/tightrope /opt/tightrope
ENV PATH=/opt/tightrope/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=PASSIVE \
    TIGHTROPE_DATA_DIR=/data
USER tightrope
WORKDIR /home/tightrope
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "api", "--host", "0.0.0.0", "--port", "8000"]
