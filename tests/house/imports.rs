//! The import table of ARCHITECTURE.md, kept by reading `cargo metadata`. Dev-dependencies obey it, too.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each may name.
const TABLE: [(&str, &[&str]); 6] = [
    ("scaletwin-core", &[]),
    ("scaletwin-hardware", &["scaletwin-core"]),
    ("scaletwin-reports", &["scaletwin-core"]),
    ("scaletwin-policies", &["scaletwin-core"]),
    ("scaletwin-sim", &["scaletwin-core", "scaletwin-hardware"]),
    ("scaletwin-scenarios", &["scaletwin-core", "scaletwin-hardware", "scaletwin-policies", "scaletwin-sim"]),
];

/// What never comes about, not even through a third crate.
const NEVER: [(&str, &str); 3] = [
    ("scaletwin-policies", "scaletwin-sim"),
    ("scaletwin-reports", "scaletwin-sim"),
    ("scaletwin-sim", "scaletwin-policies"),
];

/// Our crates by name, each with those of ours that it names, whatever for.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let named = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        let names = dependencies.filter_map(|dependency| dependency["name"].as_str());
        names.filter(|name| ours.contains(name)).map(str::to_owned).collect()
    };
    packages.iter().map(|p| (p["name"].as_str().expect("a name").to_owned(), named(p))).collect()
}

#[test]
fn every_crate_names_only_those_that_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = TABLE.into_iter().collect();
    for (name, named) in imports() {
        if name == "scaletwin" {
            continue;
        }
        let allowed = table.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table"));
        for other in &named {
            assert!(allowed.contains(&other.as_str()), "{name} may not import {other}");
        }
    }
}

#[test]
fn what_must_stay_apart_does_not_meet_through_a_third_crate() {
    let imports = imports();
    for (from, to) in NEVER {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(name) = next.pop() {
            assert_ne!(name, to, "{from} reaches {to}");
            if seen.insert(name.clone()) {
                next.extend(imports.get(&name).into_iter().flatten().cloned());
            }
        }
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = include_str!("../../Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the shared versions");
    let section = section.split("[workspace.lints").next().expect("their end");
    let mut explained = false;
    for line in section.lines() {
        let ours = line.starts_with("scaletwin-");
        let is_dependency = line.contains(" = ");
        // One sentence may stand for the lines below it, up to an empty line.
        explained = match line.trim() {
            "" => false,
            text if text.starts_with('#') => true,
            _ => explained,
        };
        assert!(ours || !is_dependency || explained, "no reason is given for: {line}");
    }
}
