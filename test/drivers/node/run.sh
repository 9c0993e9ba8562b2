exec node --no-deprecation "$CACHE/main.js"
