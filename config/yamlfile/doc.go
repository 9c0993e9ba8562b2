// Package yamlfile reads the YAML files that people write by hand: strictly, and with every mistake reported at once
// with its place.
//
//	f := yamlfile.Parse("policy.yaml", data)
//	f.Root().Mapping(map[string]func(yamlfile.Value){
//		"rules": func(v yamlfile.Value) { … v.List() … v.Text() … v.Errorf(…) },
//	})
//	return f.Err() // policy.yaml:3:5: unknown key "acton": did you mean "action"?
//
// A scalar is the text as it is written, whatever type YAML would give it: `off` is not a truth value, `007` not a number.
// Features that such a file does not need are errors: a second document, anchors, aliases, merge keys, tags, directives.
package yamlfile
