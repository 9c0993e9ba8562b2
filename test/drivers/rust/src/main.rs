// tokio-postgres: prepared statements, pipelined requests, COPY, notices, cancel.
use futures_util::{pin_mut, stream, SinkExt, StreamExt, TryStreamExt};
use std::{env, time::Duration};
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage};

fn config() -> Config {
    let var = |name| env::var(name).unwrap();
    let mut c = Config::new();
    c.host(&var("PGHOST")).port(var("PGPORT").parse().unwrap()).user(&var("PGUSER")).password(var("PGPASSWORD")).dbname(&var("PGDATABASE"));
    c
}

async fn connect(c: Config) -> Result<Client, Error> {
    let (client, mut connection) = c.connect(NoTls).await?;
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(m)) = messages.next().await {
            if let AsyncMessage::Notice(n) = m {
                println!("   {} {} {}", n.severity(), n.code().code(), n.message());
            }
        }
    });
    Ok(client)
}

fn show(e: Error) {
    match e.as_db_error() {
        Some(d) => println!("   {} {} {} {:?}", d.severity(), d.code().code(), d.message(), d.position()),
        None => println!("   {e}"),
    }
}

async fn q(c: &Client, sql: &str) {
    match c.simple_query(sql).await {
        Ok(messages) => {
            for m in messages {
                match m {
                    SimpleQueryMessage::Row(r) => println!("   {:?}", (0..r.len()).map(|i| r.get(i)).collect::<Vec<_>>()),
                    SimpleQueryMessage::CommandComplete(n) => println!("   {n}"),
                    _ => {}
                }
            }
        }
        Err(e) => show(e),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut c = connect(config()).await?;
    println!("== roles");
    q(&c, "CREATE ROLE clerk LOGIN PASSWORD 'pencil'; CREATE TABLE letters (n int, body text); GRANT SELECT, INSERT ON letters TO clerk").await;
    q(&c, "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = 'clerk'").await;
    println!("== errors");
    for sql in ["GRANT SELECT ON letters TO nobody", "GRANT SELECT ON letters clerk", "DROP ROLE IF EXISTS ghost"] {
        q(&c, sql).await;
    }
    println!("== prepared");
    let s = c.prepare("SELECT rolname::text, $2::int FROM pg_roles WHERE rolname = $1").await?;
    println!("   {:?} {:?}", s.params(), s.columns().iter().map(|c| (c.name(), c.type_().name())).collect::<Vec<_>>());
    for i in 0..3 {
        let rows = c.query(&s, &[&"clerk", &i]).await?;
        println!("   {:?}", rows.iter().map(|r| (r.get::<_, String>(0), r.get::<_, i32>(1))).collect::<Vec<_>>());
    }
    println!("== pipelined");
    c.execute("CREATE ROLE porter", &[]).await?;
    // In whatever order they go.
    let (a, b, d) = tokio::join!(c.execute("GRANT clerk TO porter", &[]), c.query_one("SELECT rolname::text FROM pg_roles WHERE rolname = 'porter'", &[]), c.execute("CREATE ROLE porter", &[]));
    println!("   {:?} {:?}", a.is_ok(), b?.get::<_, String>(0));
    if let Err(e) = d {
        show(e);
    }
    println!("== transactions");
    let t = c.transaction().await?;
    t.batch_execute("CREATE ROLE temp").await?;
    t.rollback().await?;
    q(&c, "DROP ROLE temp").await;
    println!("== copy");
    let sink = c.copy_in::<_, bytes::Bytes>("COPY letters FROM STDIN").await?;
    pin_mut!(sink);
    for i in 0..1000 {
        sink.send(bytes::Bytes::from(format!("{i}\tbody\n"))).await?;
    }
    println!("   {}", sink.finish().await?);
    let out = c.copy_out("COPY (SELECT rolname FROM pg_roles WHERE rolname = 'clerk') TO STDOUT").await?;
    println!("   {:?}", out.map_ok(|b| String::from_utf8_lossy(&b).into_owned()).try_collect::<Vec<_>>().await?);
    println!("== set role");
    for sql in ["SET ROLE clerk", "SELECT current_user, count(*) FROM letters", "DELETE FROM letters", "RESET ROLE"] {
        q(&c, sql).await;
    }
    println!("== cancel");
    let token = c.cancel_token();
    let (_, cancelled) = tokio::join!(q(&c, "SELECT pg_sleep(60)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    });
    println!("   {}", cancelled.is_ok());
    println!("== login");
    let mut own = config();
    own.user("clerk").password("pencil");
    q(&connect(own).await?, "SELECT session_user, current_user").await;
    q(&c, "DROP OWNED BY clerk; DROP ROLE clerk, porter; DROP TABLE letters").await;
    Ok(())
}
