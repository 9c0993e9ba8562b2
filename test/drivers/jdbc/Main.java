// JDBC: server-prepared statements, batches, generated keys, metadata of privileges, cursors, COPY, cancel.
import java.io.*;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

public class Main {
	static Connection c;

	static void show(ResultSet r) throws SQLException {
		ResultSetMetaData m = r.getMetaData();
		while (r.next()) {
			StringBuilder b = new StringBuilder("  ");
			for (int i = 1; i <= m.getColumnCount(); i++)
				b.append(' ').append(m.getColumnLabel(i)).append(':').append(m.getColumnTypeName(i)).append('=').append(r.getString(i));
			System.out.println(b);
		}
	}

	static void error(SQLException e) {
		System.out.println("   " + e.getSQLState() + " " + e.getMessage().replace("\n", " | "));
	}

	static void q(String sql) {
		try (Statement s = c.createStatement()) {
			boolean rows = s.execute(sql);
			for (;; rows = s.getMoreResults()) {
				if (rows)
					show(s.getResultSet());
				else if (s.getUpdateCount() == -1)
					break;
				else
					System.out.println("   " + s.getUpdateCount());
			}
			for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning())
				System.out.println("   warning " + w.getSQLState() + " " + w.getMessage());
		} catch (SQLException e) {
			error(e);
		}
	}

	public static void main(String[] args) throws Exception {
		Map<String, String> env = System.getenv();
		String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE") + "?sslmode=disable&prepareThreshold=3";
		c = DriverManager.getConnection(url, env.get("PGUSER"), env.get("PGPASSWORD"));

		System.out.println("== roles");
		q("CREATE ROLE clerk LOGIN PASSWORD 'pencil'; CREATE TABLE letters (n serial PRIMARY KEY, body text); GRANT SELECT, INSERT ON letters TO clerk; GRANT UPDATE (body) ON letters TO clerk");
		q("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = 'clerk'");

		System.out.println("== metadata");
		DatabaseMetaData meta = c.getMetaData();
		for (ResultSet r : List.of(meta.getTablePrivileges(null, "public", "letters"), meta.getColumnPrivileges(null, "public", "letters", "body"))) {
			while (r.next()) // the owner has another name on each side
				if (r.getString("GRANTEE").equals("clerk"))
					System.out.println("   " + r.getString("TABLE_NAME") + " " + r.getString("GRANTEE") + " " + r.getString("PRIVILEGE") + " " + r.getString("IS_GRANTABLE"));
		}
		show(meta.getTables(null, "public", "%", new String[] {"TABLE"}));
		show(meta.getColumns(null, "public", "letters", "%"));
		show(meta.getPrimaryKeys(null, "public", "letters"));

		System.out.println("== errors");
		q("GRANT SELECT ON letters TO nobody");
		q("GRANT SELECT ON letters clerk");
		q("DROP ROLE IF EXISTS ghost");

		System.out.println("== prepared");
		try (PreparedStatement p = c.prepareStatement("SELECT rolname, ?::int AS n FROM pg_roles WHERE rolname = ?")) {
			for (int i = 0; i < 8; i++) {
				p.setInt(1, i);
				p.setString(2, "clerk");
				show(p.executeQuery());
			}
			System.out.println("   " + p.getParameterMetaData().getParameterTypeName(2) + " " + p.getMetaData().getColumnTypeName(1));
		}

		System.out.println("== batch");
		try (PreparedStatement p = c.prepareStatement("INSERT INTO letters (body) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
			for (int i = 0; i < 100; i++) {
				p.setString(1, "body " + i);
				p.addBatch();
			}
			System.out.println("   " + Arrays.stream(p.executeBatch()).sum());
		}
		try (Statement s = c.createStatement()) {
			for (String sql : List.of("CREATE ROLE porter", "GRANT clerk TO porter", "SET ROLE porter", "RESET ROLE", "CREATE ROLE porter", "CREATE ROLE never"))
				s.addBatch(sql);
			s.executeBatch();
		} catch (BatchUpdateException e) {
			System.out.println("   " + Arrays.toString(e.getUpdateCounts()) + " " + e.getNextException().getSQLState() + " " + e.getNextException().getMessage());
		}
		q("SELECT rolname FROM pg_roles WHERE rolname IN ('porter', 'never')");

		System.out.println("== transactions");
		c.setAutoCommit(false);
		q("CREATE ROLE temp");
		Savepoint point = c.setSavepoint();
		q("CREATE ROLE temp");
		c.rollback(point);
		q("SELECT count(*) FROM pg_roles WHERE rolname = 'temp'");
		c.rollback();
		try (Statement s = c.createStatement()) {
			s.setFetchSize(10);
			ResultSet r = s.executeQuery("SELECT n FROM letters ORDER BY n");
			int sum = 0;
			while (r.next())
				sum += r.getInt(1) > 0 ? 1 : 0;
			System.out.println("   " + sum);
		}
		c.commit();
		c.setAutoCommit(true);

		System.out.println("== copy");
		var copy = c.unwrap(PGConnection.class).getCopyAPI();
		System.out.println("   " + copy.copyIn("COPY letters (body) FROM STDIN", new StringReader("a\nb\nc\n")));
		StringWriter out = new StringWriter();
		copy.copyOut("COPY (SELECT rolname FROM pg_roles WHERE rolname = 'clerk') TO STDOUT", out);
		System.out.println("   " + out.toString().trim());

		System.out.println("== set role");
		q("SET ROLE clerk");
		q("SELECT current_user");
		q("DELETE FROM letters");
		q("RESET ROLE");

		System.out.println("== cancel");
		try (Statement s = c.createStatement()) {
			new Timer(true).schedule(new TimerTask() {
				public void run() {
					try {
						s.cancel();
					} catch (SQLException e) {
						error(e);
					}
				}
			}, 300);
			s.execute("SELECT pg_sleep(60)");
		} catch (SQLException e) {
			error(e);
		}

		System.out.println("== login");
		try (Connection own = DriverManager.getConnection(url, "clerk", "pencil"); Statement s = own.createStatement()) {
			show(s.executeQuery("SELECT session_user, current_user"));
			System.out.println("   " + own.getMetaData().getUserName());
		}
		q("DROP OWNED BY clerk; DROP ROLE clerk, porter; DROP TABLE letters");
		c.close();
	}
}
