# Django: its own migrations, one of ours that creates a role and grants, inspectdb, the ORM.
import io, os, sys, types
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "letters"],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "USER": os.environ["PGUSER"],
               "PASSWORD": os.environ["PGPASSWORD"], "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"]}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()
from django.core.management import call_command
from django.db import connection, transaction, utils

print("== migrate")
out = io.StringIO()
call_command("migrate", verbosity=1, stdout=out, no_color=True)
print(out.getvalue())
print("== inspectdb")
out = io.StringIO()
call_command("inspectdb", "auth_group", "letters_letter", stdout=out)
print(out.getvalue())
print("== orm")
from letters.models import Letter
Letter.objects.bulk_create([Letter(body=f"body {n}") for n in range(100)])
print("  ", Letter.objects.filter(body__startswith="body 1").count())
with connection.cursor() as c:
    c.execute("SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE table_name = %s AND grantee = %s", ["letters_letter", "clerk"])
    print("  ", c.fetchall())
    c.execute("SET ROLE clerk")
    try:
        Letter.objects.all().delete()
    except utils.ProgrammingError as e:
        print("  ", e)
    c.execute("SELECT current_user")
    print("  ", c.fetchone())
    c.execute("RESET ROLE")
try:
    with transaction.atomic():
        with connection.cursor() as c:
            c.execute("CREATE ROLE temp")
        raise ValueError
except ValueError:
    pass
with connection.cursor() as c:
    c.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'temp'")
    print("  ", c.fetchone())
print("== migrate back")
out = io.StringIO()
call_command("migrate", "letters", "zero", verbosity=1, stdout=out, no_color=True)
call_command("migrate", "auth", "zero", verbosity=0)
call_command("migrate", "contenttypes", "zero", verbosity=0)
print(out.getvalue())
with connection.cursor() as c:
    c.execute("DROP TABLE django_migrations")
    print("  ", connection.introspection.table_names(c))
