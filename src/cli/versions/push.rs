//! `push`: an upload, and what becomes of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_authoring as project;
use tidegate_document::file;
use tidegate_plugin::{Kind, Manifest, Package};
use tidegate_registry::PluginKind;

use super::failing::{self, Before};
use super::session::{ServerArgs, Session};
use super::{read_json, short};
use crate::cli::{Done, Failure, function, style};

/// What is pushed, and onto what.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Upload {
    /// The component, or the folder of a project to build
    #[arg(value_name = "DIR|FILE")]
    from: PathBuf,
    /// Settings, a JSON file [default: those that are live]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Upload only
    #[arg(long, conflicts_with_all = ["canary", "shadow"])]
    no_live: bool,
    /// Also when it fails its own fixtures, or looks up a table that nobody grants it
    #[arg(long)]
    force: bool,
    /// How long to look at what it does with the events that come, to warn if it fails most of them
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = patience)]
    watch: f64,
    #[command(flatten)]
    papers: function::PapersArgs,
    #[command(flatten)]
    tools: function::Tools,
    #[command(flatten)]
    server: ServerArgs,
}

fn patience(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=600.0).contains(seconds));
    seconds.ok_or_else(|| "write seconds from 0 to 600".to_owned())
}

/// What becomes of a version that was taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    Live,
    Share(u8),
    Shadow,
    Nothing,
}

/// Everything that a push needs.
struct Push<'a> {
    plugin_kind: PluginKind,
    component: Vec<u8>,
    to: Option<&'a str>,
    settings: Option<Value>,
    wish: Wish,
    force: bool,
    patience: Duration,
}

/// Pushes a component. What can be refused without a build is refused before it.
pub(super) async fn push(upload: &Upload, plugin_kind: PluginKind, wish: Wish, to: Option<&str>, json: bool) -> Done {
    let settings = upload.settings.as_deref().map(read_json).transpose()?;
    let mut session = Session::new(&upload.server)?;
    let there = session.get(&format!("/admin/{}", plugin_kind.all())).await?;
    if let (Some(source), Some(sources)) = (to, there["sources"].as_array())
        && !sources.iter().any(|known| known == source)
    {
        let known: Vec<&str> = sources.iter().filter_map(Value::as_str).collect();
        let message = format!("there is no source {source:?}; there are {}", known.join(", "));
        return Err(Failure::Failed(format!("{message}\n  fix: name one of them with --to; nothing was pushed")));
    }
    let component = component(upload)?;
    let wish = if upload.no_live { Wish::Nothing } else { wish };
    let patience = Duration::from_secs_f64(upload.watch);
    let push = Push { plugin_kind, component, to, settings, wish, force: upload.force, patience };
    push.run(&mut session, &there, json).await
}

impl Push<'_> {
    async fn run(self, session: &mut Session, there: &Value, json: bool) -> Done {
        let began = Instant::now();
        let manifest = self.manifest()?;
        let name = manifest.name.clone();
        self.granted(&manifest, there)?;
        let path = format!("/admin/{}/{name}", self.plugin_kind.all());
        if let Wish::Share(_) | Wish::Shadow = self.wish {
            let known = there[self.plugin_kind.all()].as_array().into_iter().flatten();
            if !known.filter(|one| one["name"] == *name).any(|one| !one["live"].is_null()) {
                let message = format!("no version of {name} is live that this one could be tried beside");
                return Err(Failure::Failed(format!("{message}\n  fix: push it without --canary or --shadow first")));
            }
        }
        let known = there[self.plugin_kind.all()].as_array().into_iter().flatten().any(|one| one["name"] == *name);
        let before = if known { session.get(&path).await? } else { Value::Null };
        let force = if self.force { "?force=true" } else { "" };
        let taken = session.upload(&format!("{path}/versions{force}"), self.component.clone()).await?;
        let version = session.follow_build(taken["build"].as_str().unwrap_or_default(), json).await?;
        let is_live = !version["sha256"].is_null() && before["live"]["sha256"] == version["sha256"];
        let before = Before::of(&before, &version["sha256"]);
        let kept = format!("{name} {}", short(&version["sha256"]));
        let mut body = json!({"sha256": version["sha256"]});
        if let Some(settings) = &self.settings {
            body["settings"] = settings.clone();
        }
        if self.force {
            body["force"] = true.into();
        }
        let (state, release) = match self.wish {
            Wish::Live => ("live", session.post(&format!("{path}/live"), &body).await),
            Wish::Share(share) => {
                body["share"] = share.into();
                ("candidate", session.post(&format!("{path}/canary"), &body).await)
            }
            Wish::Shadow => {
                body["shadow"] = true.into();
                ("candidate", session.post(&format!("{path}/canary"), &body).await)
            }
            Wish::Nothing => ("uploaded", Ok(Value::Null)),
        };
        let after = |what: &str, failure: Failure| match failure {
            Failure::Failed(message) => Failure::Failed(format!("{message}\n  {kept} is uploaded, {what}")),
            problems @ Failure::Problems(_) => problems,
        };
        let release =
            release.map_err(|failure| after(if is_live { "and live as it was" } else { "and not live" }, failure))?;
        if let Some(source) = self.to {
            let attached = session.post(&format!("{path}/attach"), &json!({ "source": source })).await;
            attached.map_err(|failure| after(&format!("{state}, and not attached to {source}"), failure))?;
        }
        let unused = self.unused(&release);
        let is_used = self.to.is_some() || !self.used_by(&release).is_empty() || has_any(&release["attached"]);
        let failing = match self.wish {
            Wish::Live if is_used => before.watch(session, &path, self.patience).await?,
            _ => None,
        };
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if json {
            println!(
                "{}",
                json!({"name": name, "state": state, "version": version, "attached": self.to, "syncs": release["syncs"],
                    "lookups_missing": release["lookups_missing"], "failing": failing, "ms": ms})
            );
            return Ok(ExitCode::SUCCESS);
        }
        let is = match self.wish {
            Wish::Live if unused.is_some() => "is kept; no sync uses it".to_owned(),
            Wish::Live => "is live".to_owned(),
            Wish::Share(share) => format!("is a candidate with {share}% of the batches"),
            Wish::Shadow => "is a candidate as a shadow; see `versions`".to_owned(),
            Wish::Nothing => "is uploaded, not live".to_owned(),
        };
        let kib = version["bytes"].as_u64().unwrap_or(0) / 1024;
        println!(
            "{} {kept} {is}{} ({kib} KiB, compiled in {} ms, {}, {ms} ms in all)",
            style::good("pushed"),
            self.used_by(&release),
            version["compile_ms"],
            fixtures(&version["smoke"]),
        );
        if let Some(write) = unused {
            println!("  {write}");
        }
        for table in release["lookups_missing"].as_array().into_iter().flatten() {
            println!(
                "  it looks up {table}, which nobody grants it: write lookups/{table}.yaml with `grant_to: [{name}]`",
                table = table.as_str().unwrap_or_default(),
            );
        }
        if let Some(failing) = failing {
            failing::warn_of(&failing, self.plugin_kind.one(), &name);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What it looks up is granted to it, as far as the server knows; nothing is sent that would not go live.
    fn granted(&self, manifest: &Manifest, there: &Value) -> Result<(), Failure> {
        if self.force || matches!(self.wish, Wish::Nothing) || self.plugin_kind == PluginKind::Destinations {
            return Ok(());
        }
        let name = &manifest.name;
        let granted = there["granted"][name].as_array().map(Vec::as_slice).unwrap_or_default();
        match manifest.lookups.iter().find(|table| !granted.iter().any(|granted| granted == *table)) {
            None => Ok(()),
            Some(table) => Err(Failure::Failed(format!(
                "{name} looks up {table}, which nobody grants it; nothing was pushed\n  fix: write lookups/{table}.yaml with \
                 `grant_to: [{name}]` and start the server again, or push it with --force"
            ))),
        }
    }

    /// Who sees it from now on.
    fn used_by(&self, release: &Value) -> String {
        let syncs: Vec<&str> = release["syncs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match self.to {
            Some(source) => format!(" for source {source}"),
            None if syncs.is_empty() => String::new(),
            None => format!(" for sync {}", syncs.join(", ")),
        }
    }

    /// What to write so that a destination is used, where no sync does.
    fn unused(&self, release: &Value) -> Option<String> {
        let name = release["name"].as_str().filter(|_| self.plugin_kind == PluginKind::Destinations)?;
        match release["syncs"].as_array() {
            Some(syncs) if !syncs.is_empty() => None,
            Some(_) => Some(format!("write `destination: {name}` into a file of syncs/ and start the server again")),
            None => Some(format!(
                "write destinations/{name}.yaml with `kind: plugin` (and what it may reach: `allow_hosts`), \
                 `destination: {name}` into a file of syncs/, and start the server again"
            )),
        }
    }

    /// What the component says about itself; nothing is sent that cannot be taken.
    fn manifest(&self) -> Result<Manifest, Failure> {
        let manifest = Package::read(&self.component)?.manifest;
        let plugin_kind =
            if manifest.kind == Kind::Destination { PluginKind::Destinations } else { PluginKind::Functions };
        if plugin_kind != self.plugin_kind {
            let (kind, one) = (manifest.kind.as_str(), plugin_kind.one());
            return Err(Failure::Failed(format!("this is a {one} (`kind: {kind}`); use `tidegate {one} push`")));
        }
        Ok(manifest)
    }
}

fn has_any(list: &Value) -> bool {
    list.as_array().is_some_and(|list| !list.is_empty())
}

/// What the fixtures that it carries came to.
fn fixtures(smoke: &Value) -> String {
    let count = |name: &str| smoke[name].as_u64().unwrap_or(0);
    let some = |count: u64| format!("{count} fixture{}", if count == 1 { "" } else { "s" });
    if let Some(difference) = smoke["failed"].as_str() {
        return style::plain(difference.lines().next().unwrap_or_default(), 200);
    }
    match (count("passed"), count("ran")) {
        (passed, 0) => format!("{} passed", some(passed)),
        (0, ran) => format!("{} ran without breaking it", some(ran)),
        (passed, ran) => format!("{} passed, {ran} ran without breaking it", some(passed)),
    }
}

fn component(upload: &Upload) -> Result<Vec<u8>, Failure> {
    let from = &upload.from;
    if from.is_dir() && upload.papers.papers().is_some() {
        let message = "--manifest goes with a component; a folder has its plugin.yaml";
        return Err(Failure::Failed(message.to_owned()));
    }
    let path = if from.is_dir() { function::built(from, None, &upload.tools)?.path } else { from.clone() };
    let bytes = file::read(&path, file::COMPONENT_BYTES_MAX)
        .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    match upload.papers.papers() {
        Some(papers) => Ok(project::packed(&bytes, papers)?.0),
        None => Ok(bytes),
    }
}
