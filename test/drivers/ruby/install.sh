ruby -e "require %q(pg)"
