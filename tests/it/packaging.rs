//! What the packages promise, as far as texts say it; `make packages` builds them and installs each.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use saphyr::{LoadableYamlNode, Yaml};

use crate::support::{run, tidegate};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn text_of(place: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{place}: {error}"))
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn every_command_that_help_shows_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man/man1");
    printed(&run(&["man", pages.to_str().unwrap()]));
    let written: BTreeSet<String> =
        fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let help = printed(&run(&["--help"]));
    let listed = help.split_once("\nCommands:\n").unwrap().1.split("\n\n").next().unwrap();
    let commands: Vec<&str> = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    let missing: Vec<&&str> = commands.iter().filter(|name| !written.contains(&format!("tidegate-{name}.1"))).collect();
    assert!(missing.is_empty(), "without a page: {missing:?} of {written:?}");
    assert!(written.contains("tidegate.1") && written.contains("tidegate-object-list.1"), "{written:?}");
    for hidden in ["man", "complete-names"] {
        assert!(!written.contains(&format!("tidegate-{hidden}.1")), "{hidden}");
    }
    let first = fs::read_to_string(pages.join("tidegate.1")).unwrap();
    assert!(first.contains(".TH tidegate 1") && first.contains(&format!("tidegate {VERSION}")), "{first}");
}

#[test]
fn manual_pages_that_cannot_be_written_are_named() {
    let output = run(&["man", "/proc/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/proc/nowhere"));
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = text_of("packaging/helm/tidegate/Chart.yaml");
    assert!(chart.contains(&format!("\nversion: {VERSION}\n")), "{chart}");
    assert!(chart.contains(&format!("\nappVersion: \"{VERSION}\"\n")), "{chart}");
}

#[test]
fn the_workspace_of_the_chart_has_no_problem() {
    let values = text_of("packaging/helm/tidegate/values.yaml");
    let documents = Yaml::load_from_str(&values).unwrap();
    let files = documents[0].as_mapping_get("workspace").and_then(Yaml::as_mapping).unwrap();
    assert!(files.len() >= 4, "{files:?}");
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name.as_str().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.as_str().unwrap()).unwrap();
    }
    let check = |key: &str| {
        tidegate().args(["check", dir.path().to_str().unwrap()]).env("WEB_WRITE_KEY", key).output().unwrap()
    };
    printed(&check("0123456789abcdef0123456789abcdef"));
    assert_eq!(check("").status.code(), Some(3), "an empty write key");
}

#[test]
fn cargo_binstall_finds_the_archive_under_its_name() {
    let manifest = text_of("Cargo.toml");
    let name = "tidegate-{ version }-{ target }";
    assert!(manifest.contains(&format!("/v{{ version }}/{name}.tar.gz\"")));
    assert!(manifest.contains(&format!("bin-dir = \"{name}/{{ bin }}{{ binary-ext }}\"")));
    let script = text_of("packaging/archive");
    for line in ["name=tidegate-$version-$triple", "\"$out/$name.tar.gz\" \"$name\"", "\"$folder/tidegate\""] {
        assert!(script.contains(line), "{line}");
    }
}

#[test]
fn the_unit_lets_plugins_compile_and_writes_in_one_place_alone() {
    let unit = text_of("packaging/debian/tidegate.service");
    let lines: BTreeSet<&str> = unit.lines().collect();
    for line in [
        "ExecStart=/usr/bin/tidegate serve /etc/tidegate --data /var/lib/tidegate",
        "ProtectSystem=strict",
        "StateDirectory=tidegate",
        "StateDirectoryMode=0700",
        // A disk that is away for a minute is no reason to stay down.
        "StartLimitIntervalSec=0",
        "Restart=on-failure",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        // The child that compiles gives itself a filter and limits.
        "SystemCallFilter=@system-service",
        "SystemCallFilter=seccomp",
    ] {
        assert!(lines.contains(line), "{line}");
    }
    assert!(!unit.contains("\nMemoryDenyWriteExecute=yes") && !unit.contains("~@resources"), "plugins could not run");
    let begins = text_of("packaging/debian/postinst");
    assert!(begins.contains("data: /var/lib/tidegate"), "commands would look for the data elsewhere");
}

#[test]
fn scripts_that_are_called_are_there_and_may_be_run() {
    let workflow = text_of(".github/workflows/release.yml");
    Yaml::load_from_str(&workflow).unwrap();
    let callers = [
        workflow,
        text_of("Makefile"),
        text_of("packaging/all"),
        text_of("docs/install.md"),
        text_of("docs/tls.md"),
        text_of("examples/nginx/README.md"),
    ];
    let words = callers.iter().flat_map(|text| text.split(|c: char| !(c.is_alphanumeric() || "/._-".contains(c))));
    let called: BTreeSet<&str> = words
        .map(|word| word.trim_end_matches(['.', '/']))
        .filter(|word| ["packaging/", "tests/packaging/", "tests/proxies/"].iter().any(|start| word.starts_with(start)))
        .collect();
    assert!(called.len() >= 5, "{called:?}");
    for place in called {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
        let is_script = path.is_file() && path.extension().is_none_or(|extension| extension == "py");
        assert!(path.exists(), "{place} is called and is not there");
        assert!(!is_script || path.metadata().unwrap().permissions().mode() & 0o111 != 0, "{place} may not be run");
    }
}

#[test]
fn the_page_about_installing_says_each_way_with_its_upgrade_and_removal() {
    let page = text_of("docs/install.md");
    for command in [
        "pip install tidegate",
        "pip uninstall tidegate",
        "npx tidegate",
        "npm uninstall",
        "apt install ./tidegate_",
        "apt purge tidegate",
        "cargo binstall",
        "podman run",
        "helm install",
        "helm upgrade",
        "helm uninstall",
    ] {
        assert!(page.contains(command), "{command}");
    }
    assert!(text_of("README.md").contains("docs/install.md"));
}

/// Where the links of a page lead that are no address, from the folder of the page.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let places = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
    places
        .filter(|place| !place.is_empty() && !place.contains("://") && !place.contains(' '))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_readme_names_every_page_and_no_link_leads_nowhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec!["README.md".to_owned()];
    for folder in ["docs", "examples/nginx", "examples/caddy", "examples/cloudflare", "examples/kafka-to-postgres"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    assert!(pages.len() > 30, "{pages:?}");
    let named: BTreeSet<String> = links(&text_of("README.md")).into_iter().collect();
    let unnamed: Vec<&String> =
        pages.iter().filter(|page| page.starts_with("docs/") && !named.contains(page.as_str())).collect();
    assert!(unnamed.is_empty(), "README.md does not name {unnamed:?}");
    let mut dead = Vec::new();
    for page in &pages {
        let folder = root.join(page).parent().unwrap().to_owned();
        let found = links(&text_of(page));
        dead.extend(found.into_iter().filter(|place| !folder.join(place).exists()).map(|place| (page.clone(), place)));
    }
    assert!(dead.is_empty(), "{dead:?}");
}
