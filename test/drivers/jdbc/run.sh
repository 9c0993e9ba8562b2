exec java -cp "$CACHE:$CACHE/postgresql-42.7.7.jar" Main
