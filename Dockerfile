# One image for CPUs and NVIDIA GPUs: the versions of requirements.lock, whose torch runs on both.
#   docker build --tag elasticast .
#   docker run --rm --volume "$PWD/results:/suite/results" elasticast all --config suite=mini
#   docker run --rm --gpus all --volume "$PWD/results:/suite/results" --volume "$PWD/data:/suite/data" elasticast all
# Apptainer makes its image from this one: apptainer build elasticast.sif docker-daemon:elasticast:latest
FROM python:3.11-slim

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ffmpeg git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /suite
COPY requirements.lock .
RUN python -m pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN python -m pip install --no-cache-dir --no-deps --editable .
# results record the commit of the code, which git tells only to the owner of the folder
RUN git config --system --add safe.directory /suite
ENTRYPOINT ["python", "-m", "snakemake"]
CMD ["all"]
