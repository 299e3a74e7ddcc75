# The admin listener is on loopback unless told otherwise, so nothing outside the container reaches it. Mount a
# configuration with `proxy.listen: 0.0.0.0:8080`, and `admin.listen: 0.0.0.0:9464` with `admin.token_file`, to publish
# both ports. Certificates, keys and the token must be readable by user 10001.

FROM python:3.13-slim AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
# Without pip of its own: what is copied to the next stage cannot install anything.
RUN python -m venv --without-pip /opt/certgauge \
    && pip --python /opt/certgauge/bin/python install --require-hashes --no-deps --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
# The lock holds the build backend as well; it goes when its work is done, and what is left must still fit together.
RUN pip --python /opt/certgauge/bin/python install --no-deps --no-build-isolation . \
    && pip --python /opt/certgauge/bin/python uninstall --yes hatchling pathspec pluggy tomlkit trove-classifiers \
    && pip --python /opt/certgauge/bin/python check

FROM python:3.13-slim
COPY --from=build /opt/certgauge /opt/certgauge
ENV PATH=/opt/certgauge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# What is not delivered yet outlasts the container where this is a volume.
ENV STATE_DIRECTORY=/var/lib/certgauge
RUN install -d -m 0700 -o 10001 -g 10001 "$STATE_DIRECTORY"
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /etc/certgauge
EXPOSE 8080 9464
ENTRYPOINT ["certgauge"]
CMD ["run", "--config", "/etc/certgauge/certgauge.yaml"]
