// Package reconcile makes the access that a server gives equal to the access that a manifest wants.
//
//	access.Desired ─┐
//	                ├─▶ Plan ─▶ []Change ─▶ apply ─▶ server ─▶ Observe again: nothing may be left
//	server ─▶ Observe ─▶ State
//
// [Observe] reads one snapshot of the catalogs: the server, the roles with their memberships, all that has an ACL, as
// the server stores it. [NewPlan] compares in memory and has no side effects. [Run] is the whole of it for one database:
// it observes, plans, checks that every change can be made, makes them in one transaction, and proves by observing again
// that nothing is left. Where there is nothing to do, nothing is written. Of objects that are alike one is read for all,
// unless their names are wanted.
//
// # The files, in reading order
//
//	run.go        Run: look, lock, carry out, look again         lock.go, fingerprint.go, errors.go
//	extent.go     what is to be observed
//	observe.go    Observe: the catalogs                          ask.go, catalogs.go, acl.go; names.go: what names mean
//	uses.go       what keeps roles from being dropped            password.go: which are as they shall be
//	state.go      what was observed
//	plan.go       NewPlan: step by step                          plan_*.go; surface.go, mode.go: how far it goes
//	compare.go    what an ACL lacks, and what it has too much    select.go: which objects a grant means
//	batch.go      single rights, collected                       batch_statements.go: made statements
//	borrow.go     what the executor must be a member of          reach.go: who gets at what it gives and takes
//	change.go     one change, its step and its stage
//	apply.go      makes the changes                              effective.go: the proof that markers give nobody anything
//	check.go      what nobody has declared
//	export.go     a manifest of what is there
//
// # What is compared
//
//	roles         every declared role that is not external: attributes, comment, settings, password
//	memberships   members of declared roles; of external and predefined ones those that are named, or all if exclusive
//	schemas       those that are declared: existence, owner, the owner's own rights
//	privileges    of declared roles, on objects of the schemas that the manifest speaks of, on those schemas, and on the
//	              database; on objects outside of schemas where the manifest speaks of their kind
//	PUBLIC        where it is named, and nothing else of it
//	defaults      in those schemas; outside of schemas for the pairs of owner and kind that are named
//	retirements   roles that shall go: each as a whole, or if anything is in its way not at all
//
// What an owner may do with its own objects is its own affair. Roles that are not in the manifest keep their rights, even
// where the role that granted them loses its grant option.
//
// # Modes
//
//	authoritative   all of it
//	additive        nothing is taken away and nothing that exists is altered: a password is set with its role
//	adopt           as authoritative, but nothing is dropped; roles that carry the database's prefix, and belong to no
//	                database, become its own
package reconcile
