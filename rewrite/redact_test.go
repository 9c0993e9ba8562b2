package rewrite

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{`CREATE ROLE a PASSWORD 'canary'`, `CREATE ROLE a PASSWORD '***'`},
		{`ALTER ROLE a ENCRYPTED /* x */ PASSWORD /* y */ E'can\'ary' VALID UNTIL '2030-01-01'`, `ALTER ROLE a ENCRYPTED /* x */ PASSWORD /* y */ '***' VALID UNTIL '2030-01-01'`},
		{`ALTER ROLE a PASSWORD U&'c\0061nary' UESCAPE '!'; GRANT a TO b`, `ALTER ROLE a PASSWORD '***' UESCAPE '!'; GRANT a TO b`},
		{`ALTER ROLE a PASSWORD $x$canary$x$`, `ALTER ROLE a PASSWORD '***'`},
		{"ALTER ROLE a PASSWORD 'can'\n'ary'", `ALTER ROLE a PASSWORD '***'`},
		{`ALTER ROLE a PASSWORD NULL`, `ALTER ROLE a PASSWORD NULL`},
		{`ALTER ROLE a PASSWORD "canary"`, `ALTER ROLE a PASSWORD '***'`},
		{`ALTER ROLE a PASSWORD canary`, `ALTER ROLE a PASSWORD '***'`},
		{`COMMENT ON ROLE a IS 'the first one'`, `COMMENT ON ROLE a IS 'the first one'`},
		{`CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'bob', password 'canary', "sslkey" 'canary')`, `CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'bob', password '***', "sslkey" '***')`},
		{`ALTER USER MAPPING FOR a SERVER s OPTIONS (SET password 'canary')`, `ALTER USER MAPPING FOR a SERVER s OPTIONS (SET password '***')`},
		{`CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (host 'db', aws_key 'canary')`, `CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (host 'db', aws_key '***')`},
		{`CREATE SUBSCRIPTION s CONNECTION 'host=db password=canary' PUBLICATION p`, `CREATE SUBSCRIPTION s CONNECTION '***' PUBLICATION p`},
		{`DO $$ BEGIN CREATE ROLE a PASSWORD 'canary'; END $$`, `DO $$ BEGIN CREATE ROLE a PASSWORD '***'; END $$`},
		{`DO $$ DECLARE password text := 'canary'; BEGIN EXECUTE format('ALTER ROLE a PASSWORD %L', password); END $$`, `DO $$ DECLARE password text := '***'; BEGIN EXECUTE format('***', password); END $$`},
		{`DO 'BEGIN CREATE ROLE a PASSWORD ''canary''; END'`, `DO '***'`},
		{`DO $a$ BEGIN EXECUTE $b$ CREATE ROLE a PASSWORD 'canary' $b$; END $a$`, `DO $a$ BEGIN EXECUTE $b$ CREATE ROLE a PASSWORD '***' $b$; END $a$`},
		{`CREATE ROLE a; SELECT dblink_connect('host=db password=canary'), 'canary'`, `CREATE ROLE a; SELECT dblink_connect('***'), '***'`},
		{`CREATE ROLE a; SELECT f('postgres://bob:canary@db/x')`, `CREATE ROLE a; SELECT f('***')`},
		{`CREATE ROLE a; UPDATE users SET password = 'canary' -- password canary`, `CREATE ROLE a; UPDATE users SET password = '***' /* *** */`},
		{`ALTER USER a PASSWORD canary-canary!canary`, `ALTER USER a PASSWORD '***'`},
		{`ALTER USER a IDENTIFIED BY 'canary'; CREATE ROLE b IN ROLE "é" -- c`, `ALTER USER a '***'; CREATE ROLE b IN ROLE "é" -- c`},
		{`CREATE ROLE "é", b; CREATE USER a PASSWRD canary VALID UNTIL '2030-01-01'; GRANT a TO b`, `CREATE ROLE "é"'***'; CREATE USER a '***'; GRANT a TO b`},
		{`ALTER USER a PASSWORD ''canary''; GRANT a TO b`, `ALTER USER a PASSWORD '***''***'; GRANT a TO b`},
		{`CREATE SUBSCRIPTION s CONNECTION "password=canary" PUBLICATION p; DROP ROLE a`, `CREATE SUBSCRIPTION s CONNECTION '***'; DROP ROLE a`},
		{`CREATE DBONLY ROLE a PASSWORD 'canary'; GRANT a TO b`, `CREATE DBONLY ROLE a PASSWORD '***'; GRANT a TO b`},
		{`GRANT a TO b; x 'canary';` + strings.Repeat("x;", 1000), Unshown},
		{`SELECT token, 'canary'; x 'canary' 'canary', 'canary'; CREATE ROLE a PASSWORD 'canary'; y`, `SELECT token, '***'; '***'; CREATE ROLE a PASSWORD '***'; '***'`},
		{`CREATE ROLE a PASSWORD 'canary`, Unshown},
		{`SET standard_conforming_strings = off; ALTER ROLE a PASSWORD 'x\' canary'`, Unshown},
	} {
		got := Redact(c.sql, Options{StandardStrings: true, Encoding: "UTF8", ServerEncoding: "UTF8"})
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.sql, got, c.want)
		}
		if strings.Contains(got, "canary") {
			t.Errorf("%s: told: %s", c.sql, got)
		}
	}
	if got := Redact(`ALTER ROLE a PASSWORD 'x\' canary'`, Options{}); strings.Contains(got, "canary") {
		t.Errorf("told: %s", got)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add(`CREATE ROLE a PASSWORD `, ``)
	f.Add(`DO $$ BEGIN ALTER ROLE a /* x */ PASSWORD `, `; END $$`)
	f.Add(`CREATE USER MAPPING FOR a SERVER s OPTIONS (password `, `)`)
	f.Fuzz(func(t *testing.T, before, after string) {
		sql := before + "'canary4711'" + after
		got := Redact(sql, Options{StandardStrings: true, Encoding: "UTF8", ServerEncoding: "UTF8"})
		tokens, err := scan(sql)
		if err != nil {
			return
		}
		for i, k := range tokens { // where it is a password by the grammar, it is hidden
			if i > 0 && k.start == len(before) && tokens[i-1].start >= 0 && strings.EqualFold(sql[tokens[i-1].start:tokens[i-1].end], "password") &&
				strings.Contains(got, "canary4711") && strings.Count(sql, "canary4711") == 1 {
				t.Fatalf("%q: told: %q", sql, got)
			}
		}
	})
}
