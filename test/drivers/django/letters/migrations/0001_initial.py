from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Letter", [("id", models.AutoField(primary_key=True)), ("body", models.TextField())]),
        migrations.RunSQL("CREATE ROLE clerk", "DROP ROLE clerk"),
        migrations.RunSQL("GRANT SELECT, INSERT ON letters_letter TO clerk", "REVOKE ALL ON letters_letter FROM clerk"),
    ]
