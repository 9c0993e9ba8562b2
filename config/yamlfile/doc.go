// Package yamlfile reads the YAML files that people write by hand: strictly, and with every mistake reported at once
// with its place.
//
//	f := yamlfile.Parse("policy.yaml", data)
//	f.Root().Mapping(map[string]func(yamlfile.Value){
//		"rules": func(v yamlfile.Value) { … v.List() … v.Text() … v.Errorf(…) },
//	})
//	return f.Err() // policy.yaml:3:5: unknown key "acton": did you mean "action"?
//
// A scalar is the text that stands there, whatever type YAML would make of it: `off` is no truth value, and `007` no
// number. What a file can do without is an error: a second document, anchors, aliases, merge keys, tags and directives.
package yamlfile
