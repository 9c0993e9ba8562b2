# Perl DBI: placeholders, server-side prepare, errors, COPY, notices, asynchronous query and cancel.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:async);

$| = 1;
$SIG{__WARN__} = sub { print '   ', map { s/ at \S+ line.*//sr } @_; print "\n" };
my $dsn = "dbi:Pg:dbname=$ENV{PGDATABASE};host=$ENV{PGHOST};port=$ENV{PGPORT}";
my $c = DBI->connect($dsn, $ENV{PGUSER}, $ENV{PGPASSWORD}, { RaiseError => 0, PrintError => 0, AutoCommit => 1 }) or die DBI->errstr;

sub q_ {
	my ($sql, @params) = @_;
	my $s = $c->prepare($sql);
	if (!$s || !$s->execute(@params)) {
		print '   ', $c->state, ' ', (split /\n/, $c->errstr)[0], "\n";
		return;
	}
	print '   ', $s->rows, "\n";
	if ($s->{NUM_OF_FIELDS}) {
		print '   ', join(' ', map { $_ // 'NULL' } @$_), "\n" for @{ $s->fetchall_arrayref };
	}
}

print "== roles\n";
q_($_) for "CREATE ROLE clerk LOGIN PASSWORD 'pencil'", 'CREATE TABLE letters (n int, body text)', 'GRANT SELECT, INSERT ON letters TO clerk';
q_('SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = ?', 'clerk');
print "== metadata\n";
print '   ', join(' ', map { $_ // 'NULL' } @$_[2, 3]), "\n" for @{ $c->table_info(undef, 'public', 'letters', 'TABLE')->fetchall_arrayref };
print '   ', join(' ', map { $_ // 'NULL' } @$_[3, 5]), "\n" for @{ $c->column_info(undef, 'public', 'letters', '%')->fetchall_arrayref };
print "== errors\n";
q_($_) for 'GRANT SELECT ON letters TO nobody', 'GRANT SELECT ON letters clerk', 'DROP ROLE IF EXISTS ghost';
print "== transactions\n";
$c->begin_work;
q_('CREATE ROLE temp');
$c->rollback;
q_('DROP ROLE temp');
print "== copy\n";
$c->do('COPY letters FROM STDIN');
$c->pg_putcopydata("$_\tbody\n") for 1 .. 1000;
print '   ', $c->pg_putcopyend, "\n";
$c->do("COPY (SELECT rolname FROM pg_roles WHERE rolname = 'clerk') TO STDOUT");
my $line;
print "   $line" while $c->pg_getcopydata($line) >= 0;
print "== set role\n";
q_($_) for 'SET ROLE clerk', 'SELECT current_user, count(*) FROM letters', 'DELETE FROM letters', 'RESET ROLE';
print "== cancel\n";
$c->do('SELECT pg_sleep(60)', { pg_async => PG_ASYNC });
select undef, undef, undef, 0.5; # it shall run when the cancel arrives
print '   ', $c->pg_cancel ? 'cancelled' : 'not cancelled', "\n";
print "== login\n";
my $own = DBI->connect($dsn, 'clerk', 'pencil', { RaiseError => 1 });
print '   ', join(' ', $own->selectrow_array('SELECT session_user, current_user')), "\n";
$own->disconnect;
q_($_) for 'DROP OWNED BY clerk', 'DROP ROLE clerk', 'DROP TABLE letters';
$c->disconnect;
