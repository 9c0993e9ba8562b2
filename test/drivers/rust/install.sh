command -v cargo >/dev/null || { echo "no cargo" >&2; exit 1; }
CARGO_TARGET_DIR="$CACHE/target" cargo build --quiet --locked
