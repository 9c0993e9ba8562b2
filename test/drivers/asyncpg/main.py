# asyncpg: everything is a prepared statement in binary; its own introspection of types, COPY, notices, cancel by time-out.
import asyncio, asyncpg

async def main():
    c = await asyncpg.connect()
    c.add_log_listener(lambda _, m: print("  ", m.severity, m.sqlstate, m.message))

    async def q(text, *params):
        try:
            rows = await c.fetch(text, *params)
            print("  ", [tuple(r) for r in rows])
        except asyncpg.PostgresError as e:
            print("  ", type(e).__name__, e.sqlstate, e.message, e.position)

    print("== roles")
    await q("CREATE ROLE clerk LOGIN PASSWORD 'pencil'")
    await c.execute("CREATE TABLE letters (n int, body text, tags text[]); GRANT SELECT, INSERT ON letters TO clerk")
    await q("SELECT rolname, rolconfig FROM pg_roles WHERE rolname = $1", "clerk")
    await q("SELECT rolname FROM pg_roles WHERE rolname = ANY($1::text[]) ORDER BY 1", ["clerk", "nobody"])
    await q("SELECT has_table_privilege($1, 'letters', 'select'), current_user = $2", "clerk", "nobody")
    s = await c.prepare("SELECT rolname, oid FROM pg_roles WHERE rolname = $1")
    print("  ", [(p.name) for p in s.get_parameters()], [(a.name, a.type.name) for a in s.get_attributes()], [r["rolname"] for r in await s.fetch("clerk")])
    print("== errors")
    await q("GRANT SELECT ON letters TO nobody")
    await q("GRANT SELECT ON letters clerk")
    await c.execute("DROP ROLE IF EXISTS ghost")
    print("== transactions")
    tr = c.transaction()
    await tr.start()
    await c.execute("CREATE ROLE temp")
    await tr.rollback()
    await q("DROP ROLE temp")
    async with c.transaction():
        async for r in c.cursor("SELECT rolname FROM pg_roles WHERE rolname = 'clerk'"):
            print("  ", tuple(r))
    print("== copy")
    print("  ", await c.copy_records_to_table("letters", records=[(n, f"body {n}", ["a", None]) for n in range(1000)]))
    print("  ", await c.executemany("INSERT INTO letters VALUES ($1, $2, $3)", [(n, "x", []) for n in range(100)]))
    print("== set role")
    await c.execute("SET ROLE clerk")
    await q("SELECT current_user::text, count(*) FROM letters")
    await q("DELETE FROM letters")
    await c.execute("RESET ROLE")
    print("== cancel")
    try:
        await c.fetch("SELECT pg_sleep(60)", timeout=0.3)
    except asyncio.TimeoutError:
        print("   timed out")
    await q("SELECT 1")
    print("== reset")
    await c.execute("SET ROLE clerk")
    await c.reset()
    await q("SELECT current_user::text = 'clerk'") # RESET ALL leaves the role as it is
    await c.execute("RESET ROLE")
    print("== login")
    own = await asyncpg.connect(user="clerk", password="pencil")
    print("  ", own.get_settings().session_authorization, [tuple(r) for r in await own.fetch("SELECT session_user::text, current_user::text")])
    await own.close()
    for s in ("DROP OWNED BY clerk", "DROP ROLE clerk", "DROP TABLE letters"):
        await q(s)
    await c.close()

asyncio.run(main())
