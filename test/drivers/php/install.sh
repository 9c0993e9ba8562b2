php -r "exit(extension_loaded(\"pdo_pgsql\") ? 0 : 1);"
