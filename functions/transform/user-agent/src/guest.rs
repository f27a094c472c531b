//! The connection to Tidegate: settings in, events edited where they are.

use std::sync::OnceLock;

use exports::tidegate::plugin::field_transformer::{self, BatchError};
use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use tidegate::plugin::fields::{self, Path};
use tidegate::plugin::types::ErrorKind;

use crate::agent::{self, Bots, Settings};
use crate::bots;

wit_bindgen::generate!({ path: "../../../wit", world: "transform-fields" });

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

struct UserAgent;

/// Settings and paths, made once: a path is parsed when it is made.
struct Ready {
    settings: Settings,
    agent: Path,
    /// Name and version.
    browser: [Path; 2],
    os: [Path; 2],
    device: Path,
    bot: Path,
}

static READY: OnceLock<Ready> = OnceLock::new();

impl lifecycle::Guest for UserAgent {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings = Settings::parse(&setup.settings_json).map_err(|message| PluginError {
            kind: ErrorKind::InvalidConfig,
            code: "invalid-settings".to_owned(),
            message,
        })?;
        READY.get_or_init(|| Ready {
            settings,
            agent: Path::new("/context/userAgent"),
            browser: [Path::new("/context/browser/name"), Path::new("/context/browser/version")],
            os: [Path::new("/context/os/name"), Path::new("/context/os/version")],
            device: Path::new("/context/device/type"),
            bot: Path::new("/context/bot/name"),
        });
        Ok(())
    }
}

impl field_transformer::Guest for UserAgent {
    fn transform(events: u32) -> Result<(), BatchError> {
        let Some(ready) = READY.get() else { return Ok(()) };
        for event in 0..events {
            if let Some(text) = ready.agent.get_string(event) {
                describe(event, &text, ready);
            }
        }
        Ok(())
    }
}

fn describe(event: u32, text: &str, ready: &Ready) {
    if ready.settings.bots != Bots::Keep
        && let Some(name) = bots::name(text, &ready.settings.extra_bots)
    {
        if ready.settings.bots == Bots::Drop {
            return fields::drop_event(event, "bot");
        }
        fill(event, &ready.bot, &name);
    }
    let agent = agent::read(text);
    if let Some(name) = agent.browser {
        fill_both(event, &ready.browser, name, agent.browser_version);
    }
    if let Some(name) = agent.os {
        fill_both(event, &ready.os, name, &agent.os_version);
    }
    if let Some(kind) = agent.device {
        fill(event, &ready.device, kind);
    }
}

/// A version beside the name that somebody else gave would be another's version.
fn fill_both(event: u32, [name, version]: &[Path; 2], is: &str, at: &str) {
    if name.has(event) || version.has(event) {
        return;
    }
    fill(event, name, is);
    if !at.is_empty() {
        fill(event, version, at);
    }
}

/// Writes what the event does not say. Where something else stands in the way (`context.device: "phone"`), it stays.
fn fill(event: u32, path: &Path, text: &str) {
    if !path.has(event) {
        let _ = path.set_string(event, text);
    }
}

export!(UserAgent);
