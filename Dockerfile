# The app in a container, for one machine: docker build -t cnn-resnet-explorer .
#   docker run --init --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     -v explorer:/data -p 127.0.0.1:8501:8501 cnn-resnet-explorer
# compose.yaml puts HTTPS and a login in front of it. docs/deploy.md has the rest, and how large the image is.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS packages
# PyTorch's own index has it without CUDA, under the same version number. An empty value takes it with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# The files of requirements to install: with "requirements.txt requirements-ray.txt" the container can be a node of Ray.
ARG REQUIREMENTS=requirements.txt
WORKDIR /packages
COPY requirements.txt requirements-ray.txt ./
RUN python -m venv /opt/explorer \
 && /opt/explorer/bin/pip install --no-cache-dir --disable-pip-version-check \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} $(printf -- ' -r %s' $REQUIREMENTS)

FROM python:${PYTHON}
RUN groupadd --gid 1000 explorer \
 && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp explorer \
 && install -d -o 1000 -g 1000 /data
COPY --from=packages /opt/explorer /opt/explorer
WORKDIR /app
COPY app.py LICENSE ./
COPY .streamlit .streamlit
COPY pretrained pretrained
COPY explorer explorer
ENV PATH=/opt/explorer/bin:$PATH
# A checkout under umask 077 is its owner's alone, and so is its bytecode: the app's user has to read both.
RUN python -m compileall -q app.py explorer \
 && find /app ! -perm -o=r -exec chmod a+rX {} +
# The container itself is the wall around the app: it listens on all of the container's addresses, and under the names
# of config.toml alone until STREAMLIT_SERVER_ALLOWED_HOSTS names others.
ENV EXPLORER_DATA=/data HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 STREAMLIT_SERVER_HEADLESS=true STREAMLIT_SERVER_PORT=8501
USER 1000:1000
VOLUME /data
EXPOSE 8501
HEALTHCHECK --start-period=60s --interval=30s --timeout=10s CMD ["python", "-c", "from urllib.request import urlopen; assert urlopen('http://127.0.0.1:8501/_stcore/health', timeout=9).read() == b'ok'"]
CMD ["streamlit", "run", "app.py"]
