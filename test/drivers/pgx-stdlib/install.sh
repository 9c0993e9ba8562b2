go build -o "$CACHE/main" .
