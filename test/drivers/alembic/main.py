# SQLAlchemy and Alembic: a migration that creates roles and grants, forth and back, and what inspection sees.
import io, contextlib
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.autogenerate import compare_metadata

engine = sa.create_engine("postgresql+psycopg://")
metadata = sa.MetaData()
letters = sa.Table("letters", metadata, sa.Column("n", sa.Integer, primary_key=True), sa.Column("body", sa.Text, index=True))

def upgrade(op):
    op.execute("CREATE ROLE clerk LOGIN PASSWORD 'pencil'")
    op.execute("CREATE ROLE reader")
    op.create_table("letters", sa.Column("n", sa.Integer, primary_key=True), sa.Column("body", sa.Text))
    op.create_index("ix_letters_body", "letters", ["body"])
    op.execute("GRANT SELECT ON letters TO reader")
    op.execute("GRANT reader TO clerk")
    op.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader")
    op.execute("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader') THEN CREATE ROLE reader; END IF; END $$")

def downgrade(op):
    op.execute("DROP OWNED BY reader")
    op.drop_table("letters")
    op.execute("DROP ROLE clerk, reader")

print("== migrate")
with engine.begin() as c:
    upgrade(Operations(MigrationContext.configure(c)))
with engine.connect() as c:
    print("  ", compare_metadata(MigrationContext.configure(c), metadata))
    print("  ", c.execute(sa.text("SELECT rolname FROM pg_roles WHERE rolname IN :names ORDER BY 1").bindparams(sa.bindparam("names", expanding=True)), {"names": ["clerk", "reader", "nobody"]}).fetchall())
    print("  ", c.execute(sa.text("SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE table_name = 'letters' AND grantee IN ('reader', 'clerk')")).fetchall())
print("== inspect")
i = sa.inspect(engine)
print("  ", i.get_table_names(), [(k["name"], str(k["type"]), k["nullable"]) for k in i.get_columns("letters")], i.get_indexes("letters"), i.get_pk_constraint("letters"))
print("  ", i.get_schema_names(), i.get_enums(), i.get_view_names())
again = sa.MetaData()
again.reflect(engine)
print("  ", sorted(again.tables))
print("== use")
with engine.begin() as c:
    c.execute(letters.insert(), [{"n": n, "body": f"body {n}"} for n in range(100)])
with engine.connect() as c:
    c.execute(sa.text("SET ROLE clerk"))
    print("  ", c.execute(sa.select(sa.func.count()).select_from(letters)).scalar(), c.execute(sa.text("SELECT current_user")).scalar())
    try:
        c.execute(letters.delete())
    except sa.exc.DBAPIError as e:
        print("  ", type(e.orig).__name__, e.orig.diag.message_primary)
print("== login")
own = sa.create_engine("postgresql+psycopg://clerk:pencil@")
with own.connect() as c:
    print("  ", c.execute(sa.text("SELECT session_user, current_user")).fetchall())
own.dispose()
print("== migrate back")
with engine.begin() as c:
    downgrade(Operations(MigrationContext.configure(c)))
print("  ", sa.inspect(engine).get_table_names())
