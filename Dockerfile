# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY connectors connectors
# The demo carries the example and the views inside the binary.
COPY examples examples
COPY pipeline pipeline
COPY sql sql
# The caches outlive the layer, so a change to one crate compiles that crate alone. The image carries the
# C compiler that some dependencies need; they need nothing else.
ENV CARGO_PROFILE_RELEASE_DEBUG=false \
    CARGO_PROFILE_RELEASE_STRIP=debuginfo
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked -p tidegate && \
    install -D target/release/tidegate /image/tidegate && \
    install -d /image/data

# The same Debian, so the same C library. No shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image/tidegate /usr/local/bin/tidegate
# A volume that is mounted here for the first time takes over whose it is.
COPY --from=build --chown=65532:65532 /image/data /var/lib/tidegate
ENV TIDEGATE_CONFIG=/etc/tidegate/tidegate.yaml \
    TIDEGATE_DATA_DIR=/var/lib/tidegate
# By number, or Kubernetes could not see that it is not root.
USER 65532:65532
# HTTP, where the manifest says "http: 0.0.0.0:8088".
EXPOSE 8088
STOPSIGNAL SIGTERM
ENTRYPOINT ["tidegate"]
CMD ["run"]
