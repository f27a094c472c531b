//! Two servers that share a stream of Kinesis by leases in PostgreSQL: each shard is read by one of them, whoever dies or stops meanwhile.

use serde_json::{Value, json};

use super::StreamWorkspace;
use super::kinesis::{aws, kinesis_source};
use crate::conformance::postgres::Postgres;
use crate::conformance::{Rig, skipped};
use crate::support::Server;
use crate::support::waiting::seldom;

/// A server that has the stream with others, and whose sync has a name of its own.
fn sharing(name: &str, endpoint: &str, postgres: &Postgres) -> StreamWorkspace {
    let streams = StreamWorkspace::new();
    streams.source("orders", &kinesis_source(endpoint));
    streams.workspace.write("destinations/shared.yaml", &postgres.yaml());
    // Tables are shared, ledgers are not.
    std::fs::remove_file(streams.workspace.path().join("syncs/orders.yaml")).unwrap();
    streams.workspace.write(&format!("syncs/orders-{name}.yaml"), "source: orders\ndestination: shared\n");
    let (folder, port) = (postgres.server.folder.display(), postgres.server.port);
    let address = format!("host={folder} port={port} user=postgres dbname={} sslmode=disable", postgres.database);
    streams.workspace.append(
        "tidegate.yaml",
        &format!("\nleases: {{url: \"{address}\", schema: tidegate leases, time: 10 s, name: {name}}}\n"),
    );
    streams
}

/// How many shards each of the servers has, as one of them says.
fn shards_of(stream: &Value) -> (usize, usize) {
    let of = |name: &str| {
        let partitions = stream["partitions"].as_array().unwrap();
        partitions.iter().filter(|partition| partition["holder"] == name).count()
    };
    (of("one"), of("other"))
}

#[track_caller]
fn wait_until_divided(streams: &StreamWorkspace, server: &Server, shards: (usize, usize)) -> Value {
    streams.wait_for(server, "orders", &format!("{shards:?} shards are read"), |stream| shards_of(stream) == shards)
}

/// Waits until the shared table has each order once.
#[track_caller]
fn wait_until_each_once(postgres: &Postgres, count: u64) {
    seldom(&format!("{count} orders are there"), || {
        if postgres.ask("SELECT to_regclass('ordered') IS NOT NULL") != "t" {
            return Err("there is no table".to_owned());
        }
        let told = postgres.ask("SELECT count(DISTINCT n) FROM ordered");
        if told == count.to_string() { Ok(()) } else { Err(told) }
    });
    for table in ["ordered", "tracks"] {
        let told = postgres.ask(&format!("SELECT count(*) || '|' || count(DISTINCT id) FROM {table}"));
        assert_eq!(told, format!("{count}|{count}"), "{table}");
    }
}

#[test]
fn two_servers_divide_the_shards_of_a_stream_and_take_over_from_each_other() {
    let test = "two servers divide the shards of Kinesis";
    let Some(mut aws) = aws(test) else { return };
    let postgres = match Postgres::new() {
        Ok(postgres) => postgres,
        Err(lack) => return skipped(&format!("streams: {test}"), &lack),
    };
    aws.ask(&json!({"do": "stream", "name": "orders", "shards": 4}));
    let endpoint = aws.ask(&json!({"do": "endpoint"}))["endpoint"].as_str().unwrap().to_owned();
    let mut sent = 0;
    let mut produce = |count: u64| {
        aws.ask(&json!({"do": "orders", "name": "orders", "from": sent, "count": count}));
        sent += count;
        sent
    };
    let [first, second] = ["one", "other"].map(|name| sharing(name, &endpoint, &postgres));
    let one = first.workspace.serve();
    // Alone it has all of them at once.
    wait_until_divided(&first, &one, (4, 0));
    wait_until_each_once(&postgres, produce(1_000));
    let other = second.workspace.serve();
    wait_until_divided(&first, &one, (2, 2));
    wait_until_divided(&second, &other, (2, 2));
    let (of_one, of_other) =
        (first.stream(&one, "orders")["messages"].clone(), second.stream(&other, "orders")["messages"].clone());
    wait_until_each_once(&postgres, produce(4_000));
    // On a busy machine a lease may be late and change hands, and come back.
    for (streams, server, before) in [(&first, &one, of_one), (&second, &other, of_other)] {
        seldom("each reads its shards, and both are shown", || {
            produce(100);
            let now = streams.stream(server, "orders");
            let shown = streams.command(server, &["source", "stream", "orders"]);
            let reads = now["messages"].as_u64() > before.as_u64();
            if reads && shown.contains("one") && shown.contains("other") {
                Ok(())
            } else {
                Err(format!("{now} {shown}"))
            }
        });
    }
    // One is killed in the middle of it: the other one has all when nothing was heard of it for the lease time.
    produce(1_000);
    one.kill();
    produce(1_000);
    wait_until_divided(&second, &other, (0, 4));
    let before = second.stream(&other, "orders")["messages"].as_u64();
    let all = produce(1_000);
    let reads_all = |stream: &Value| stream["messages"].as_u64() >= before.map(|it| it + 1_000);
    second.wait_for(&other, "orders", "it reads what comes now", reads_all);
    // It comes again, delivers what lies acknowledged in its log, and goes on with its share.
    let one = first.workspace.serve();
    wait_until_each_once(&postgres, all);
    wait_until_divided(&first, &one, (2, 2));
    wait_until_divided(&second, &other, (2, 2));
    // A seek moves what others read too.
    let before = second.stream(&other, "orders")["messages"].as_u64();
    first.seek(&one, "orders", json!("earliest"));
    second
        .wait_for(&other, "orders", "it reads again", |stream| stream["messages"].as_u64() > before.map(|it| it + 100));
    wait_until_each_once(&postgres, produce(1_000));
    // One that is stopped gives its shards up, and one that is paused as well.
    other.stop();
    wait_until_divided(&first, &one, (4, 0));
    let other = second.workspace.serve();
    wait_until_divided(&second, &other, (2, 2));
    second.command(&other, &["object", "pause", "source", "orders"]);
    wait_until_divided(&first, &one, (4, 0));
    wait_until_each_once(&postgres, produce(1_000));
    first.wait_for(&one, "orders", "of each shard something is acknowledged", |stream| {
        stream["partitions"].as_array().unwrap().iter().all(|partition| partition["acknowledged"] != "")
    });
    one.stop();
    other.stop();
}
