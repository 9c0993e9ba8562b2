command -v javac >/dev/null || { echo "no JDK" >&2; exit 1; }
jar=postgresql-42.7.7.jar
[ -e "$CACHE/$jar" ] || curl -fsSL -o "$CACHE/$jar" "https://repo1.maven.org/maven2/org/postgresql/postgresql/42.7.7/$jar"
javac -nowarn -cp "$CACHE/$jar" -d "$CACHE" Main.java
