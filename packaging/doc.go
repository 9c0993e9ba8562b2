// Package packaging holds what runs the proxy: units for systemd, objects for Kubernetes, a dashboard and alerts, and the
// recipe of the .deb and the .rpm. Its tests hold these files to what the program has, and the links in the documents to
// what there is.
package packaging
