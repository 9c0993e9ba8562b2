// node-postgres: simple and extended queries, named statements, pools, notices, cursors, COPY, cancel.
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const { from: copyFrom, to: copyTo } = require('pg-copy-streams')
const { Readable } = require('stream')
const { pipeline } = require('stream/promises')

async function main() {
  const c = new Client()
  await c.connect()
  c.on('notice', (m) => console.log('  ', m.severity, m.code, m.message))
  const q = async (...args) => {
    try {
      const all = [].concat(await c.query(...args))
      for (const r of all) console.log('  ', r.command, r.rowCount, JSON.stringify(r.rows), r.fields.map((f) => `${f.name}:${f.dataTypeID}`).join())
    } catch (e) {
      console.log('  ', e.severity, e.code, e.message, e.position, e.hint)
    }
  }
  console.log('== roles')
  await q("CREATE ROLE clerk LOGIN PASSWORD 'pencil'; CREATE TABLE letters (n int, body text); GRANT SELECT, INSERT ON letters TO clerk")
  await q('SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = $1', ['clerk'])
  await q('SELECT rolname FROM pg_roles WHERE rolname = ANY($1) ORDER BY 1', [['clerk', 'nobody']])
  console.log('== errors')
  await q('GRANT SELECT ON letters TO nobody')
  await q('GRANT SELECT ON letters clerk')
  await q('DROP ROLE IF EXISTS ghost')
  console.log('== named statements')
  for (let i = 0; i < 4; i++) await q({ name: 'by-name', text: 'SELECT rolname, $2::int AS n FROM pg_roles WHERE rolname = $1', values: ['clerk', i] })
  console.log('== queued without waiting')
  await Promise.all(['CREATE ROLE porter', 'GRANT clerk TO porter', "SELECT pg_has_role('porter', 'clerk', 'member')", 'CREATE ROLE porter', 'DROP ROLE porter'].map((s) => q(s)))
  console.log('== transactions')
  for (const s of ['BEGIN', 'CREATE ROLE temp', 'SELECT nosuch', 'CREATE ROLE temp2', 'ROLLBACK', 'DROP ROLE temp']) await q(s)
  console.log('== cursor')
  const cursor = c.query(new Cursor('SELECT n FROM generate_series(1, 25) n'))
  for (let rows; (rows = await cursor.read(10)).length;) console.log('  ', rows.length)
  await cursor.close()
  console.log('== copy')
  await pipeline(Readable.from(['1\ta\n', '2\tb\n']), c.query(copyFrom('COPY letters FROM STDIN')))
  let text = ''
  for await (const chunk of c.query(copyTo("COPY (SELECT rolname FROM pg_roles WHERE rolname = 'clerk') TO STDOUT"))) text += chunk
  console.log('  ', JSON.stringify(text))
  console.log('== set role')
  for (const s of ['SET ROLE clerk', 'SELECT current_user, count(*) FROM letters', 'DELETE FROM letters', 'RESET ROLE']) await q(s)
  console.log('== cancel')
  let over = false
  const sleeping = q('SELECT pg_sleep(60)').then(() => { over = true })
  const pid = c.processID
  const other = new Client()
  await other.connect()
  while (!over) { // what does not run yet cannot be cancelled
    await other.query('SELECT pg_cancel_backend($1)', [pid])
    await Promise.race([sleeping, new Promise((tick) => setTimeout(tick, 100))])
  }
  await other.end()
  console.log('== login')
  const pool = new Pool({ user: 'clerk', password: 'pencil', max: 3 })
  const rows = await Promise.all([1, 2, 3, 4, 5].map(() => pool.query('SELECT session_user, current_user')))
  console.log('  ', JSON.stringify(rows.map((r) => r.rows[0])))
  await pool.end()
  await q('DROP OWNED BY clerk; DROP ROLE clerk; DROP TABLE letters')
  await c.end()
}
main().catch((e) => { console.error(e); process.exit(1) })
