//! Paths of the admin API.

use hyper::Method;
use tidegate_registry::Shelf;

use super::access::{Action, Object};
use super::answer::Answer;

/// A request, understood.
pub(super) struct Route {
    pub(super) call: Call,
    pub(super) query: Query,
}

/// What is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Push { shelf: Shelf, name: String },
    Build { id: String },
    List { shelf: Shelf },
    Show { shelf: Shelf, name: String },
    Logs { shelf: Shelf, name: String },
    Flip { shelf: Shelf, name: String, flip: Flip },
}

/// A change of pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flip {
    Live,
    Rollback,
    Canary,
    Attach,
    Detach,
    Settings,
}

impl Call {
    /// What it asks of what.
    pub(super) fn asks(&self) -> (Action, Object) {
        let named = |shelf: &Shelf, name: &String| Object::Named(*shelf, name.clone());
        match self {
            Self::Push { shelf, name } => (Action::Push, named(shelf, name)),
            Self::Build { .. } => (Action::Read, Object::Build),
            Self::List { shelf } => (Action::Read, Object::Shelf(*shelf)),
            Self::Show { shelf, name } => (Action::Read, named(shelf, name)),
            Self::Logs { shelf, name } => (Action::ReadLogs, named(shelf, name)),
            Self::Flip { shelf, name, flip } => match flip {
                Flip::Live | Flip::Rollback | Flip::Canary => (Action::Flip, named(shelf, name)),
                Flip::Attach | Flip::Detach | Flip::Settings => (Action::Configure, named(shelf, name)),
            },
        }
    }
}

/// The part after `?`, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Finds what `method` and `path` call.
pub(super) fn find(method: &Method, path: &str, query: Option<&str>) -> Result<Route, Answer> {
    let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().take(32).collect();
    let call = call(method, path)?;
    Ok(Route { call, query: Query(query) })
}

fn call(method: &Method, path: &str) -> Result<Call, Answer> {
    let nothing = || Answer::not_found("there is no such path");
    let parts: Vec<&str> = path.strip_prefix("/admin/").ok_or_else(nothing)?.split('/').collect();
    let shelf = |word: &str| match word {
        "functions" => Ok(Shelf::Functions),
        "destinations" => Ok(Shelf::Destinations),
        _ => Err(nothing()),
    };
    let name = |name: &str| {
        let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(fits) {
            return Err(Answer::bad("name", format!("{name:?} is not a name"), "use up to 63 of a-z, 0-9 and -"));
        }
        Ok(name.to_owned())
    };
    let flip = |shelf: Shelf, word: &str| match word {
        "live" => Ok(Flip::Live),
        "rollback" => Ok(Flip::Rollback),
        // A destination is not tried beside itself: both would send.
        "canary" if shelf == Shelf::Functions => Ok(Flip::Canary),
        "settings" => Ok(Flip::Settings),
        "attach" if shelf == Shelf::Functions => Ok(Flip::Attach),
        "detach" if shelf == Shelf::Functions => Ok(Flip::Detach),
        _ => Err(nothing()),
    };
    let (wanted, call) = match parts.as_slice() {
        ["builds", id] => (Method::GET, Call::Build { id: (*id).to_owned() }),
        [all] => (Method::GET, Call::List { shelf: shelf(all)? }),
        [all, one] => (Method::GET, Call::Show { shelf: shelf(all)?, name: name(one)? }),
        [all, one, "logs"] => (Method::GET, Call::Logs { shelf: shelf(all)?, name: name(one)? }),
        [all, one, "versions"] => (Method::POST, Call::Push { shelf: shelf(all)?, name: name(one)? }),
        [all, one, word] => {
            let shelf = shelf(all)?;
            (Method::POST, Call::Flip { shelf, name: name(one)?, flip: flip(shelf, word)? })
        }
        _ => return Err(nothing()),
    };
    if *method != wanted {
        let message = format!("this path takes {wanted}");
        let fix = "see docs/admin-api.md";
        return Err(Answer::error(hyper::StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message, fix));
    }
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_and_nothing_else() {
        let shelf = Shelf::Functions;
        assert_eq!(call(&Method::GET, "/admin/functions").unwrap(), Call::List { shelf });
        let flip = Call::Flip { shelf, name: "a".into(), flip: Flip::Attach };
        assert_eq!(flip.asks(), (Action::Configure, Object::Named(shelf, "a".into())));
        assert_eq!(call(&Method::POST, "/admin/functions/a/attach").unwrap(), flip);
        for (method, path) in [
            (Method::POST, "/admin/destinations/a/attach"),
            (Method::POST, "/admin/destinations/a/canary"),
            (Method::POST, "/admin/destinations/a/logs"),
            (Method::GET, "/admin/functions/a/live"),
            (Method::GET, "/admin/functions/..%2f/logs"),
            (Method::GET, "/admin/functions/A"),
            (Method::GET, "/admin/"),
            (Method::GET, "/"),
            (Method::GET, "/admin/functions/a/b/c"),
        ] {
            assert!(call(&method, path).is_err(), "{path}");
        }
    }
}
