//! Imports WASI names that the standard library of a language pulls in. There is an environment, and it is empty;
//! there is a standard output, and it is the function's log; `exit` is a trap.
//!
//! Each event is an object: `{"ask": "environment" | "print" | "exit"}`.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({
    inline: r#"
        package tidegate:inert;

        world inert {
            include tidegate:plugin/transform@0.1.0;
            import wasi:cli/environment@0.2.3;
            import wasi:cli/exit@0.2.3;
            import wasi:cli/stdout@0.2.3;
            import wasi:cli/terminal-stdout@0.2.3;
        }

        package wasi:io@0.2.3 {
            interface error {
                resource error { to-debug-string: func() -> string; }
            }
            interface streams {
                use error.{error};
                variant stream-error { last-operation-failed(error), closed }
                resource output-stream {
                    check-write: func() -> result<u64, stream-error>;
                    write: func(contents: list<u8>) -> result<_, stream-error>;
                    blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
                    blocking-flush: func() -> result<_, stream-error>;
                }
            }
        }

        package wasi:cli@0.2.3 {
            interface environment {
                get-environment: func() -> list<tuple<string, string>>;
                get-arguments: func() -> list<string>;
                initial-cwd: func() -> option<string>;
            }
            interface exit { exit: func(status: result); }
            interface stdout {
                use wasi:io/streams@0.2.3.{output-stream};
                get-stdout: func() -> output-stream;
            }
            interface terminal-output { resource terminal-output; }
            interface terminal-stdout {
                use terminal-output.{terminal-output};
                get-terminal-stdout: func() -> option<terminal-output>;
            }
        }
    "#,
    path: "../../../wit",
    world: "tidegate:inert/inert",
    generate_all,
});

use exports::tidegate::plugin::{lifecycle, transformer};
use transformer::Outcome;
use wasi::cli::{environment, exit, stdout, terminal_stdout};

struct Inert;

impl lifecycle::Guest for Inert {
    fn configure(_setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        Ok(())
    }
}

impl transformer::Guest for Inert {
    fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, transformer::BatchError> {
        Ok(batch.iter().map(|event| one(event)).collect())
    }
}

fn one(event: &str) -> Outcome {
    if event.contains("environment") {
        let variables = environment::get_environment().len() + environment::get_arguments().len();
        let nowhere = environment::initial_cwd().is_none() && terminal_stdout::get_terminal_stdout().is_none();
        return Outcome::Replace(format!(r#"{{"variables":{variables},"nowhere":{nowhere}}}"#));
    }
    if event.contains("print") {
        let out = stdout::get_stdout();
        let room = out.check_write().is_ok_and(|bytes| bytes > 0);
        let written = out.write(b"half a line, ").is_ok() && out.blocking_write_and_flush(b"and the rest\n").is_ok();
        return Outcome::Replace(format!(r#"{{"room":{room},"written":{written}}}"#));
    }
    exit::exit(Err(()));
    Outcome::Keep
}

export!(Inert);
