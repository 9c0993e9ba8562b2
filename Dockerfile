# One static program in an empty image: no shell, no libraries, not root.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN make static VERSION="$VERSION"

FROM scratch
# For sslmode=verify-full with a server that has a public certificate.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/dist/pgscope-proxy /pgscope-proxy
USER 65532:65532
# The defaults, on 127.0.0.1, could not be reached from outside the container.
ENV PGSCOPE_LISTEN=0.0.0.0:6432 PGSCOPE_HTTP_LISTEN=0.0.0.0:9632
EXPOSE 6432 9632
# Of settings it knows those of the environment. Docker shows the answer, and compose waits for it; Kubernetes asks /readyz.
HEALTHCHECK --interval=5s --timeout=5s CMD ["/pgscope-proxy", "healthcheck"]
ENTRYPOINT ["/pgscope-proxy"]
CMD ["serve"]
