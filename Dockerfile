# syntax=docker/dockerfile:1
# Four images from one build: docker build --target operator|sidecar|broker|pinnace .
# Without Docker: cargo xtask images.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# The cache mounts keep crates and objects between builds; the programs must leave them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --profile dist --locked \
        --package operator --package sidecar --package broker --package pinnace \
    && mkdir /programs \
    && cp target/dist/pinnace-operator target/dist/pinnace-sidecar \
        target/dist/pinnace-broker target/dist/pinnace /programs/

FROM debian:bookworm-slim AS base
RUN groupadd --gid 65532 nonroot \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp nonroot
USER 65532:65532
WORKDIR /

FROM base AS operator
COPY --from=build /programs/pinnace-operator /usr/bin/pinnace-operator
ENTRYPOINT ["/usr/bin/pinnace-operator"]

FROM base AS sidecar
COPY --from=build /programs/pinnace-sidecar /usr/bin/pinnace-sidecar
ENTRYPOINT ["/usr/bin/pinnace-sidecar"]

FROM base AS broker
COPY --from=build /programs/pinnace-broker /usr/bin/pinnace-broker
ENTRYPOINT ["/usr/bin/pinnace-broker"]

FROM base AS pinnace
COPY --from=build /programs/pinnace /usr/bin/pinnace
ENTRYPOINT ["/usr/bin/pinnace"]
