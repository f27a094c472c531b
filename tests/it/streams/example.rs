//! The example from Kafka to PostgreSQL is what its page says.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kafka;
use crate::conformance::postgres::Postgres;
use crate::conformance::{Rig, skipped};
use crate::support::kafka::stream_cache;
use crate::support::waiting::seldom;
use crate::support::{Workspace, tidegate};

const ORDERS: u64 = 2_000;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kafka-to-postgres")
}

#[test]
fn the_example_from_kafka_to_postgres_has_no_problem() {
    let mut command = tidegate();
    command.arg("check").arg(example()).env("DATABASE_URL", "postgres://user:password@localhost:5432/shop");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_example_from_kafka_to_postgres_runs_as_its_page_says() {
    let test = "the example from Kafka to PostgreSQL";
    let Some(cluster) = kafka(test) else { return };
    let postgres = match Postgres::new() {
        Ok(postgres) => postgres,
        Err(lack) => return skipped(&format!("streams: {test}"), &lack),
    };
    let workspace = Workspace { dir: tempfile::tempdir().unwrap(), write_key: String::new() };
    let copied = Command::new("cp").arg("-r").arg(example()).arg(workspace.path()).status().unwrap();
    assert!(copied.success());
    // Brokers of the tests have ports of their own.
    let source = std::fs::read_to_string(workspace.path().join("sources/orders.yaml")).unwrap();
    assert!(source.contains("[localhost:9092]"), "{source}");
    workspace.write("sources/orders.yaml", &source.replace("[localhost:9092]", &cluster.brokers()));
    let brokers = cluster.brokers().trim_matches(['[', ']']).replace(", ", ",");
    let python = stream_cache().join("client/bin/python");
    let mut produce = Command::new(python);
    produce.arg(example().join("produce.py")).arg(ORDERS.to_string()).env("BROKERS", brokers);
    let output = produce.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = postgres.server.folder.display();
    let url =
        format!("host={folder} port={} user=router password=p@ss dbname={}", postgres.server.port, postgres.database);
    let variables = [("DATABASE_URL", url.as_str())];
    let mut check = tidegate();
    check.arg("check").arg(workspace.path()).arg("--connect").envs(variables);
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let server = workspace.serve_logging(&variables, &[], &workspace.dir.path().join("server.log"));
    seldom("all orders are there", || {
        let is_there = postgres.ask("SELECT to_regclass('shop.order_placed') IS NOT NULL") == "t";
        let sql = "SELECT count(*) || ' ' || count(DISTINCT id) FROM shop.order_placed";
        let told = if is_there { postgres.ask(sql) } else { "nothing".to_owned() };
        if told == format!("{ORDERS} {ORDERS}") { Ok(()) } else { Err(told) }
    });
    server.stop();
    let first = "SELECT user_id || ' ' || total || ' ' || context_kafka_topic FROM shop.order_placed WHERE user_id = 'customer-7' ORDER BY total LIMIT 1";
    assert_eq!(postgres.ask(first), "customer-7 7.99 orders");
}
