/* libpq: single-row mode, pipeline mode, COPY both ways, cancel, error fields. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static PGconn *c;

static void notice(void *arg, const PGresult *r) {
	(void)arg;
	printf("  %s %s: %s\n", PQresultErrorField(r, PG_DIAG_SEVERITY), PQresultErrorField(r, PG_DIAG_SQLSTATE),
	       PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
}

static const char *field(const PGresult *r, int code) {
	const char *s = PQresultErrorField(r, code);
	return s ? s : "";
}

static void show(PGresult *r) {
	switch (PQresultStatus(r)) {
	case PGRES_FATAL_ERROR:
		printf("  %s %s position=%s detail=%s hint=%s\n", field(r, PG_DIAG_SQLSTATE), field(r, PG_DIAG_MESSAGE_PRIMARY),
		       field(r, PG_DIAG_STATEMENT_POSITION), field(r, PG_DIAG_MESSAGE_DETAIL), field(r, PG_DIAG_MESSAGE_HINT));
		break;
	case PGRES_TUPLES_OK:
	case PGRES_SINGLE_TUPLE:
		for (int i = 0; i < PQntuples(r); i++) {
			printf(" ");
			for (int j = 0; j < PQnfields(r); j++)
				printf(" %s:%u=%s", PQfname(r, j), PQftype(r, j), PQgetisnull(r, i, j) ? "NULL" : PQgetvalue(r, i, j));
			printf("\n");
		}
		/* fall through */
	default:
		printf("  %s %s\n", PQresStatus(PQresultStatus(r)), PQcmdStatus(r));
	}
	PQclear(r);
}

static void drain(void) {
	for (PGresult *r; (r = PQgetResult(c));)
		show(r);
}

static void q(const char *sql) {
	printf("  > %s\n", sql);
	show(PQexec(c, sql));
}

int main(void) {
	c = PQconnectdb("");
	if (PQstatus(c) != CONNECTION_OK) {
		fprintf(stderr, "%s", PQerrorMessage(c));
		return 1;
	}
	PQsetNoticeProcessor(c, NULL, NULL);
	PQsetNoticeReceiver(c, notice, NULL);

	printf("== roles\n");
	q("CREATE ROLE clerk LOGIN PASSWORD 'pencil'");
	q("CREATE TABLE letters (n int, body text)");
	q("GRANT SELECT, INSERT ON letters TO clerk");
	q("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = 'clerk'");
	q("SELECT relname, relacl FROM pg_class WHERE relname = 'letters'");
	q("SELECT has_table_privilege('clerk', 'letters', 'select'), 'clerk'::regrole");

	printf("== errors\n");
	q("GRANT SELECT ON letters TO nobody");
	q("GRANT SELECT ON letters clerk");
	q("CREATE ROLE clerk");
	q("DROP ROLE clerk");
	q("DROP ROLE IF EXISTS ghost");

	printf("== set role\n");
	q("SET ROLE clerk");
	q("SELECT current_user, session_user = 'clerk' AS login");
	q("DELETE FROM letters");
	q("RESET ROLE");

	printf("== parameters\n");
	const char *values[] = {"clerk", NULL};
	show(PQexecParams(c, "SELECT $1::text AS name, $2::int AS nothing, oid > 0 AS found FROM pg_roles WHERE rolname = $1", 2, NULL, values, NULL, NULL, 0));
	show(PQprepare(c, "by_name", "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = $1", 1, NULL));
	show(PQdescribePrepared(c, "by_name"));
	for (int i = 0; i < 3; i++)
		show(PQexecPrepared(c, "by_name", 1, values, NULL, NULL, 0));

	printf("== several statements in a string\n");
	PQsendQuery(c, "BEGIN; CREATE ROLE temp; SELECT count(*) FROM pg_roles WHERE rolname = 'temp'; ROLLBACK; DROP ROLE temp");
	drain();

	printf("== single row mode\n");
	PQsendQuery(c, "SELECT n FROM generate_series(1, 5) n");
	PQsetSingleRowMode(c);
	drain();

	printf("== copy\n");
	PQclear(PQexec(c, "COPY letters FROM STDIN"));
	for (int i = 0; i < 1000; i++) {
		char line[64];
		snprintf(line, sizeof line, "%d\tbody %d\n", i, i);
		PQputCopyData(c, line, (int)strlen(line));
	}
	PQputCopyEnd(c, NULL);
	drain();
	PQclear(PQexec(c, "COPY (SELECT * FROM letters ORDER BY n) TO STDOUT"));
	char *buffer;
	long bytes = 0;
	for (int n; (n = PQgetCopyData(c, &buffer, 0)) > 0; PQfreemem(buffer))
		bytes += n;
	printf("  %ld bytes\n", bytes);
	drain();

	printf("== pipeline\n");
	PQenterPipelineMode(c);
	const char *pipeline[] = {"CREATE ROLE porter", "GRANT clerk TO porter", "SELECT pg_has_role('porter', 'clerk', 'member')", "SELECT nosuch", "CREATE ROLE never"};
	for (int i = 0; i < 5; i++)
		PQsendQueryParams(c, pipeline[i], 0, NULL, NULL, NULL, NULL, 0);
	PQpipelineSync(c);
	PQsendQueryParams(c, "SELECT count(*) FROM pg_roles WHERE rolname IN ('porter', 'never')", 0, NULL, NULL, NULL, NULL, 0);
	PQpipelineSync(c);
	for (int syncs = 0, idle = 0; syncs < 2;) {
		PGresult *r = PQgetResult(c);
		if (!r) {
			if (++idle > 20)
				break;
			continue;
		}
		if (PQresultStatus(r) == PGRES_PIPELINE_SYNC)
			syncs++;
		show(r);
	}
	PQexitPipelineMode(c);

	printf("== cancel\n");
	PQsendQuery(c, "SELECT pg_sleep(60)");
	PGcancel *cancel = PQgetCancel(c);
	char why[256];
	int sent = 1;
	while (sent && PQconsumeInput(c) && PQisBusy(c)) { /* until it has arrived while the statement runs */
		sent = PQcancel(cancel, why, sizeof why);
		usleep(100000);
	}
	printf("  sent: %d\n", sent);
	PQfreeCancel(cancel);
	drain();

	printf("== login\n");
	const char *keywords[] = {"user", "password", NULL}, *as[] = {"clerk", "pencil", NULL};
	PGconn *own = PQconnectdbParams(keywords, as, 0);
	printf("  %d %s\n", PQstatus(own) == CONNECTION_OK, PQparameterStatus(own, "session_authorization"));
	PGresult *r = PQexec(own, "SELECT session_user, current_user");
	printf("  %s %s\n", PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1));
	PQclear(r);
	PQfinish(own);
	as[1] = "wrong";
	own = PQconnectdbParams(keywords, as, 0);
	printf("  %d %s\n", PQstatus(own) == CONNECTION_OK, strstr(PQerrorMessage(own), "password authentication failed for user \"clerk\"") ? "refused" : PQerrorMessage(own));
	PQfinish(own);

	q("DROP OWNED BY clerk");
	q("DROP TABLE letters");
	q("DROP ROLE clerk");
	PQfinish(c);
	return 0;
}
