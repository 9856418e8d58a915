# The dashboard, for docs/publishing.md: docker build -t workbench . && docker run -p 127.0.0.1:8866:8866 workbench
FROM python:3.12-slim
RUN useradd --create-home workbench
WORKDIR /opt/workbench
# Name PyTorch's own index of CPU builds with --build-arg, or pip brings CUDA, gigabytes that nothing here uses.
ARG PIP_EXTRA_INDEX_URL
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY workbench workbench
COPY widgets widgets
COPY notebooks/labs/solutions notebooks/labs/solutions
RUN pip install --no-cache-dir -c constraints.txt .
USER workbench
WORKDIR /home/workbench
ENV OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1
EXPOSE 8866
CMD ["workbench", "dashboard", "--host", "0.0.0.0", "--port", "8866"]
