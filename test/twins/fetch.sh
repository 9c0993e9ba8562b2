#!/bin/sh
# Fetches PostgreSQL's regression scripts and compiles the library that they load, with what the distribution (Debian,
# Ubuntu) has of the installed version: fetch.sh MAJOR DIRECTORY. Installs nothing.
set -eu
major=$1 target=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial"
cd "$work"

# The sources of the distribution as it is set up here, in lists of our own. Both forms of sources.list have them.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
	[ -f "$list" ] || continue
	case $list in
	*.sources) sed 's/^Types:.*/Types: deb-src/' "$list" >"parts/$(basename "$list")" ;;
	*.list) sed -n 's/^deb /deb-src /p' "$list" >"parts/$(basename "$list")" ;;
	esac
done
apt() {
	apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" -o Dir::State::lists="$work/lists" \
		-o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}
apt update || echo "fetch.sh: not all package lists could be had; going on with the others" >&2

# The newest source that the mirror still has: the scripts of one major version hardly change.
for version in $(apt-cache -o Dir::State::lists="$work/lists" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" \
	-o Dir::Cache="$work/cache" showsrc "postgresql-$major" | sed -n 's/^Version: //p' | sort -rV); do
	apt source --download-only "postgresql-$major=$version" || true
	[ -e "postgresql-${major}_${version%%-*}.orig.tar.bz2" ] && break
done
tar -xjf postgresql-"$major"_*.orig.tar.bz2 --strip-components=1 --wildcards '*/src/test/regress'

# The headers of the server that the library is for.
apt-get -qq download "postgresql-server-dev-$major"
dpkg -x postgresql-server-dev-*.deb headers
include=headers/usr/include/postgresql
gcc -O1 -fPIC -shared -I"$include/$major/server" -I"$include/internal" -o src/test/regress/regress.so src/test/regress/regress.c

rm -rf "$target"
mkdir -p "$target"
cp -R src/test/regress/sql src/test/regress/data src/test/regress/regress.so "$target"
chmod -R a+rX "$target"
