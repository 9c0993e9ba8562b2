cc -O1 -Wall -o "$CACHE/main" main.c -I"$(pg_config --includedir)" -L"$(pg_config --libdir)" -lpq
