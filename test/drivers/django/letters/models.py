from django.db import models


class Letter(models.Model):
    body = models.TextField()
