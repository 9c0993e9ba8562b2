package engine

import (
	"errors"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/rewrite/charset"
	"github.com/pgscope/pgscope-proxy/scope"
)

// How a text is read depends on settings of the session, which the server reports when they change. From PostgreSQL 14 on
// it does so with ReadyForQuery, so inside a pipeline, and while answers are awaited, the last report may be out of date.
// Then the server is asked first, if the text would read differently under other settings.

// readingSQL asks for the settings that a text is read with.
const readingSQL = `SELECT pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('server_encoding'), ` +
	`pg_catalog.current_setting('standard_conforming_strings')`

// settingsSQL tells the session its database and mode, before the client speaks of pgscope.* itself. To the server these
// are placeholders. In the startup packet functions would find them too, but up to PostgreSQL 15 the server sorts all of
// its settings for each new one (add_guc_variable, src/backend/utils/misc/guc.c), which costs a login 0.2 ms. A rollback
// may undo it, so it is said each time. It cannot be said in a failed transaction: so in one string with ROLLBACK, a
// SHOW that is the first to speak of a setting fails.
const settingsSQL = `SELECT pg_catalog.set_config('` + scope.DatabaseSetting + `', $1, false),` +
	` CASE WHEN COALESCE(pg_catalog.current_setting('` + scope.ModeSetting + `', true), '') OPERATOR(pg_catalog.=) ''` +
	` THEN pg_catalog.set_config('` + scope.ModeSetting + `', $2, false) END`

// reading is how a session's texts are read, and recorded.
type reading struct {
	analyze  func(sql string, o rewrite.Options) (*rewrite.Analysis, *rewrite.Error)
	options  rewrite.Options
	recorded bool
}

func (e *Engine) reading() reading { return reading{e.cfg.Analyze, e.options, e.cfg.Recorded} }

// redact returns a text as it is recorded, empty where it is not.
func (r *reading) redact(sql string) string {
	if !r.recorded {
		return ""
	}
	return rewrite.Redact(sql, r.options)
}

// mustAsk reports whether the settings that the text is read with matter, and may not be those of the last report.
func (e *Engine) mustAsk(sql string) bool {
	if !e.pending.unsynced && e.pending.n == 0 {
		return false
	}
	db := e.cfg.Directory.Database()
	return strings.IndexByte(sql, '\\') >= 0 || !charset.ASCII(sql) || !charset.ASCII(db.Name) || !charset.ASCII(db.Prefix)
}

// takeReading takes the answer to readingSQL.
func (e *Engine) takeReading() error {
	if len(e.question.rows) != 1 || len(e.question.rows[0]) != 3 {
		return serverViolation("unexpected answer", wire.DataRow)
	}
	row := e.question.rows[0]
	e.options.Encoding, e.options.ServerEncoding, e.options.StandardStrings = row[0], row[1], row[2] == "on"
	return nil
}

// encode returns a text of the proxy's in the client's character set, as the server expects it in this session.
func (e *Engine) encode(text string) (string, *scope.Error) { return encode(text, e.options) }

func encode(text string, o rewrite.Options) (string, *scope.Error) {
	encoded, err := o.Charset().Encode(text)
	if err == nil {
		return encoded, nil
	}
	var char *charset.UntranslatableError
	hint := ""
	if errors.As(err, &char) {
		hint = "The names of this database's roles cannot be written in this session: SET client_encoding TO 'UTF8'."
	}
	const untranslatableCharacter = "22P05"
	return "", &scope.Error{Code: untranslatableCharacter, Message: err.Error(), Hint: hint}
}

// inquired reads the answer to an inquiry. A role of the database whose name cannot be read is left out of the list,
// which is for the texts of errors; nothing else may be left out.
func (e *Engine) inquired(q scope.Inquiry) (*scope.View, error) {
	listed := []string{"own", "named"}
	set := e.options.Charset()
	rows := make([][]string, 0, len(e.question.rows))
	for _, raw := range e.question.rows {
		row := make([]string, len(raw))
		whole := true
		for i, value := range raw {
			decoded, ok := set.Decode(value, nil)
			row[i], whole = decoded, whole && ok
		}
		switch {
		case whole:
			rows = append(rows, row)
		case !slices.Contains(listed, raw[0]):
			return nil, serverViolation("a name that is not of the client's character set", wire.DataRow)
		}
	}
	e.question.rows = nil // there may be many, and the session may rest now
	view, err := q.Answer(rows, e.cfg.Directory.Prefix())
	if err != nil {
		return nil, serverViolation(err.Error(), wire.DataRow)
	}
	return view, nil
}

// encodeFields writes what the proxy put into a report in the client's character set. What cannot be written so is shown
// as '?': the report must not get lost.
func encodeFields(list []field, set *charset.Charset) {
	for i, f := range list {
		encoded, err := set.Encode(f.value)
		for _, r := range f.value {
			if err == nil {
				break
			}
			if _, failed := set.Encode(string(r)); failed != nil {
				f.value = strings.ReplaceAll(f.value, string(r), "?")
				encoded, err = set.Encode(f.value)
			}
		}
		list[i].value = encoded
	}
}

// notices are the messages that tell a client what in its text the proxy does not see; nil for none.
func (e *Engine) notices(list []*rewrite.Error) (frames []byte) {
	positions := rewrite.Positions(list)
	for i, n := range list {
		fields := appendError([]field{{'S', wire.SeverityNotice}, {'V', wire.SeverityNotice}}, n, positions[i])
		encodeFields(fields, e.options.Charset())
		frames = appendReport(frames, wire.NoticeResponse, fields)
	}
	return frames
}
