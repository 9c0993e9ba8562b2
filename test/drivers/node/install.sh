cp package.json main.js "$CACHE/"
cd "$CACHE"
npm install --silent --no-audit --no-fund --no-package-lock
