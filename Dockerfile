# The server and the command line as an image: docs/operations.md#the-image
# Everything in it comes from the registries of Go and npm, and from these images. Pin them by digest where you build:
#   docker build --build-arg NODE_IMAGE=docker.io/library/node@sha256:… .
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm
ARG NODE_IMAGE=docker.io/library/node:24.21.0-bookworm
ARG BASE_IMAGE=docker.io/library/debian:12.11-slim

# The pinned OPA compiler, which policies are compiled by.
FROM ${GO_IMAGE} AS opa
WORKDIR /src/tools/opa
COPY tools/opa/go.mod tools/opa/go.sum ./
RUN go mod download
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/opa github.com/open-policy-agent/opa

# dist/, by the same steps as "make build".
FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY buf.yaml buf.gen.yaml tsconfig.json tsconfig.build.json ./
COPY proto proto
COPY third_party third_party
COPY src src
RUN npx buf generate && npx tsc -p tsconfig.build.json

# What it needs to run. Node itself is the image's, so its npm package stays out; so does what better-sqlite3 would be
# compiled from, and its builds for other systems.
FROM ${NODE_IMAGE} AS dependencies
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund \
 && cd node_modules/better-sqlite3 && rm -rf deps src binding.gyp \
 && find prebuilds -name '*.node' ! -name "linux-$(node -p process.arch).node" -delete

FROM ${BASE_IMAGE} AS server
COPY --from=build /usr/local/bin/node /usr/local/bin/node
WORKDIR /opt/mandate
COPY package.json LICENSE ./
COPY bin/mandate.mjs bin/health.mjs bin/
COPY --from=opa /out/opa bin/opa
COPY policies policies
COPY --from=dependencies /src/node_modules node_modules
COPY --from=build /src/dist dist
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/mandate

# It starts once, with the example tenant: an image that does not start is none. What V8 has compiled by then is kept, as
# a server on a read-only root cannot keep it itself: a tenth less processor a start. Node keeps it by user.
FROM server AS warm
RUN install -d -o 65532 -g 65532 .cache
USER 65532:65532
RUN node bin/mandate.mjs serve --dev --tenants policies/acme --data-dir /tmp/data & server=$! \
 && for second in $(seq 60); do node bin/health.mjs && break; sleep 1; done \
 && node bin/health.mjs && kill -TERM $server && wait $server && chmod -R a+rX .cache

FROM server
LABEL org.opencontainers.image.title=mandate \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.description="Policy decision point and agent delegation authority"
COPY --from=warm --chown=0:0 /opt/mandate/.cache .cache
ENV NODE_ENV=production MANDATE_DATA_DIR=/var/lib/mandate
USER 65532:65532
VOLUME /var/lib/mandate
EXPOSE 7400 7401
STOPSIGNAL SIGTERM
# MANDATE_HEALTH_URL names another address, such as https://127.0.0.1:7400/readyz or unix:/run/mandate/mandate.sock.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["node", "/opt/mandate/bin/health.mjs"]
ENTRYPOINT ["node", "/opt/mandate/bin/mandate.mjs"]
CMD ["serve"]
