# The embedded model on a plain CPU, x86-64 or ARM; from the root of the repository:
#   docker build --file docker/cpu.Dockerfile --tag vl2:cpu .
#   docker run --rm --volume "$PWD:/images" vl2:cpu ask /images/table.jpg "find the red mug"
#   docker run --rm --network host vl2:cpu serve --camera /camera/image_raw
FROM python:3.12-slim
WORKDIR /opt/vl2_ros
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt '.[dds]' && vl2 --help >/dev/null
RUN useradd --create-home --uid 1001 vl2
USER 1001
WORKDIR /home/vl2
ENTRYPOINT ["vl2"]
