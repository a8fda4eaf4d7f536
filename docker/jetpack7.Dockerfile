# Jetson Thor, JetPack 7: NVIDIA's image for ARM servers carries PyTorch and TensorRT; on the Jetson:
#   docker build --file docker/jetpack7.Dockerfile --tag vl2:jetpack7 .
#   docker run --rm --gpus all --network host --volume /opt/weights:/opt/weights vl2:jetpack7 \
#       serve --camera /camera/image_raw --weights /opt/weights/visionllm --engines /opt/weights/engines
# Engines: engines/README.md. They are built in this image on the machine that runs them.
FROM nvcr.io/nvidia/pytorch:25.08-py3
WORKDIR /opt/vl2_ros
COPY . .
# Without constraints.txt: the image's own numpy and torch stay.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[dds,release]' && vl2 --help >/dev/null
RUN useradd --create-home --uid 1001 --groups video vl2
USER 1001
WORKDIR /home/vl2
ENTRYPOINT ["vl2"]
