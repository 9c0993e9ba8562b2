package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Load reads the settings from the flags that [AddFlags] added, the environment and the file. The error tells all that
// is wrong with them, joined. Load may be called again, to read the environment and the file anew.
func Load(flags *pflag.FlagSet) (*Config, error) {
	l, c := read(flags)
	for _, r := range requirements {
		if !l.invalid[r.key] && r.missing(c) {
			l.problem(r.key, errors.New(r.message))
		}
	}
	return l.result(c)
}

// Read is [Load] for who needs no proxy of the settings: it does not ask whether they are enough for one.
func Read(flags *pflag.FlagSet) (*Config, error) {
	l, c := read(flags)
	return l.result(c)
}

// read takes in all sources.
func read(flags *pflag.FlagSet) (*loader, *Config) {
	l := &loader{flags: flags, viper: viper.New(), invalid: make(map[string]bool)}
	l.viper.AllowEmptyEnv(true) // the empty text is a value too: it turns some settings off
	for i := range settings {
		l.bind(&settings[i])
	}
	l.unknownVariables(os.Environ())
	c := &Config{}
	c.Databases, c.AuthRules = l.file()
	for i := range settings {
		s := &settings[i]
		l.problem(s.key, s.set.parse(c, l.viper.GetString(s.key)))
	}
	return l, c
}

// FlagError is what is wrong with the value of a flag.
type FlagError struct{ error }

const dashes = "--" // before the name of a flag

// loader gathers the sources. Only what is valid gets into viper, which says what goes before what.
type loader struct {
	flags    *pflag.FlagSet
	viper    *viper.Viper
	invalid  map[string]bool // the settings that some source has an invalid value for
	problems []error
}

// problem notes an error, if it is one, and where it is.
func (l *loader) problem(where string, err error) {
	if err == nil {
		return
	}
	err = fmt.Errorf("%s: %w", where, err)
	if strings.HasPrefix(where, dashes) {
		err = FlagError{err}
	}
	l.problems = append(l.problems, err)
}

// valid checks what a source has for a setting.
func (l *loader) valid(s *setting[Config], where, text string) bool {
	err := s.check(text)
	if err != nil {
		l.problem(where, err)
		l.invalid[s.key] = true
	}
	return err == nil
}

// result is c, unless something is wrong.
func (l *loader) result(c *Config) (*Config, error) {
	if err := errors.Join(l.problems...); err != nil {
		return nil, err
	}
	return c, nil
}

// bind takes in what flag, environment and default have for a setting.
func (l *loader) bind(s *setting[Config]) {
	l.viper.SetDefault(s.key, s.def)
	f := l.flags.Lookup(s.flag())
	byFlag := f != nil && f.Changed
	if byFlag && l.valid(s, dashes+f.Name, f.Value.String()) {
		l.problem(s.key, l.viper.BindPFlag(s.key, f))
	}
	text, set := os.LookupEnv(s.env())
	if set && l.valid(s, s.env(), text) {
		l.problem(s.key, l.viper.BindEnv(s.key, s.env()))
	}
	if !s.secret {
		return
	}
	variable := s.env() + fileSuffix
	path, named := os.LookupEnv(variable)
	switch {
	case !named:
	case set:
		l.problem(variable, fmt.Errorf("%s is set too", s.env()))
	default:
		text, err := readSecret(path)
		l.problem(variable, err)
		if err != nil {
			l.invalid[s.key] = true
		} else if l.valid(s, variable, text) && !byFlag {
			l.viper.Set(s.key, text)
		}
	}
}

// requirements are what settings need to be of use, in themselves and together.
var requirements = []struct {
	key     string
	missing func(*Config) bool
	message string
}{
	{
		"upstream", func(c *Config) bool { return c.Upstream.Empty() },
		"must be set: by --upstream, PGSCOPE_UPSTREAM, the file that PGSCOPE_UPSTREAM_FILE names, or upstream in the file of --config",
	},
	{
		"admin-dsn", func(c *Config) bool { return c.letsIn(AuthVerify) != "" && c.AdminDSN.Empty() },
		"must be set where auth, or a rule of auth-rules, is verify",
	},
	{
		"admin-dsn", func(c *Config) bool { return c.Manifest != "" && c.AdminDSN.Empty() },
		"must be set if there is a manifest",
	},
	{
		"proxy-protocol.from", func(c *Config) bool {
			return c.ProxyProtocol.Mode == ProxyProtocolRequire && len(c.ProxyProtocol.From) == 0
		},
		"must be set if proxy-protocol.mode is require",
	},
	{
		"pool", func(c *Config) bool { return c.Pool != PoolOff && c.ApplicationNameAddHost },
		"must be off if application-name-add-host is true: no two clients have the same startup parameters then",
	},
	{
		"client-tls.cert", func(c *Config) bool { return c.ClientTLS.Mode != TLSOff && c.ClientTLS.Cert == "" },
		"must be set unless client-tls.mode is off",
	},
	{
		"client-tls.key", func(c *Config) bool { return c.ClientTLS.Mode != TLSOff && c.ClientTLS.Key == "" },
		"must be set unless client-tls.mode is off",
	},
	{
		"client-tls.ca", func(c *Config) bool { return c.ClientTLS.Mode == TLSVerifyFull && c.ClientTLS.CA == "" },
		"must be set if client-tls.mode is verify-full",
	},
}

// Useless is a setting that has no effect.
type Useless struct{ Setting, Because string }

// Useless returns the settings that somebody may rely on and that have no effect, as another says something else.
func (c *Config) Useless() (list []Useless) {
	byCert := c.letsIn(AuthCert)
	pools := c.letsIn(AuthVerify, AuthCert, AuthPeer, AuthTrust) != ""
	for _, u := range []struct {
		setting string
		said    bool
		because string
	}{
		{"client-tls.cert", c.ClientTLS.Mode == TLSOff && c.ClientTLS.Cert != "", "client-tls.mode is off"},
		{"client-tls.ca", c.ClientTLS.Mode == TLSOff && c.ClientTLS.CA != "", "client-tls.mode is off"},
		{byCert, byCert != "" && c.ClientTLS.Mode == TLSOff, "client-tls.mode is off: nobody has a certificate"},
		{byCert, byCert != "" && c.ClientTLS.Mode != TLSOff && c.ClientTLS.CA == "", "client-tls.ca is not set: nobody has a certificate"},
		{"pool", c.Pool != PoolOff && !pools, "auth lets nobody in but by passthrough"},
		{"proxy-protocol.from", c.ProxyProtocol.Mode == ProxyProtocolOff && len(c.ProxyProtocol.From) > 0, "proxy-protocol.mode is off"},
		{"audit.keep", c.Audit.File == "" && c.Audit.Keep > 0, "audit.file is not set"},
		{"audit.max-age", c.Audit.File == "" && c.Audit.MaxAge > 0, "audit.file is not set"},
		{"reconcile.database", c.Manifest == "" && c.Reconcile.Database != "", "manifest is not set"},
	} {
		if u.said {
			list = append(list, Useless{u.setting, u.because})
		}
	}
	return list
}
