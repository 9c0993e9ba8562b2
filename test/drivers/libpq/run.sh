exec "$CACHE/main"
