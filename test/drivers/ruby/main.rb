# Ruby pg: parameters, prepared statements, COPY, errors' fields, notices, cancel.
require 'pg'

c = PG.connect
c.set_notice_receiver { |r| puts "   #{r.error_field(PG::PG_DIAG_SEVERITY)} #{r.error_field(PG::PG_DIAG_SQLSTATE)} #{r.error_field(PG::PG_DIAG_MESSAGE_PRIMARY)}" }
q = lambda do |sql, params = []|
  r = params.empty? ? c.exec(sql) : c.exec_params(sql, params)
  puts "   #{r.cmd_status} #{r.values} #{r.fields}"
rescue PG::Error => e
  puts "   #{e.class} #{e.result&.error_field(PG::PG_DIAG_SQLSTATE)} #{e.message.lines.first.strip} #{e.result&.error_field(PG::PG_DIAG_STATEMENT_POSITION)}"
end

puts '== roles'
q["CREATE ROLE clerk LOGIN PASSWORD 'pencil'; CREATE TABLE letters (n int, body text); GRANT SELECT, INSERT ON letters TO clerk"]
q['SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = $1', ['clerk']]
q["SELECT relacl FROM pg_class WHERE relname = 'nosuch'"]
puts '== errors'
['GRANT SELECT ON letters TO nobody', 'GRANT SELECT ON letters clerk', 'DROP ROLE IF EXISTS ghost'].each { |s| q[s] }
puts '== prepared'
c.prepare('by_name', 'SELECT rolname FROM pg_roles WHERE rolname = $1')
d = c.describe_prepared('by_name')
puts "   #{d.nparams} #{d.paramtype(0)} #{d.ftype(0)}"
3.times { puts "   #{c.exec_prepared('by_name', ['clerk']).values}" }
puts '== transactions'
begin
  c.transaction { |t| t.exec('CREATE ROLE temp'); raise 'back' }
rescue RuntimeError => e
  puts "   #{e.message}"
end
q['DROP ROLE temp']
puts '== copy'
c.copy_data('COPY letters FROM STDIN') { 1000.times { |n| c.put_copy_data("#{n}\tbody\n") } }
c.copy_data("COPY (SELECT rolname FROM pg_roles WHERE rolname = 'clerk') TO STDOUT") { while (l = c.get_copy_data); puts "   #{l}"; end }
puts '== set role'
['SET ROLE clerk', 'SELECT current_user, count(*) FROM letters', 'DELETE FROM letters', 'RESET ROLE'].each { |s| q[s] }
puts '== cancel'
c.send_query('SELECT pg_sleep(60)')
sleep 0.5 # it shall run when the cancel arrives
puts "   #{c.cancel.inspect}"
begin
  c.get_last_result
rescue PG::Error => e
  puts "   #{e.class} #{e.message.lines.first.strip}"
end
puts '== login'
own = PG.connect(user: 'clerk', password: 'pencil')
puts "   #{own.exec('SELECT session_user, current_user').values} #{own.parameter_status('session_authorization')}"
own.close
q['DROP OWNED BY clerk; DROP ROLE clerk; DROP TABLE letters']
