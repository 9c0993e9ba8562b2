package main

// demoStep is one scene: a script, whom it speaks to, and what must come out of it.
type demoStep struct {
	title    string
	database string
	user     string
	direct   bool // to the server itself, not through the proxy
	script   []string
	manifest string   // instead of a script: what is applied, as "pgscope-proxy apply" does it
	wants    []string // what the output holds, or the demo has failed
}

var demoSteps = []demoStep{
	{
		title: "Database orders gets a role. Nobody writes a prefix.", database: "orders", user: "postgres",
		script: []string{
			"CREATE ROLE reader", "CREATE USER app IN ROLE reader",
			"CREATE TABLE invoices AS SELECT 1 AS id, 'paid' AS state", "CREATE TABLE secrets AS SELECT 42 AS answer",
			"GRANT SELECT ON invoices TO reader",
		},
		wants: []string{"CREATE ROLE", "GRANT"},
	},
	{
		title: "Database billing has a role of the same name. PostgreSQL alone would say that it exists.", database: "billing", user: "postgres",
		script: []string{"CREATE ROLE reader", "CREATE TABLE accounts AS SELECT 7 AS id", "GRANT SELECT ON accounts TO reader"},
		wants:  []string{"CREATE ROLE", "GRANT"},
	},
	{
		title: "What the server has: names with a prefix, each a member of its database's marker.", database: "postgres", user: "postgres", direct: true,
		script: []string{clusterRoles},
		wants:  []string{"orders_reader", "billing_reader", "orders_app", "pgscope_db_orders", "pgscope_db_billing"},
	},
	{
		title: "The role is used: one read is allowed, one is not.", database: "orders", user: "postgres",
		script: []string{"SET ROLE reader", "SELECT * FROM invoices", "SELECT * FROM secrets", "RESET ROLE"},
		wants:  []string{"paid", "permission denied for table secrets"},
	},
	{
		title: "A login of the database comes in under its short name.", database: "orders", user: "app",
		script: []string{"SELECT * FROM invoices"},
		wants:  []string{"paid"},
	},
	{
		title: "Errors speak the client's language, and transactions are transactions.", database: "orders", user: "postgres",
		script: []string{
			"CREATE ROLE reader", "BEGIN", "CREATE ROLE temporary", "ROLLBACK", "DROP ROLE temporary",
			"GRANT reader TO billing_reader",
		},
		wants: []string{`role "reader" already exists`, `role "temporary" does not exist`, `role "billing_reader" does not exist`},
	},
	{
		title: "What is gone, is gone.", database: "orders", user: "postgres",
		script: []string{"DROP OWNED BY reader, app", "DROP ROLE reader, app"},
		wants:  []string{"DROP ROLE"},
	},
	{
		title: "The other database did not notice.", database: "postgres", user: "postgres", direct: true,
		script: []string{clusterRoles},
		wants:  []string{"billing_reader"},
	},
	{
		title: "Access can be a file. This one is applied to database billing.", database: "billing", user: "postgres", direct: true,
		manifest: demoManifest,
		wants:    []string{"+ create role auditor", "+ add member reader"},
	},
	{
		title: "Somebody changes it by hand, behind the proxy's back.", database: "billing", user: "postgres", direct: true,
		script: []string{"GRANT DELETE ON accounts TO billing_reader"},
		wants:  []string{"GRANT"},
	},
	{
		title: "It is put right. With --manifest the proxy does that all the time.", database: "billing", user: "postgres", direct: true,
		manifest: demoManifest,
		wants:    []string{"- revoke table public.accounts: DELETE of reader"},
	},
}

const demoManifest = `roles:
  - name: reader
  - name: auditor
    login: true
memberships:
  - role: reader
    members: [{ name: auditor }]
grants:
  - { role: reader, privileges: [SELECT], object: { type: table, schema: public, name: "*" } }
`

const clusterRoles = `SELECT r.rolname, ARRAY(SELECT m.roleid::regrole FROM pg_auth_members m WHERE m.member = r.oid) AS member_of ` +
	`FROM pg_roles r WHERE r.rolname !~ '^(pg_|postgres$)' ORDER BY 1`
