//! Who is trusted, and which passwords are found, against a server with certificates made for the test.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tidegate_event::destination::Failure;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_postgres::{self as postgres, Address, Environment};

use super::{Postgres, open};
use tidegate_warehouse_suite::run;

/// Connects so, and asks for the ledger.
fn outcome(address: Address) -> Result<Option<u64>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = postgres::PostgresSettings::new(address);
        open(&settings, &SyncPart { sync: "sync".to_owned(), ..SyncPart::default() })?.durable_to().await
    })
}

fn parse(text: &str, environment: &Environment) -> Address {
    Address::parse(Some(text), [], environment).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

/// Runs the case on a server that has TLS; its files are where the test can read them.
fn with_tls(name: &str, case: fn(&Postgres)) {
    match <Postgres as tidegate_warehouse_suite::Rig>::new() {
        Ok(rig) if rig.server.tls => case(&rig),
        Ok(_) => println!("skipped: {name}: openssl makes no certificates here"),
        Err(lack) => println!("skipped: {name}: {lack}"),
    }
}

#[test]
fn each_mode_trusts_whom_it_says() {
    with_tls("modes", |rig| {
        let at = rig.server.folder.display();
        let place = |user: &str, host: &str, more: &str| {
            let (port, database) = (rig.server.port, &rig.database);
            format!("user={user} password=p@ss host={host} port={port} dbname={database} {more}")
        };
        let (ca, other) = (format!("sslrootcert={at}/ca.crt"), format!("sslrootcert={at}/other.crt"));
        let fine = [
            ("router", "localhost", "sslmode=disable".to_owned()),
            ("router", "localhost", "sslmode=prefer".to_owned()),
            ("router", "127.0.0.1", "sslmode=require channel_binding=require".to_owned()),
            ("onlytls", "localhost", "sslmode=allow".to_owned()),
            ("onlytls", "localhost", "sslmode=prefer".to_owned()),
            ("onlyplain", "localhost", "sslmode=prefer".to_owned()),
            ("onlyplain", "localhost", "sslmode=allow".to_owned()),
            ("onlytls", "127.0.0.1", format!("sslmode=verify-ca {ca}")),
            ("onlytls", "localhost", format!("sslmode=verify-full {ca} channel_binding=require")),
            ("onlytls", "localhost", format!("sslmode=require {ca}")),
            ("bycert", "localhost", format!("sslmode=verify-full {ca} sslcert={at}/client.crt sslkey={at}/client.key")),
        ];
        for (user, host, more) in fine {
            let text = place(user, host, &more);
            let found = outcome(parse(&text, &Environment::default()));
            assert_eq!(found.map_err(|failure| failure.to_string()), Ok(None), "{user} {host} {more}");
        }
        let refused = [
            ("onlytls", "localhost", "sslmode=disable".to_owned(), "28000"),
            ("onlyplain", "localhost", "sslmode=require".to_owned(), "28000"),
            ("router", "127.0.0.1", format!("sslmode=verify-full {ca}"), "not trusted"),
            ("router", "localhost", format!("sslmode=verify-full {other}"), "not trusted"),
            ("router", "localhost", format!("sslmode=verify-ca {other}"), "not trusted"),
            ("router", "localhost", format!("sslmode=require {other}"), "not trusted"),
            ("router", "localhost", "sslmode=verify-full sslrootcert=system".to_owned(), "not trusted"),
            ("router", "localhost", "sslmode=verify-full sslrootcert=/none".to_owned(), "/none"),
            ("bycert", "localhost", "sslmode=require".to_owned(), "28"),
        ];
        for (user, host, more, says) in refused {
            let failure = outcome(parse(&place(user, host, &more), &Environment::default())).unwrap_err();
            assert!(matches!(failure, Failure::Stop { .. }), "{user} {more}: {failure}");
            assert!(failure.to_string().contains(says), "{user} {more}: {failure}");
            assert!(!format!("{failure} {failure:?}").contains("p@ss"));
        }
        // Where no file is named, the workspace's authorities count with the machine's.
        let mut address = parse(&place("router", "localhost", "sslmode=verify-full"), &Environment::default());
        let failure = outcome(address.clone()).unwrap_err();
        assert!(failure.to_string().contains("not trusted"), "{failure}");
        address.ca_file = Some(rig.server.folder.join("ca.crt"));
        assert_eq!(outcome(address).map_err(|failure| failure.to_string()), Ok(None));
    });
}

#[test]
fn a_password_is_found_in_a_file_that_only_its_owner_reads() {
    run::<Postgres>("pgpass", |rig| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".pgpass");
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::write(&path, format!("other:*:*:*:wrong\nlocalhost:{}:*:router:p@ss\n", rig.server.port)).unwrap();
        let text = format!("user=router host=localhost port={} dbname={}", rig.server.port, rig.database);
        let environment = Environment { home: Some(PathBuf::from(folder.path())), ..Environment::default() };
        mode(0o600);
        assert_eq!(outcome(parse(&text, &environment)).map_err(|failure| failure.to_string()), Ok(None));
        mode(0o640);
        let failure = outcome(parse(&text, &environment)).unwrap_err();
        assert!(matches!(failure, Failure::Stop { .. }) && failure.to_string().contains("chmod 600"), "{failure}");
        std::fs::remove_file(&path).unwrap();
        let failure = outcome(parse(&text, &environment)).unwrap_err();
        assert!(matches!(failure, Failure::Stop { .. }) && failure.to_string().contains("password"), "{failure}");
        let wrong = parse(&format!("{text} password=no"), &environment);
        let failure = outcome(wrong).unwrap_err();
        assert!(matches!(failure, Failure::Stop { .. }) && failure.to_string().contains("28P01"), "{failure}");
        let nowhere = parse(&format!("{text} password=p@ss dbname=nowhere"), &environment);
        let failure = outcome(nowhere).unwrap_err();
        assert!(failure.to_string().contains("CREATE DATABASE \"nowhere\""), "{failure}");
    });
}

/// The first host is away; the second is the server.
#[test]
fn of_several_hosts_one_that_is_there_is_taken() {
    run::<Postgres>("hosts", |rig| {
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "postgres://router:p%40ss@127.0.0.1:{unused},127.0.0.1:{}/{}?target_session_attrs=read-write",
            rig.server.port, rig.database
        );
        let found = outcome(parse(&text, &Environment::default()));
        assert_eq!(found.map_err(|failure| failure.to_string()), Ok(None));
    });
}
