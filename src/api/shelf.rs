//! Functions and destinations: what there is, and moving their pointers.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_event::time;
use tidegate_plugin::Manifest;
use tidegate_registry::{Error, Facts, Placed, Pointer, Pointers, Sha, Shelf, Store, Trial, shown_settings};

use super::Door;
use super::answer::Answer;
use super::route::Flip;
use super::upload::blocking;

impl Door {
    /// Everything on a shelf, without details.
    pub(super) fn list(&self, shelf: Shelf) -> Answer {
        let store = &self.settings.store;
        let pointers = store.pointers();
        let one = |name: String| {
            let versions = store.versions(shelf, &name);
            let pointer = pointers.shelf(shelf).get(&name).cloned().unwrap_or_default();
            let mut value = json!({"name": name, "versions": versions.len()});
            value["live"] = sha(pointer.live.as_ref());
            value["previous"] = sha(pointer.previous.as_ref());
            value["canary"] = sha(pointer.canary.as_ref().map(|canary| &canary.placed));
            if shelf == Shelf::Functions {
                value["attached"] = json!(pointer.attached);
            } else {
                value["syncs"] = json!(self.settings.syncs.get(&name));
            }
            value
        };
        let all: Vec<Value> = store.names(shelf).into_iter().map(one).collect();
        let mut answer = json!({shelf.all(): all, "revision": pointers.revision});
        if shelf == Shelf::Functions {
            answer["sources"] = json!(self.settings.sources);
            answer["lent"] = json!(self.settings.lent);
        }
        Answer::ok(answer)
    }

    /// One thing with its versions, pointers and meters.
    pub(super) async fn show(&self, shelf: Shelf, name: &str) -> Result<Answer, Answer> {
        let store = &self.settings.store;
        let versions = store.versions(shelf, name);
        if versions.is_empty() {
            return Err(Error::NoSuchName { shelf, name: name.to_owned() }.into());
        }
        let mut value = self.pointer_json(shelf, name, &store.pointers());
        value["versions"] = versions.iter().map(|facts| facts_json(facts)).collect();
        value["meters"] = self.meters(shelf, name)?;
        Ok(Answer::ok(value))
    }

    /// Moves a pointer and answers where it stands.
    pub(super) async fn flip(&self, shelf: Shelf, name: String, flip: Flip, body: Value) -> Result<Answer, Answer> {
        let mut body = Body(body);
        let store = self.settings.store.clone();
        let work: Change = match flip {
            Flip::Live => {
                let (sha256, settings) = (body.sha()?, body.settings()?);
                self.lends(shelf, &name, sha256, body.is_forced())?;
                Box::new(move |store, name| store.set_live(shelf, name, sha256, settings))
            }
            Flip::Rollback => Box::new(move |store, name| store.rollback(shelf, name)),
            Flip::Canary if body.is_off() => Box::new(move |store, name| store.set_canary(shelf, name, None)),
            Flip::Canary => {
                let (sha256, trial, settings) = (body.sha()?, body.trial()?, body.settings()?);
                self.lends(shelf, &name, sha256, body.is_forced())?;
                Box::new(move |store, name| store.set_canary(shelf, name, Some((sha256, trial, settings))))
            }
            Flip::Settings => {
                let missing = || Answer::bad("settings", "`settings` is missing", r#"send {"settings": {...}}"#);
                let settings = body.settings()?.ok_or_else(missing)?;
                Box::new(move |store, name| store.set_settings(shelf, name, settings))
            }
            Flip::Attach => {
                let source = body.source()?;
                if !self.settings.sources.contains(&source) {
                    let known: Vec<&str> = self.settings.sources.iter().map(String::as_str).collect();
                    let message = format!("there is no source {source:?}; there are {}", known.join(", "));
                    return Err(Answer::bad("no-such-source", message, "name a source of the workspace"));
                }
                Box::new(move |store, name| store.attach(name, &source))
            }
            Flip::Detach => {
                let source = body.source()?;
                Box::new(move |store, name| store.detach(name, &source))
            }
        };
        body.finish()?;
        let shown = name.clone();
        let pointers = blocking(move || work(&store, &name)).await??;
        tracing::info!(shelf = shelf.all(), name = shown, revision = pointers.revision, "pointers changed: {flip:?}");
        self.in_place(shelf, &shown, pointers.revision).await?;
        Ok(Answer::ok(self.pointer_json(shelf, &shown, &pointers)))
    }

    /// Waits until what runs has followed the pointers: whoever is answered may send the first event.
    async fn in_place(&self, shelf: Shelf, name: &str, revision: u64) -> Result<(), Answer> {
        let mut taken = match shelf {
            Shelf::Functions => self.settings.running.functions.clone(),
            Shelf::Destinations => self.settings.running.destinations.clone(),
        };
        let followed = taken.wait_for(|taken| taken.revision >= revision);
        let Ok(followed) = tokio::time::timeout(self.settings.limits.wait_max, followed).await else {
            tracing::warn!(name, revision, "the pointers changed, and what runs has not followed yet");
            return Ok(());
        };
        // An error says that the server is stopping.
        let refused = followed.ok().and_then(|taken| taken.refused.get(name).cloned());
        refused.map_or(Ok(()), |reason| {
            let message = format!(
                "the pointer moved, but the version cannot be put in place, and the one before it goes on: {reason}"
            );
            let fix = "mend what the message says, or roll back";
            Err(Answer::error(hyper::StatusCode::UNPROCESSABLE_ENTITY, "not-in-place", message, fix))
        })
    }

    /// Whether the workspace lends a version every table that it asks for.
    fn lends(&self, shelf: Shelf, name: &str, sha256: Sha, forced: bool) -> Result<(), Answer> {
        if shelf == Shelf::Destinations || forced {
            return Ok(());
        }
        let versions = self.settings.store.versions(shelf, name);
        let facts = versions.iter().find(|facts| facts.sha256 == sha256);
        let missing = facts.map(|facts| self.not_lent(name, facts)).unwrap_or_default();
        let Some(table) = missing.first() else { return Ok(()) };
        let message = format!("function {name:?} looks up {}, which nobody lends it", missing.join(", "));
        let fix = format!(
            "write lookups/{table}.yaml with `lend_to: [{name}]` and start the server again; or go on without it: \
             `\"force\": true`, on the command line --force"
        );
        Err(Answer::error(hyper::StatusCode::UNPROCESSABLE_ENTITY, "lookups-missing", message, &fix))
    }

    /// The tables that a version asks for and the workspace does not lend.
    fn not_lent(&self, name: &str, facts: &Facts) -> Vec<String> {
        let asked = Manifest::from_json(&facts.manifest).map(|manifest| manifest.lookups).unwrap_or_default();
        let lent = self.settings.lent.get(name);
        asked.into_iter().filter(|table| lent.is_none_or(|lent| !lent.contains(table))).collect()
    }

    /// Where the pointers of a name stand, and what that means in this workspace.
    fn pointer_json(&self, shelf: Shelf, name: &str, pointers: &Pointers) -> Value {
        let pointer = pointers.shelf(shelf).get(name).cloned().unwrap_or_default();
        let Pointer { live, previous, canary, attached, earlier: _ } = pointer;
        let versions = self.settings.store.versions(shelf, name);
        // Without its manifest nobody knows which settings are secret, so none is shown.
        let manifest = |placed: &Placed| {
            let facts = versions.iter().find(|facts| facts.sha256 == placed.sha256)?;
            Manifest::from_json(&facts.manifest).ok()
        };
        let placed = |placed: &Placed| {
            let settings = manifest(placed).map(|manifest| shown_settings(&manifest, &placed.settings));
            json!({"sha256": placed.sha256, "settings": settings})
        };
        let mut value = Map::new();
        value.insert("name".to_owned(), name.into());
        value.insert("revision".to_owned(), pointers.revision.into());
        value.insert("live".to_owned(), live.as_ref().map(placed).into());
        value.insert("previous".to_owned(), previous.as_ref().map(placed).into());
        let canary = canary.map(|canary| {
            let mut shown = placed(&canary.placed);
            match canary.trial {
                Trial::Share(share) => shown["share"] = share.into(),
                Trial::Shadow => shown["shadow"] = true.into(),
            }
            shown
        });
        value.insert("canary".to_owned(), canary.into());
        if shelf == Shelf::Functions {
            value.insert("attached".to_owned(), json!(attached));
            let facts = live.as_ref().and_then(|live| versions.iter().find(|facts| facts.sha256 == live.sha256));
            let missing = facts.map(|facts| self.not_lent(name, facts)).unwrap_or_default();
            value.insert("lookups_missing".to_owned(), missing.into());
        } else {
            // Without a file there is no list: nothing of the workspace knows it.
            value.insert("syncs".to_owned(), json!(self.settings.syncs.get(name)));
        }
        Value::Object(value)
    }
}

/// A change of the store's pointers under a name.
type Change = Box<dyn FnOnce(&Store, &str) -> Result<Arc<Pointers>, Error> + Send>;

/// A JSON body whose every field must be asked for.
struct Body(Value);

impl Body {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.as_object_mut()?.remove(name)
    }

    fn sha(&mut self) -> Result<Sha, Answer> {
        let wrong = |message: String| Answer::bad("sha256", message, r#"send {"sha256": "<64 hexadecimal digits>"}"#);
        let text = self.take("sha256").ok_or_else(|| wrong("`sha256` is missing".to_owned()))?;
        text.as_str().unwrap_or_default().parse().map_err(|error: tidegate_registry::NotASha| wrong(error.to_string()))
    }

    fn settings(&mut self) -> Result<Option<Value>, Answer> {
        match self.take("settings") {
            None | Some(Value::Null) => Ok(None),
            Some(settings @ Value::Object(_)) => Ok(Some(settings)),
            Some(_) => Err(Answer::bad("settings", "`settings` is no object", r#"send {"settings": {...}}"#)),
        }
    }

    fn source(&mut self) -> Result<String, Answer> {
        let wrong = || Answer::bad("source", "`source` is missing or no text", r#"send {"source": "web"}"#);
        self.take("source").and_then(|source| source.as_str().map(str::to_owned)).ok_or_else(wrong)
    }

    /// `{"off": true}`.
    fn is_off(&mut self) -> bool {
        self.take("off") == Some(Value::Bool(true))
    }

    /// `{"force": true}`.
    fn is_forced(&mut self) -> bool {
        self.take("force") == Some(Value::Bool(true))
    }

    fn trial(&mut self) -> Result<Trial, Answer> {
        let fix = r#"send either {"share": 10} or {"shadow": true}"#;
        match (self.take("share"), self.take("shadow")) {
            (None, Some(Value::Bool(true))) => Ok(Trial::Shadow),
            (Some(share), None) => {
                let share = share.as_u64().and_then(|share| u8::try_from(share).ok());
                share.map(Trial::Share).ok_or_else(|| Answer::bad("share", "`share` is no percentage", fix))
            }
            _ => Err(Answer::bad("canary", "a canary is a share or a shadow", fix)),
        }
    }

    fn finish(self) -> Result<(), Answer> {
        match self.0.as_object().and_then(|left| left.keys().next()) {
            Some(unknown) => {
                Err(Answer::bad("unknown-field", format!("{unknown:?} is not known here"), "take it away"))
            }
            None => Ok(()),
        }
    }
}

/// A version for people and programs.
pub(super) fn facts_json(facts: &Facts) -> Value {
    json!({
        "sha256": facts.sha256, "name": facts.name, "kind": facts.kind, "bytes": facts.bytes,
        "code_bytes": facts.code_bytes, "uploaded_at": time::format(facts.uploaded_at_us),
        "compile_ms": facts.compile_ms, "smoke": facts.smoke, "description": facts.manifest["description"],
    })
}

fn sha(placed: Option<&Placed>) -> Value {
    placed.map_or(Value::Null, |placed| placed.sha256.to_string().into())
}
