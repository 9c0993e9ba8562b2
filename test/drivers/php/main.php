<?php
// PHP PDO: emulated and server-prepared statements, errors, transactions, COPY.
$env = fn($name) => getenv($name);
$dsn = "pgsql:host={$env('PGHOST')};port={$env('PGPORT')};dbname={$env('PGDATABASE')}";
$c = new PDO($dsn, $env('PGUSER'), $env('PGPASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);

function q($c, $sql, $params = [], $options = []) {
    try {
        $s = $c->prepare($sql, $options);
        $s->execute($params);
        echo '   ', $s->rowCount(), ' ', json_encode($s->columnCount() ? $s->fetchAll(PDO::FETCH_ASSOC) : null), "\n";
    } catch (PDOException $e) {
        echo '   ', $e->getCode(), ' ', str_replace("\n", ' | ', $e->getMessage()), "\n";
    }
}

echo "== roles\n";
foreach (["CREATE ROLE clerk LOGIN PASSWORD 'pencil'", 'CREATE TABLE letters (n int, body text)', 'GRANT SELECT, INSERT ON letters TO clerk'] as $s) q($c, $s);
q($c, 'SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = ?', ['clerk']);
q($c, 'SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = :name', ['name' => 'clerk'], [PDO::ATTR_EMULATE_PREPARES => true]);
echo "== errors\n";
foreach (['GRANT SELECT ON letters TO nobody', 'GRANT SELECT ON letters clerk', 'DROP ROLE IF EXISTS ghost'] as $s) q($c, $s);
echo "== prepared\n";
$s = $c->prepare('SELECT rolname, ?::int AS n FROM pg_roles WHERE rolname = ?');
for ($i = 0; $i < 3; $i++) {
    $s->execute([$i, 'clerk']);
    echo '   ', json_encode($s->fetchAll(PDO::FETCH_NUM)), ' ', $s->getColumnMeta(0)['native_type'], "\n";
}
echo "== transactions\n";
$c->beginTransaction();
q($c, 'CREATE ROLE temp');
$c->rollBack();
q($c, 'DROP ROLE temp');
echo "== copy\n";
echo '   ', json_encode($c->pgsqlCopyFromArray('letters', ["1\ta", "2\tb"])), ' ', json_encode($c->pgsqlCopyToArray('letters')), "\n";
echo "== set role\n";
foreach (['SET ROLE clerk', 'SELECT current_user, count(*) FROM letters', 'DELETE FROM letters', 'RESET ROLE'] as $s) q($c, $s);
echo "== login\n";
$own = new PDO($dsn, 'clerk', 'pencil');
echo '   ', json_encode($own->query('SELECT session_user, current_user')->fetchAll(PDO::FETCH_NUM)), "\n";
$own = null;
foreach (['DROP OWNED BY clerk', 'DROP ROLE clerk', 'DROP TABLE letters'] as $s) q($c, $s);
