package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/config"
)

func newHealthcheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running proxy whether it is ready",
		Long: "healthcheck asks /readyz of the proxy that runs here with the same settings: http-listen says where. It ends with\n" +
			"1 if that is not ready, or does not answer. It is for containers, which have no other program that could ask.",
		Example: "  pgscope-proxy healthcheck --config /etc/pgscope/pgscope.yaml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Read(cmd.Flags())
			if err != nil {
				return ofFlags(cmd.Flags(), err)
			}
			answer, err := askReady(cmd.Context(), c.HTTPListen)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), answer)
			return err
		},
	}
	config.AddFlags(c.Flags())
	return c
}

// askReady returns what /readyz at address answers; an error where that is not that the proxy is ready.
func askReady(ctx context.Context, address string) (string, error) {
	if address == "" {
		return "", errors.New("http-listen is empty: there is nobody to ask")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout) // the proxy gives the server one
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := new(http.Transport).RoundTrip(req) // past all proxies that the environment has for others
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("not ready: %s", strings.TrimSpace(string(body)))
	}
	return string(body), nil
}
