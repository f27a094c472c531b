//! `push`: an upload, and what becomes of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_api_types::build::PushQuery;
use tidegate_api_types::function::{ChangeCanary, OfSource};
use tidegate_api_types::version::{MakeLive, ShownSmoke};
use tidegate_authoring as project;
use tidegate_document::file;
use tidegate_plugin::{Manifest, ManifestKind, Package};
use tidegate_registry::PluginKind;

use super::failing::{self, ChargesBefore};
use super::session::{AdminSession, ServerArgs};
use super::shown::{Listed, Shown};
use super::{read_json, short};
use crate::cli::client::ClientError;
use crate::cli::{CommandDone, CommandFailure, function, style};

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
    #[arg(long)]
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
    tools: function::BuildTools,
    #[command(flatten)]
    server: ServerArgs,
}

fn patience(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=600.0).contains(seconds));
    seconds.ok_or_else(|| "write seconds from 0 to 600".to_owned())
}

/// What becomes of a version that was taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum PushWish {
    Live,
    Share(u8),
    Shadow,
    Nothing,
}

impl PushWish {
    const fn state(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Share(_) | Self::Shadow => "candidate",
            Self::Nothing => "uploaded",
        }
    }
}

/// Everything that a push needs.
struct Push<'a> {
    plugin_kind: PluginKind,
    component: Vec<u8>,
    to: Option<&'a str>,
    settings: Option<Value>,
    wish: PushWish,
    force: bool,
    patience: Duration,
}

/// Pushes a component. What can be refused without a build is refused before it.
pub(super) async fn push(
    upload: &Upload,
    plugin_kind: PluginKind,
    wish: PushWish,
    to: Option<&str>,
    json: bool,
) -> CommandDone {
    let settings = upload.settings.as_deref().map(read_json).transpose()?;
    let session = AdminSession::new(&upload.server, plugin_kind)?;
    let there = session.list().await?;
    if let (Some(source), Some(sources)) = (to, there.sources())
        && !sources.contains(source)
    {
        let known: Vec<&str> = sources.iter().map(String::as_str).collect();
        let message = format!("there is no source {source:?}; there are {}", known.join(", "));
        return Err(CommandFailure::Failed(format!(
            "{message}\n  fix: name one of them with --to; nothing was pushed"
        )));
    }
    let component = component(upload)?;
    let wish = if upload.no_live { PushWish::Nothing } else { wish };
    let patience = Duration::from_secs_f64(upload.watch);
    let push = Push { plugin_kind, component, to, settings, wish, force: upload.force, patience };
    push.run(&session, &there, json).await
}

impl Push<'_> {
    async fn run(self, session: &AdminSession, there: &Listed, json: bool) -> CommandDone {
        let began = Instant::now();
        let manifest = self.manifest()?;
        let name = manifest.name.as_str();
        self.granted(&manifest, there)?;
        let known = there.rows().into_iter().find(|row| row.name == name);
        if let PushWish::Share(_) | PushWish::Shadow = self.wish
            && known.is_none_or(|row| row.live.is_none())
        {
            let message = format!("no version of {name} is live that this one could be tried beside");
            return Err(CommandFailure::Failed(format!(
                "{message}\n  fix: push it without --canary or --shadow first"
            )));
        }
        let before = if known.is_some() { Some(session.show(name).await?) } else { None };
        let query = PushQuery { force: self.force, ..PushQuery::default() };
        let version = session.push(name, query, self.component.clone(), json).await?;
        let sha256 = version.sha256.as_str();
        let was_live = before.as_ref().and_then(Shown::live_sha) == Some(sha256);
        let before = ChargesBefore::of(before.as_ref(), sha256);
        let kept = format!("{name} {}", short(Some(sha256)));
        let after = |what: &str, failure: CommandFailure| match failure {
            CommandFailure::Failed(message) => {
                CommandFailure::Failed(format!("{message}\n  {kept} is uploaded, {what}"))
            }
            problems @ CommandFailure::Problems(_) => problems,
        };
        let placed = self.place(session, name, sha256).await;
        let shown = placed
            .map_err(|error| after(if was_live { "and live as it was" } else { "and not live" }, error.into()))?;
        let state = self.wish.state();
        if let Some(source) = self.to {
            let attached = session.client().attach_function(name, &OfSource { source: source.to_owned() }).await;
            attached.map_err(|error| after(&format!("{state}, and not attached to {source}"), error.into()))?;
        }
        let syncs = shown.as_ref().and_then(Shown::syncs);
        let is_attached = shown.as_ref().is_some_and(|shown| !shown.attached().is_empty());
        let is_used = self.to.is_some() || is_attached || syncs.is_some_and(|syncs| !syncs.is_empty());
        let failing = match self.wish {
            PushWish::Live if is_used => before.watch(session, name, self.patience).await?,
            _ => None,
        };
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let lookups_missing = shown.as_ref().and_then(Shown::lookups_missing);
        if json {
            println!(
                "{}",
                json!({"name": name, "state": state, "version": version, "attached": self.to, "syncs": syncs,
                    "lookups_missing": lookups_missing, "failing": failing, "ms": ms})
            );
            return Ok(ExitCode::SUCCESS);
        }
        let unused = shown.as_ref().and_then(|shown| self.unused(shown));
        let is = match self.wish {
            PushWish::Live if unused.is_some() => "is kept; no sync uses it".to_owned(),
            PushWish::Live => "is live".to_owned(),
            PushWish::Share(share) => format!("is a candidate with {share}% of the batches"),
            PushWish::Shadow => "is a candidate as a shadow; see `versions`".to_owned(),
            PushWish::Nothing => "is uploaded, not live".to_owned(),
        };
        println!(
            "{} {kept} {is}{} ({} KiB, compiled in {} ms, {}, {ms} ms in all)",
            style::good("pushed"),
            self.used_by(syncs.unwrap_or_default()),
            version.bytes / 1024,
            version.compile_ms,
            fixtures(&version.smoke),
        );
        if let Some(write) = unused {
            println!("  {write}");
        }
        for table in lookups_missing.unwrap_or_default() {
            println!(
                "  it looks up {table}, which nobody grants it: write lookups/{table}.yaml with `grant_to: [{name}]`"
            );
        }
        if let Some(failing) = failing {
            failing::warn_of(&failing, self.plugin_kind.one(), name);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Puts a version that is on the server where it is wished to be.
    async fn place(&self, session: &AdminSession, name: &str, sha256: &str) -> Result<Option<Shown>, ClientError> {
        let (sha256, settings, force) = (sha256.to_owned(), self.settings.clone(), self.force);
        let (share, shadow) = match self.wish {
            PushWish::Nothing => return Ok(None),
            PushWish::Live => {
                return session.make_live(name, &MakeLive { sha256, settings, force }).await.map(Some);
            }
            PushWish::Share(share) => (Some(share), None),
            PushWish::Shadow => (None, Some(true)),
        };
        let asked = ChangeCanary { sha256: Some(sha256), settings, share, shadow, off: None, force };
        session.client().change_canary(name, &asked).await.map(|function| Some(Shown::Function(function)))
    }

    /// What it looks up is granted to it, as far as the server knows; nothing is sent that would not go live.
    fn granted(&self, manifest: &Manifest, there: &Listed) -> Result<(), CommandFailure> {
        if self.force || matches!(self.wish, PushWish::Nothing) || self.plugin_kind == PluginKind::Destinations {
            return Ok(());
        }
        let name = &manifest.name;
        match manifest.lookups.iter().find(|table| !there.grants(name, table)) {
            None => Ok(()),
            Some(table) => Err(CommandFailure::Failed(format!(
                "{name} looks up {table}, which nobody grants it; nothing was pushed\n  fix: write lookups/{table}.yaml with \
                 `grant_to: [{name}]` and run `tidegate reload`, or push it with --force"
            ))),
        }
    }

    /// Who sees it from now on.
    fn used_by(&self, syncs: &[String]) -> String {
        match self.to {
            Some(source) => format!(" for source {source}"),
            None if syncs.is_empty() => String::new(),
            None => format!(" for sync {}", syncs.join(", ")),
        }
    }

    /// What to write so that a destination is used, where no sync does.
    fn unused(&self, shown: &Shown) -> Option<String> {
        if self.plugin_kind != PluginKind::Destinations {
            return None;
        }
        let name = shown.name();
        match shown.syncs() {
            Some([_, ..]) => None,
            Some([]) => Some(format!("write `destination: {name}` into a file of syncs/ and run `tidegate reload`")),
            None => Some(format!(
                "write destinations/{name}.yaml with `kind: plugin` (and what it may reach: `allow_hosts`), \
                 `destination: {name}` into a file of syncs/, and run `tidegate reload`"
            )),
        }
    }

    /// What the component says about itself; nothing is sent that cannot be taken.
    fn manifest(&self) -> Result<Manifest, CommandFailure> {
        let manifest = Package::read(&self.component)?.manifest;
        let plugin_kind =
            if manifest.kind == ManifestKind::Destination { PluginKind::Destinations } else { PluginKind::Functions };
        if plugin_kind != self.plugin_kind {
            let (kind, one) = (manifest.kind.as_str(), plugin_kind.one());
            return Err(CommandFailure::Failed(format!("this is a {one} (`kind: {kind}`); use `tidegate {one} push`")));
        }
        Ok(manifest)
    }
}

/// What the fixtures that it carries came to.
fn fixtures(smoke: &ShownSmoke) -> String {
    let some = |count: u64| format!("{count} fixture{}", if count == 1 { "" } else { "s" });
    if let Some(difference) = &smoke.failed {
        return style::plain(difference.lines().next().unwrap_or_default(), 200);
    }
    match (smoke.passed, smoke.ran) {
        (passed, 0) => format!("{} passed", some(passed)),
        (0, ran) => format!("{} ran without breaking it", some(ran)),
        (passed, ran) => format!("{} passed, {ran} ran without breaking it", some(passed)),
    }
}

fn component(upload: &Upload) -> Result<Vec<u8>, CommandFailure> {
    let from = &upload.from;
    if from.is_dir() && upload.papers.papers().is_some() {
        let message = "--manifest goes with a component; a folder has its plugin.yaml";
        return Err(CommandFailure::Failed(message.to_owned()));
    }
    let path = if from.is_dir() { function::built(from, None, &upload.tools)?.path } else { from.clone() };
    let bytes = file::read(&path, file::COMPONENT_BYTES_MAX)
        .map_err(|error| CommandFailure::Failed(format!("{}: {error}", path.display())))?;
    match upload.papers.papers() {
        Some(papers) => Ok(project::packed(&bytes, papers)?.0),
        None => Ok(bytes),
    }
}
