//! Which environments a server has: further workspaces beside the one of its own folder, each with a folder of objects, with data and with
//! objects of the catalog of its own. Settings are the server's: what `tidegate.yaml` says holds for all of them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_catalog::{SERVER_WORKSPACE, check_workspace};
use tidegate_document::fields::Fields;
use tidegate_document::problem::{NAME_CHARS_MAX, Problem, shortened};

use super::folder::{DATA_DEFAULT, MAIN_FILE};

/// The environment of the server's own folder, and its workspace in the catalog.
pub const MAIN_ENVIRONMENT: &str = "default";
/// Below the server's folder, and below its data directory.
const FOLDER: &str = "environments";
/// Each has a log, threads and connections of its own.
const ENVIRONMENTS_MAX: usize = 16;

/// By name: the folder of each, from the server's.
pub type EnvironmentFolders = BTreeMap<String, PathBuf>;

/// Where the data of an environment is, in the data directory of the server.
#[must_use]
pub fn environment_data(data: &Path, name: &str) -> PathBuf {
    if name == MAIN_ENVIRONMENT { data.to_owned() } else { data.join(FOLDER).join(name) }
}

/// The folder of an environment, unless `tidegate.yaml` says otherwise.
pub(super) fn usual_folder(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// `environments` of `tidegate.yaml`, whose `data` says this.
pub(super) fn folders(f: &mut Fields<'_>, data: Option<&str>) -> EnvironmentFolders {
    let data = Path::new(data.unwrap_or(DATA_DEFAULT));
    let named = f.each("environments", "folder", |name, f| {
        let folder = f.text("folder").map_or_else(|| usual_folder(name), PathBuf::from);
        if name == MAIN_ENVIRONMENT || name == SERVER_WORKSPACE {
            let message =
                format!("{name:?} is taken: it is the workspace of the server's own folder, or of the server itself");
            f.problem("", message, "choose another name, such as staging");
            return None;
        }
        if let Err(error) = check_workspace(name) {
            f.problem("", error.to_string(), "choose a name such as staging");
            return None;
        }
        if let Some(message) = unfit(&folder, data) {
            f.problem("folder", message, format!("write the path of a folder of its own, such as {FOLDER}/{name}"));
            return None;
        }
        Some((name.to_owned(), plain(&folder)))
    });
    let named: Vec<(String, PathBuf)> = named.into_iter().flatten().collect();
    if named.len() > ENVIRONMENTS_MAX {
        let message = format!("there are {} environments, and {ENVIRONMENTS_MAX} are the most", named.len());
        f.problem("environments", message, "run another server for the rest");
    }
    for (at, (name, folder)) in named.iter().enumerate() {
        let within = |(_, other): &&(String, PathBuf)| folder.starts_with(other) || other.starts_with(folder);
        if let Some((other, _)) = named.iter().take(at).find(within) {
            let message = format!("the folders of {other} and {name} lie in one another");
            f.problem("environments", message, "give each a folder of its own");
        }
    }
    named.into_iter().collect()
}

/// Without steps that lead nowhere.
fn plain(folder: &Path) -> PathBuf {
    folder.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Why a folder of the server's cannot be that of an environment.
fn unfit(folder: &Path, data: &Path) -> Option<String> {
    let shown = folder.display();
    let stays = folder.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let (folder, data) = (plain(folder), plain(data));
    let Some(Component::Normal(first)) = folder.components().next().filter(|_| stays) else {
        return Some(format!("{shown} is no folder within that of the server"));
    };
    let mut of_objects = ObjectRefKind::OF_FOLDERS.into_iter().chain([ObjectRefKind::ContractFile]);
    if of_objects.any(|kind| first == kind.folder()) {
        return Some(format!("{shown} is where the objects of the server's own workspace are"));
    }
    let is_data = !data.as_os_str().is_empty() && (folder.starts_with(&data) || data.starts_with(&folder));
    is_data.then(|| format!("{shown} and the data directory lie in one another"))
}

/// The environments that the fields of `tidegate.yaml` name.
pub(super) fn of_main(f: &mut Fields<'_>) -> EnvironmentFolders {
    let data = f.text("data");
    folders(f, data.as_deref())
}

/// What somebody is told who names an environment that the server in `dir` does not have.
pub(super) fn no_environment(dir: &Path, name: &str, known: &EnvironmentFolders) -> Problem {
    let names: Vec<&str> = [MAIN_ENVIRONMENT].into_iter().chain(known.keys().map(String::as_str)).collect();
    let shown = shortened(name, NAME_CHARS_MAX);
    let message = format!("there is no environment {shown:?}");
    let fix = format!("name one of {}, or write it below `environments`", names.join(", "));
    Problem::of_file(dir.join(MAIN_FILE), 0, message, fix)
}
