# The image of controller and agent: two static programs, roots for TLS, and nothing that runs
# besides. `make image` assembles the same image without a container engine.
#
#   docker build --build-arg VERSION=$(git describe --tags --always --dirty) \
#     --build-arg REVISION=$(git rev-parse HEAD) -t sluice .
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY . .
ARG TARGETARCH
ARG VERSION=dev
RUN go run -C tools ./image -roots /out
RUN CGO_ENABLED=0 GOOS=linux GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/sluice ./cmd/sluice-agent \
    && chmod 0555 /out/sluice /out/sluice-agent

FROM scratch
COPY --from=build /out /
ARG VERSION=dev
ARG REVISION
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="From a Git repository to the machine configuration of a fleet of Linux nodes" \
      org.opencontainers.image.source="https://github.com/sluice-gitops/sluice" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION
ENV PATH=/
WORKDIR /
# The controller's. The agent writes the node's files: its DaemonSet makes it root.
USER 65532:65532
ENTRYPOINT ["/sluice"]
