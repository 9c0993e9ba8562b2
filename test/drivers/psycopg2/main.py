# psycopg 2: client-side parameters, several statements in a string, COPY, notices, cancel.
import io, threading, psycopg2, psycopg2.extras

c = psycopg2.connect("")
c.autocommit = True
cur = c.cursor()

def q(text, params=None):
    try:
        cur.execute(text, params)
        print("  ", cur.statusmessage, cur.fetchall() if cur.description else "", [(d.name, d.type_code) for d in cur.description or []])
    except psycopg2.Error as e:
        print("  ", type(e).__name__, e.pgcode, e.diag.message_primary, e.diag.statement_position)
    while c.notices:
        print("  ", c.notices.pop(0).strip())

print("== roles")
q("CREATE ROLE clerk LOGIN PASSWORD %s; CREATE TABLE letters (n int, body text); GRANT SELECT, INSERT ON letters TO clerk", ["pencil"])
q("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname IN %s", [("clerk", "nobody")])
q("SELECT relacl FROM pg_class WHERE relname = 'letters'")
q("SELECT usename, usesuper FROM pg_user WHERE usename LIKE 'cl%%'")
print("== errors")
q("GRANT SELECT ON letters TO nobody")
q("GRANT SELECT ON letters clerk")
q("DROP ROLE IF EXISTS ghost")
print("== transactions")
c.autocommit = False
q("CREATE ROLE temp")
c.rollback()
q("DROP ROLE temp")
c.rollback()
c.autocommit = True
print("== copy")
cur.copy_expert("COPY letters FROM STDIN", io.StringIO("".join(f"{n}\tbody {n}\n" for n in range(1000))))
out = io.StringIO()
cur.copy_expert("COPY (SELECT rolname FROM pg_roles WHERE rolname = 'clerk') TO STDOUT", out)
print("  ", repr(out.getvalue()))
print("== set role")
for s in ("SET ROLE clerk", "SELECT current_user, count(*) FROM letters", "DELETE FROM letters", "RESET ROLE"):
    q(s)
print("== cancel")
threading.Timer(0.2, c.cancel).start()
q("SELECT pg_sleep(60)")
print("== login")
own = psycopg2.connect(user="clerk", password="pencil")
k = own.cursor()
k.execute("SELECT session_user, current_user")
print("  ", own.get_parameter_status("session_authorization"), k.fetchall())
own.close()
for s in ("DROP OWNED BY clerk", "DROP ROLE clerk", "DROP TABLE letters"):
    q(s)
