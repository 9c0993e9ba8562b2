// Package config is the proxy's settings: where they come from, what they may be, and what they mean.
//
//	--mode explicit           flag                          wins
//	PGSCOPE_MODE=explicit     environment
//	mode: explicit            the file named by --config
//	transparent               default
//
// [settings] is the table of all of them: flags, variables, keys, checks and docs/configuration.md are made from it. Each
// source is checked by itself, so that a mistake is reported with its place also where another source wins, and all
// mistakes are reported at once. What comes out is one plain struct, [Config].
package config
