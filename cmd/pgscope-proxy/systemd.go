package main

import (
	"errors"
	"net"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// The states that a service manager is told (sd_notify(3)). Where there is none, nobody is.
const (
	stateReady    = daemon.SdNotifyReady
	stateStopping = daemon.SdNotifyStopping
)

// stateReloading is told before a reload, stateReady after it. Type=notify-reload wants to know when it began.
func stateReloading() string { return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec() }

// tellManager tells the service manager, if there is one.
func tellManager(log *zap.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("the service manager was not told", zap.String("state", state), zap.Error(err))
	}
}

// inheritedListeners are the sockets that a service manager opened for the process (sd_listen_fds(3)); none where it was
// started otherwise.
func inheritedListeners() ([]net.Listener, error) {
	listeners, err := activation.Listeners()
	if err == nil && slices.Contains(listeners, nil) {
		err = errors.New("a socket of the service manager is not one that accepts connections")
	}
	return listeners, err
}
