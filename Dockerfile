# CPU: docker build -t transfer-advisor .
# GPU: docker build -t transfer-advisor --build-arg TENSORFLOW='tensorflow[and-cuda]' .
FROM python:3.12-slim
ARG TENSORFLOW=tensorflow
ARG EXTRAS=openvino,lite,plots
COPY . /src
RUN pip install --no-cache-dir "$TENSORFLOW" "/src[$EXTRAS]" && rm -r /src
# Pretrained weights and features are kept here. Any user may write to it: `docker run --user` says who runs.
RUN mkdir --mode=1777 /cache
ENV KERAS_HOME=/cache/keras XDG_CACHE_HOME=/cache HOME=/tmp
VOLUME /cache
WORKDIR /data
ENTRYPOINT ["advisor"]
CMD ["--help"]
