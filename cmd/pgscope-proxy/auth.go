package main

import (
	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/proxy"
)

// authOptions says who is let in, and how, and which server connections outlive their clients.
func authOptions(c *config.Config, o *proxy.Options) {
	o.Auth, o.LoginFailures, o.AddHost = proxy.AuthMethod(c.Auth), c.LoginFailures, c.ApplicationNameAddHost
	if c.Pool == config.PoolSession {
		o.Pool = proxy.PoolOptions{Idle: c.PoolIdle, Size: c.PoolSize, Lifetime: c.PoolLifetime}
	}
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
