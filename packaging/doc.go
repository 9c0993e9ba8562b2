// Package packaging holds what is needed to run the proxy: units for systemd, objects for Kubernetes, a dashboard,
// alerts, and the recipe of the .deb and the .rpm. Its tests check that these files agree with the program, and that
// links in the documents lead somewhere.
package packaging
