package main

import (
	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/proxy"
)

// authSettings says who is let in, and how.
func authSettings(c *config.Config, o *proxy.Settings) {
	o.Auth, o.AddHost = proxy.AuthMethod(c.Auth), c.ApplicationNameAddHost
	o.LoginFailures, o.LoginFailureDelay = c.LoginFailures, c.LoginFailureDelay
	for _, r := range c.AuthRules {
		o.AuthRules = append(o.AuthRules, proxy.AuthRule{
			Databases: r.Databases, Users: r.Users, Method: proxy.AuthMethod(r.Method), Names: r.Names,
			Clients: proxy.AddressSet{Networks: r.Networks, Local: r.Local},
		})
	}
	if c.ProxyProtocol.Mode == config.ProxyProtocolRequire {
		o.Proxies = &proxy.Proxies{Networks: c.ProxyProtocol.From}
	}
}
