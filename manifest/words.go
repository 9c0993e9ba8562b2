package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Bounds of texts, in characters. Comments, and values of settings, are bounded by the file alone, as at the server.
const (
	maxText    = 256
	maxPattern = 128
	maxWord    = 64
	// maxType is the longest type of an argument: schema and name in quotes, each of their characters one that is doubled
	// there. A function has at most maxArguments (FUNC_MAX_ARGS, src/include/pg_config_manual.h).
	maxType      = 2*(2*scope.MaxName+2) + len(".[], ")
	maxArguments = 100
	maxObject    = scope.MaxName + len("()") + maxArguments*maxType
)

// identifier is the name of a role, schema or column: an identifier as SQL has it between quotes.
var identifier = textOf(map[string]any{"type": "string", "minLength": 1, "maxLength": scope.MaxName}, notIdentifier)

// notIdentifier says why a text is none; empty where it is one.
func notIdentifier(s string) string {
	switch {
	case s == "":
		return "a name is empty"
	case strings.ContainsRune(s, 0):
		return "a name has the character NUL in it"
	case len(s) > scope.MaxName:
		return fmt.Sprintf(`the name "%.20s…" has %d bytes; the server keeps %d`, s, len(s), scope.MaxName)
	}
	return ""
}

// reference is the name of a role, where one of a schema is written schema.role.
var reference = textOf(map[string]any{"type": "string", "minLength": 1, "maxLength": 2*scope.MaxName + 1}, func(s string) string {
	switch {
	case s == "":
		return "a name is empty"
	case len(s) > 2*scope.MaxName+1:
		return fmt.Sprintf(`the name "%.20s…" has %d bytes; the server keeps %d`, s, len(s), scope.MaxName)
	}
	return ""
})

// objectName is the name of an object; of a routine with the types of its arguments.
var objectName = form[text]{
	read: bounded(maxObject, false).read,
	schema: func(map[string]any) map[string]any { // a large object's name is a number
		return map[string]any{"type": []string{"string", "integer"}, "minLength": 1, "maxLength": maxObject}
	},
}

// anyText is a text as long as it likes, which may be empty.
var anyText = textOf(map[string]any{"type": "string"}, func(s string) string {
	if strings.ContainsRune(s, 0) {
		return "a text has the character NUL in it"
	}
	return ""
})

// likePattern is a pattern of LIKE; one that ends within an escape is an error at the server too.
var likePattern = textOf(map[string]any{"type": "string", "minLength": 1, "maxLength": maxText}, func(s string) string {
	switch escapes := len(s) - len(strings.TrimRight(s, `\`)); {
	case s == "" || len([]rune(s)) > maxText || strings.ContainsRune(s, 0):
		return fmt.Sprintf("a name_pattern has 1 to %d characters", maxText)
	case escapes%2 == 1:
		return `a name_pattern cannot end with the escape character`
	}
	return ""
})

// bounded is any text of so many characters, or none at all where it may be empty.
func bounded(characters int, empty bool) form[text] {
	schema := map[string]any{"type": "string", "maxLength": characters}
	if !empty {
		schema["minLength"] = 1
	}
	return textOf(schema, func(s string) string {
		switch n := len([]rune(s)); {
		case n == 0 && !empty:
			return "a text is empty"
		case n > characters:
			return fmt.Sprintf("the text has %d characters; it may have %d", n, characters)
		case strings.ContainsRune(s, 0):
			return "a text has the character NUL in it"
		}
		return ""
	})
}

// pattern is how the names of a profile's roles are made.
var pattern = textOf(map[string]any{"type": "string", "maxLength": maxPattern, "pattern": `\{profile\}`}, func(s string) string {
	switch {
	case !strings.Contains(s, "{profile}"):
		return `a role_pattern must have {profile} in it, or all profiles' roles had one name`
	case len([]rune(s)) > maxPattern:
		return fmt.Sprintf("the role_pattern has more than %d characters", maxPattern)
	}
	rest := strings.NewReplacer("{profile}", "", "{schema}", "").Replace(s)
	if strings.ContainsAny(rest, "{}") {
		return "a role_pattern may have {schema} and {profile} in it, and no other braces"
	}
	return ""
})

// timestamp is a moment with its time zone.
var timestamp = textOf(map[string]any{"type": "string", "format": "date-time", "maxLength": maxWord}, func(s string) string {
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil || len(s) > maxWord {
		return fmt.Sprintf(`"%.64s" is no time such as 2027-01-31T00:00:00Z`, s)
	}
	return ""
})

// boolean is true or false, as YAML 1.2 has them.
func boolean(otherwise bool) form[*bool] {
	return form[*bool]{
		read: func(v yamlfile.Value) *bool {
			s, ok := v.Text()
			if !ok {
				return nil
			}
			b := strings.EqualFold(s, "true")
			if !b && !strings.EqualFold(s, "false") {
				v.Errorf(`"%s" is neither true nor false`, s)
				return nil
			}
			return &b
		},
		schema: func(map[string]any) map[string]any {
			return map[string]any{"type": "boolean", "default": otherwise}
		},
	}
}

// or returns what b points to; otherwise if it is nil.
func or[T any](b *T, otherwise T) T {
	if b == nil {
		return otherwise
	}
	return *b
}

// connections is how many sessions a role may have: pg_authid.rolconnlimit.
var connections = form[*int]{
	read: func(v yamlfile.Value) *int {
		s, ok := v.Text()
		if !ok {
			return nil
		}
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < -1 {
			v.Errorf(`"%s" is no number of connections; -1 is for any number`, s)
			return nil
		}
		limit := int(n)
		return &limit
	},
	schema: func(map[string]any) map[string]any {
		return map[string]any{"type": "integer", "minimum": -1, "maximum": 1<<31 - 1, "default": -1}
	},
}

// settingName is the name of a configuration parameter (valid_custom_variable_name, src/backend/utils/misc/guc.c).
var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*$`)

// settings are configuration parameters. Their values are taken as they are written: off is off.
var settings = form[[]named[text]]{
	read: func(v yamlfile.Value) []named[text] {
		list := dictOf(anyText).read(v)
		seen := make(map[string]bool, len(list))
		for _, s := range list {
			name := strings.ToLower(s.name) // as the server compares them
			switch {
			case !settingName.MatchString(s.name):
				s.at.KeyErrorf(`"%s" is no name of a configuration parameter`, s.name)
			case seen[name]:
				s.at.KeyErrorf(`parameter "%s" stands here twice`, name)
			}
			seen[name] = true
		}
		return list
	},
	schema: func(map[string]any) map[string]any {
		return map[string]any{
			"type":                 "object",
			"propertyNames":        map[string]any{"pattern": settingName.String()},
			"additionalProperties": map[string]any{"type": []string{"string", "number", "boolean"}},
		}
	},
}

// kindWords are the words for all kinds of objects, and defaultWords for those that have default privileges.
func kindWords(which func(access.KindInfo) bool) []string {
	var words []string
	for _, k := range access.Kinds() {
		if which(k.Info()) {
			words = append(words, k.Info().Name)
		}
	}
	return words
}

var (
	kindWord    = oneOf(kindWords(func(access.KindInfo) bool { return true })...)
	defaultWord = oneOf(kindWords(func(k access.KindInfo) bool { return k.Default != 0 })...)
)

// all is the word for every privilege that there is on a kind of object.
const all = "ALL"

var privilegeWord = oneOf(append((^access.Privileges(0)).Words(), "TEMP", all)...)
