package scope

import (
	"fmt"
	"strings"
)

// How the markers and roles of a database or schema that is gone are dropped.

// dropBody drops roles, each by itself so that one that stays keeps none of the others. A role that has granted one of the
// others can only be dropped after that one, so it is tried twice.
const dropBody = `DECLARE
  roles pg_catalog.text[] := %[1]s; labels pg_catalog.text[] := %[2]s; loud pg_catalog.bool; why pg_catalog.text;
BEGIN
  FOREACH loud IN ARRAY ARRAY[false, true] LOOP FOR i IN 1 .. %[3]d LOOP
    BEGIN
      EXECUTE pg_catalog.format('DROP ROLE %%I', roles[i]);
    EXCEPTION
      WHEN undefined_object THEN NULL;
      WHEN OTHERS THEN
        IF loud THEN
          GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
          RAISE NOTICE USING MESSAGE = labels[i], DETAIL = pg_catalog.rtrim(pg_catalog.concat_ws(': ', SQLERRM, why), ': '),
            HINT = 'Remove what keeps it, then run pgscope-proxy init --sweep.';
        END IF;
    END;
  END LOOP; END LOOP;
%[4]sEND`

// dropMarker drops a marker that no role of its scope is left in.
const dropMarker = `  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_auth_members a
    JOIN pg_catalog.pg_roles k ON k.oid OPERATOR(pg_catalog.=) a.roleid
    JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.member
    WHERE k.rolname OPERATOR(pg_catalog.=) %[1]s
      AND (pg_catalog.starts_with(r.rolname::pg_catalog.text, %[2]s) OR pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pgscope_'))
  ) THEN
    BEGIN
      DROP ROLE %[3]s;%[4]s
    EXCEPTION
      WHEN undefined_object THEN NULL;
      WHEN OTHERS THEN RAISE NOTICE USING MESSAGE = %[5]s, DETAIL = SQLERRM;
    END;
  END IF;
`

// drop returns what drops markers, the innermost first, and their roles. what is what they belonged to. With announce it
// tells by NOTICE that they were dropped.
func drop(markers []*marker, what string, announce bool) (w Work) {
	var names, labels []string
	var last strings.Builder
	for _, m := range markers {
		for _, role := range m.roles() {
			r := Affected{Name: m.short(role), Cluster: role, Stays: fmt.Sprintf(`role "%s" of %s could not be dropped`, m.short(role), what)}
			names, labels, w.Roles = append(names, role.Literal()), append(labels, QuoteLiteral(r.Stays)), append(w.Roles, r)
		}
		notice := ""
		if announce && !m.ofSchema() {
			notice = " RAISE NOTICE USING MESSAGE = " + QuoteLiteral("the roles of "+what+" were dropped") + ";"
		}
		fmt.Fprintf(&last, dropMarker, m.name.Literal(), QuoteLiteral(m.note.rolePrefix()+Separator), m.name.Ident(), notice,
			QuoteLiteral("the marker of "+what+" could not be dropped"))
	}
	w.SQL = doSQL(fmt.Sprintf(dropBody, textArray(names), textArray(labels), len(names), last.String()))
	return w
}

// textArray is an array of expressions.
func textArray(list []string) string {
	return "ARRAY[" + strings.Join(list, ", ") + "]::pg_catalog.text[]"
}

func doSQL(body string) string { return "DO LANGUAGE plpgsql " + QuoteLiteral(body) }
