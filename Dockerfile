# The server in an image without a shell: one binary, ONNX Runtime beside it, an unprivileged user.
#
#   docker build --tag repserve .
#   docker run --rm --read-only --tmpfs /tmp --publish 127.0.0.1:8080:8080 repserve
#
# The bases are pinned by tag; give RUST_IMAGE or RUNTIME_IMAGE with a digest to pin them to the byte. Where no registry
# can be reached, docker/offline-bases.sh makes stand-ins of the same names.
ARG RUST_IMAGE=rust:1.95.0-slim-trixie
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot

# The crates' manifests alone: the layer of the dependencies below does not change with their sources.
FROM ${RUST_IMAGE} AS manifests
WORKDIR /build
COPY crates crates
RUN find crates -type f ! -name Cargo.toml -delete

FROM ${RUST_IMAGE} AS build
WORKDIR /build
COPY docker/build-certificates/ /usr/local/share/ca-certificates/
RUN update-ca-certificates \
    && apt-get update \
    && apt-get install -y --no-install-recommends cmake make nasm python3-pip \
    && rm -rf /var/lib/apt/lists/*

COPY docker/fetch-onnxruntime.sh docker/
RUN docker/fetch-onnxruntime.sh /image/opt/repserve && rm -rf /root/.cache

# The dependencies, with empty crates in the place of ours: rebuilt only when a manifest or the lock changes. The root's
# manifest loses the tests and benches, whose files are not here.
COPY Cargo.toml Cargo.lock ./
COPY --from=manifests /build/crates crates
RUN awk '/^\[/ { keep = !/^\[\[(bench|test|example)\]\]/ } keep' Cargo.toml >Cargo.trimmed.toml \
    && mv Cargo.trimmed.toml Cargo.toml \
    && for crate in . crates/*; do mkdir -p $crate/src && touch $crate/src/lib.rs; done \
    && echo 'fn main() {}' >src/main.rs \
    && cp src/main.rs crates/plots/src/main.rs \
    && cargo build --release --locked --features jpeg-turbo-simd,otlp --bin repserve \
    && rm -r src crates/*/src

COPY models models
COPY config config
COPY crates crates
COPY src src
# Sources may be older than the empty crates, and cargo goes by the time of change.
RUN find src crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --features jpeg-turbo-simd,otlp --bin repserve \
    && install -D -m 0755 target/release/repserve /image/opt/repserve/repserve
COPY LICENSE-* /image/opt/repserve/
RUN /image/opt/repserve/repserve --version && mkdir -p /cache/repserve

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="repserve" \
    org.opencontainers.image.description="Serves re-parameterized convolutional classifiers over HTTP" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
COPY --from=build --chown=65532:65532 /cache /var/cache
ENV REPSERVE__SERVER__LISTEN=0.0.0.0:8080 REPSERVE__SERVER__FAILURE_LINGER_MS=20000 REPSERVE__CACHE__PATH=/var/cache/repserve
USER 65532:65532
# The start-up cache can be written also where the root file system is read-only.
VOLUME /var/cache/repserve
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/opt/repserve/repserve", "health"]
ENTRYPOINT ["/opt/repserve/repserve"]
CMD ["serve"]
