# psycopg 3: prepared statements, pipeline mode, COPY, binary results, notices, cancel.
import threading, psycopg
from psycopg import sql

c = psycopg.connect("", autocommit=True)
c.add_notice_handler(lambda d: print("  notice", d.sqlstate, d.message_primary))

def q(text, params=None, **how):
    try:
        cur = c.execute(text, params, **how)
        print("  ", cur.statusmessage, cur.fetchall() if cur.description else "", [(d.name, d.type_code) for d in cur.description or []])
    except psycopg.Error as e:
        print("  ", type(e).__name__, e.sqlstate, e.diag.message_primary, e.diag.statement_position, e.diag.message_hint)

print("== roles")
q(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'pencil'").format(sql.Identifier("clerk")))
q("CREATE TABLE letters (n int, body text)")
q("GRANT SELECT, INSERT ON letters TO clerk")
q("SELECT rolname FROM pg_roles WHERE rolname = %s", ["clerk"])
q("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1", [["clerk", "nobody"]])
q("SELECT rolname, rolconfig FROM pg_roles WHERE rolname = %s", ["clerk"], binary=True)
q("SELECT grantor, grantee, table_name, privilege_type, is_grantable FROM information_schema.role_table_grants WHERE table_name = 'letters' AND grantee = 'clerk' ORDER BY privilege_type")
print("== errors")
q("GRANT SELECT ON letters TO nobody")
q("GRANT SELECT ON letters clerk")
q("DROP ROLE IF EXISTS ghost")
print("== prepared")
for i in range(8):
    q("SELECT rolname, %s::int FROM pg_roles WHERE rolname = %s", [i, "clerk"], prepare=True)
print("== transactions")
try:
    with c.transaction():
        c.execute("CREATE ROLE temp")
        with c.transaction():
            c.execute("GRANT clerk TO temp")
            raise psycopg.Rollback()
        print("  ", c.execute("SELECT pg_has_role('temp', 'clerk', 'member')").fetchall())
        c.execute("SELECT 1/0")
except psycopg.Error as e:
    print("  ", e.sqlstate)
q("DROP ROLE temp")
print("== pipeline")
try:
    with c.pipeline() as p:
        cur = [c.execute(s) for s in ("CREATE ROLE porter", "GRANT clerk TO porter", "SELECT pg_has_role('porter', 'clerk', 'member')")]
        p.sync()
        print("  ", cur[2].fetchall())
        c.execute("DROP ROLE porter")
        c.execute("SELECT nosuch")
        c.execute("CREATE ROLE never")
        p.sync()
except psycopg.Error as e:
    print("  ", e.sqlstate, e.diag.message_primary)
q("SELECT rolname FROM pg_roles WHERE rolname IN ('porter', 'never')")
print("== copy")
with c.cursor() as cur:
    with cur.copy("COPY letters FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        for n in range(1000):
            copy.write_row((n, f"body {n}"))
    with cur.copy("COPY (SELECT rolname FROM pg_roles WHERE rolname = 'clerk') TO STDOUT") as copy:
        print("  ", list(copy.rows()))
    with cur.copy("COPY letters TO STDOUT") as copy:
        print("  ", sum(len(bytes(b)) for b in copy))
print("== server-side cursor")
with c.transaction(), c.cursor(name="named") as cur:
    cur.execute("SELECT rolname FROM pg_roles WHERE rolname = 'clerk'")
    print("  ", cur.fetchall())
print("== set role")
q("SET ROLE clerk")
q("SELECT current_user")
q("DELETE FROM letters")
q("RESET ROLE")
print("== cancel")
threading.Timer(0.2, c.cancel).start()
q("SELECT pg_sleep(60)")
print("== login")
with psycopg.connect(user="clerk", password="pencil") as own:
    print("  ", own.info.user, own.info.parameter_status("session_authorization"), own.execute("SELECT session_user, current_user").fetchall())
q("DROP OWNED BY clerk")
for s in ("DROP ROLE porter", "DROP ROLE clerk", "DROP TABLE letters"):
    q(s)
