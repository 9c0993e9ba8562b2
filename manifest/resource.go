package manifest

// resource is a manifest as a Kubernetes resource, PostgresPolicy.
type resource struct {
	located
	apiVersion, kind text
	spec             document
}

var resourceForm = object("resource",
	field("apiVersion", "Group and version of the resource.", bounded(maxText, false), func(r *resource) *text { return &r.apiVersion }).must(),
	field("kind", "Kind of the resource.", bounded(maxText, false), func(r *resource) *text { return &r.kind }),
	field("metadata", "For Kubernetes.", ignored(), func(*resource) *struct{} { return new(struct{}) }),
	field("status", "For Kubernetes.", ignored(), func(*resource) *struct{} { return new(struct{}) }),
	field("spec", "The manifest.", object("spec", append(operatorKeys(), manifestKeys...)...), func(r *resource) *document { return &r.spec }).must(),
)

// operatorKeys are those of a resource that say how an operator goes about it, which is nothing of the manifest's.
func operatorKeys() []key[document] {
	var keys []key[document]
	for _, name := range []string{
		"connection", "interval", "suspend", "mode", "approval", "reconciliation_mode", "allow_schema_owner_transfers",
	} {
		keys = append(keys, field(name, "For an operator; nothing comes of it here.", ignored(), func(*document) *struct{} { return new(struct{}) }))
	}
	return keys
}
