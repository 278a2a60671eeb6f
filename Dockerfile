# Nothing here needs BuildKit: Cloud Build's docker step has the classic builder.
# The context needs Cargo.toml, Cargo.lock and src/ only. Any base images will do that carry the same C library:
#   docker build --build-arg RUST_IMAGE=… --build-arg RUNTIME_IMAGE=… -t runback .
ARG RUST_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
WORKDIR /build

# The dependencies are a layer of their own: it is built again only when Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin runback \
    && rm -r src

# What `runback --version` says beside the version; the image's builder knows it, its context does not.
ARG COMMIT=
ENV RUNBACK_COMMIT=${COMMIT}

# Cargo goes by times, and the copied files may be older than the empty ones that were just built.
COPY src ./src
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin runback \
    && install --mode 0555 target/release/runback /runback

# No shell, no package manager, CA certificates included. Nothing is ever written to the file system.
FROM ${RUNTIME_IMAGE}
COPY --from=build /runback /runback
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/runback"]
CMD ["serve"]
