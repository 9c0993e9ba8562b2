exec "$CACHE/venv/bin/python" main.py
