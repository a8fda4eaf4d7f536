# Jetson Orin, JetPack 6: NVIDIA's image for integrated GPUs carries PyTorch and TensorRT; on the Jetson:
#   docker build --file docker/jetpack6.Dockerfile --tag vl2:jetpack6 .
#   docker run --rm --runtime nvidia --network host --volume /opt/weights:/opt/weights vl2:jetpack6 \
#       serve --camera /camera/image_raw --weights /opt/weights/visionllm --engines /opt/weights/engines
# Engines: engines/README.md. They are built in this image on the machine that runs them.
FROM nvcr.io/nvidia/pytorch:24.11-py3-igpu
WORKDIR /opt/vl2_ros
COPY . .
# Without constraints.txt: the image's own numpy and torch stay.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[dds,release]' && vl2 --help >/dev/null
RUN useradd --create-home --uid 1001 --groups video vl2
USER 1001
WORKDIR /home/vl2
ENTRYPOINT ["vl2"]
