package reconcile

import (
	"context"
	"errors"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

// names finds out what the names of a manifest mean. Roles must have been read.
func (o *observer) names(ctx context.Context) error {
	var own []scope.Name
	var plain []scope.Cluster
	for _, ref := range o.extent.Names {
		switch ref.Kind {
		case access.Own:
			own = append(own, ref.Name)
		case access.Global:
			plain = append(plain, scope.Cluster(ref.Name.Role))
		case access.Public:
		}
	}
	db := scope.NewDatabase(0, o.database, o.extent.Prefix)
	var view *scope.View
	for range 3 { // until what was taken for true is: the prefix, then the schemas of the names
		q := db.Inquire(own...)
		q.Names = append(q.Names, plain...)
		q.Own = o.extent.All
		var known bool
		var err error
		if view, known, err = q.Derive(o.oid, o.all, o.extent.Prefix); err == nil && !known {
			view, err = provision.Inquire(ctx, o.conn, q, o.extent.Prefix)
		}
		if err != nil {
			return err
		}
		if db = view.DB; view.Knows(own...) {
			break
		}
	}
	if !view.Knows(own...) {
		return errors.New("the database's roles changed while they were looked at")
	}
	o.view, o.state.Scope = view, view.DB
	o.state.Own = make(map[scope.Cluster]scope.Name)
	for c := range view.Roles() {
		if name, ok := view.Name(c); ok {
			o.state.Own[c] = name
		}
	}
	o.state.Names = make(map[access.Ref]Named, len(o.extent.Names))
	for _, ref := range o.extent.Names {
		o.state.Names[ref] = o.named(ref)
	}
	return nil
}

func (o *observer) named(ref access.Ref) Named {
	switch ref.Kind {
	case access.Public:
		return Named{Is: Present}
	case access.Global:
		n := o.global(ref.Name.Role)
		if n.Is == Missing && o.extent.Promised[ref] {
			n.Is = Promised
		}
		return n
	default:
		return o.own(ref.Name)
	}
}

// global is a name of the whole cluster.
func (o *observer) global(name scope.Short) Named {
	c := scope.Cluster(name)
	if !o.extent.AsWritten {
		if _, _, err := o.view.ResolvePlain(name); err != nil {
			return Named{Is: Impossible, Err: err}
		}
	}
	if o.state.role(c) != nil {
		return Named{Cluster: c, Is: Present}
	}
	return Named{Cluster: c, Is: Missing}
}

// own is a name of the database, or of a schema of it.
func (o *observer) own(name scope.Name) Named {
	resolve, create, qualify, marker := o.view.ResolveOwn, o.view.Create, o.view.DB.Qualify, o.view.DB.Marker
	if name.Schema != "" {
		s := o.view.DB.Schema(name.Schema)
		resolve = func(n scope.Short) (scope.Cluster, scope.Home, *scope.Error) { return o.view.ResolveIn(name.Schema, n) }
		create = func(n scope.Short) (scope.Cluster, *scope.Error) { return o.view.CreateIn(name.Schema, n) }
		if s.OID == 0 { // the plan makes it first
			create = s.Qualify
		}
		qualify, marker = s.Qualify, s.Marker
	}
	if c, home, err := resolve(name.Role); err == nil && home == scope.Own {
		return Named{Cluster: c, Marker: marker, Is: Present}
	}
	c, err := qualify(name.Role)
	if err != nil {
		return Named{Is: Impossible, Err: err}
	}
	if _, home, err := o.view.ResolvePlain(scope.Short(c)); err == nil && home == scope.Global {
		return Named{Cluster: c, Marker: marker, Is: Stranger}
	}
	if c, err = create(name.Role); err != nil {
		return Named{Is: Impossible, Err: err}
	}
	return Named{Cluster: c, Marker: marker, Is: Missing}
}
