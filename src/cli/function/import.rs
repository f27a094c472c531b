//! `import`: a function of another product, unchanged.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidegate_authoring::{self as project, Foreign, Product};

use super::{BuildTools, CommandDone};
use crate::cli::style;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ImportArgs {
    /// The product that it was written for: hightouch, rudderstack or segment
    #[arg(long, value_name = "PRODUCT", value_parser = product)]
    from: Product,
    /// The JavaScript file; it stays as it is
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A library of RudderStack that it imports, by the name that it imports; once for each
    #[arg(long = "library", value_name = "NAME=FILE", value_parser = library)]
    libraries: Vec<(String, PathBuf)>,
    /// What to call the function here: up to 63 of a-z, 0-9 and -
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    tools: BuildTools,
}

fn product(word: &str) -> Result<Product, String> {
    let known = Product::ALL.iter().find(|(name, _)| *name == word).map(|(_, product)| *product);
    known.ok_or_else(|| "write one of hightouch, rudderstack, segment".to_owned())
}

fn library(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or_else(|| "write NAME=FILE".to_owned())?;
    Ok((name.to_owned(), PathBuf::from(file)))
}

pub(super) fn run(args: &ImportArgs, json: bool) -> CommandDone {
    let dir = args.dir.as_deref().unwrap_or(Path::new(&args.name));
    let workbench = args.tools.workbench()?;
    let foreign = Foreign { product: args.from, file: &args.file, libraries: &args.libraries };
    let imported = project::import(&foreign, dir, &args.name, &workbench, &mut |_| {})?;
    if json {
        let line = serde_json::json!({"dir": dir.display().to_string(), "entries": imported.entries, "files": imported.files,
                "settings": imported.settings, "uncalled": imported.uncalled});
        println!("{line}");
    } else {
        println!("{} {}; it calls {}", style::good("made"), dir.display(), imported.entries.join(", "));
        if !imported.uncalled.is_empty() {
            let uncalled = imported.uncalled.join(", ");
            println!("{} {uncalled}: events come one by one, and none of them deletes", style::error("never called:"));
        }
        if !imported.settings.is_empty() {
            let settings = imported.settings.join(", ");
            println!(
                "it asks its metadata for what you must say in the settings: {settings} (an example: fixtures/settings.json)"
            );
        }
        println!(
            "\nNext:\n  tidegate function test --update {0}   runs it on fixtures/one.in.json, writes what comes",
            dir.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}
