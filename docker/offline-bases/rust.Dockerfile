# What rust:…-slim-trixie holds: a C toolchain and the local Rust toolchain, whose bin and lib are the context.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY bin /usr/local/rustup/toolchains/host/bin
COPY lib /usr/local/rustup/toolchains/host/lib
RUN mkdir -p /usr/local/cargo/bin \
    && ln -s /usr/local/rustup/toolchains/host/bin/cargo /usr/local/rustup/toolchains/host/bin/rustc /usr/local/cargo/bin/ \
    && cargo --version && rustc --version
