package scope

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Known is a role of the cluster, to whoever has read them all.
type Known struct {
	Name    Cluster
	Comment string
	In      []Cluster // the roles that it is a member of
}

// Derive answers the inquiry for somebody who knows all roles of the cluster, without the server. ok is false where
// only the server can tell: where a marker may be the database's, but its comment does not have both its OID and its
// name; and where schemas are in question, or have roles. It says nothing of the session, nor whether roles may log
// in.
func (q Inquiry) Derive(oid uint32, all []Known, prefix string) (view *View, ok bool, err error) {
	db := Database{OID: oid, Name: q.Database}
	lead, _, _ := strings.Cut(db.Comment(), ",")
	naming := "," + db.InComments() + `,"prefix":`
	rows := [][]string{{"database", q.Database, strconv.FormatUint(uint64(oid), 10), ""}, {"session", "", "", "[]"}}
	comments, schemas := make(map[Cluster]*string), []Known(nil)
	var marker Cluster
	for _, r := range all {
		if !markerRole(r.Name) {
			continue
		}
		if r.Comment != "" {
			comments[r.Name] = &r.Comment
		}
		if strings.HasPrefix(string(r.Name), schemaMarkerPrefix) {
			schemas = append(schemas, r)
		}
		byOID, byName := strings.HasPrefix(r.Comment, lead+","), strings.Contains(r.Comment, naming)
		switch {
		case !strings.HasPrefix(string(r.Name), markerPrefix) || !byOID && !byName:
		case marker != "" || !byOID || !byName:
			return nil, false, nil
		default:
			marker = r.Name
			rows = append(rows, []string{"marker", string(r.Name), "0", r.Comment})
		}
	}
	if len(q.Schemas) > 0 || marker != "" && slices.ContainsFunc(schemas, func(r Known) bool { return slices.Contains(r.In, marker) }) {
		return nil, false, nil
	}
	asked := make(map[Cluster]bool, len(q.Names))
	for _, name := range q.Names {
		asked[name] = true
	}
	for _, r := range all {
		var markers [][3]*string // as roleOf reads them
		for _, in := range r.In {
			if !markerRole(in) {
				continue
			}
			markers = append(markers, [3]*string{(*string)(&in), comments[in]})
			if q.Own && in == marker {
				rows = append(rows, []string{"own", string(r.Name), "", string(in)})
			}
		}
		if asked[r.Name] {
			text, err := json.Marshal(markers)
			if err != nil {
				return nil, false, err
			}
			rows = append(rows, []string{"role", string(r.Name), "", string(text)})
		}
	}
	view, err = q.Answer(rows, prefix)
	return view, err == nil, err
}
