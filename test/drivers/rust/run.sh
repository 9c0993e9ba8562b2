exec "$CACHE/target/debug/driver"
