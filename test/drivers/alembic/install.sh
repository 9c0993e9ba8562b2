python3 -m venv "$CACHE/venv"
"$CACHE/venv/bin/pip" -q install --disable-pip-version-check -r requirements.txt
