//! What every file keeps to.

use std::path::{Path, PathBuf};

/// All files of ours that people read.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if !["target", ".git", "corpus", "artifacts"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if ["rs", "md", "yaml", "toml", "csv"]
                .iter()
                .any(|ending| name.ends_with(&format!(".{ending}")))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn modules_begin_with_what_they_are() {
    for path in files().iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs")) {
        let first = text(path).lines().next().unwrap_or_default().to_owned();
        // A file of tests beside its module is described by its name.
        let tests = path.file_stem().is_some_and(|stem| stem == "tests");
        assert!(first.starts_with("//!") || first.starts_with("#!") || tests, "{}: {first}", path.display());
    }
}

#[test]
fn no_module_is_called_after_nothing() {
    for path in files() {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        assert!(
            !["utils", "util", "common", "helpers", "types", "manager", "mod", "misc"].contains(&stem),
            "{}",
            path.display()
        );
    }
}

#[test]
fn text_has_no_tabs_no_spaces_at_the_end_of_lines_and_one_end() {
    for path in files() {
        let text = text(&path);
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{}: the last line", path.display());
        for (number, line) in (1..).zip(text.lines()) {
            assert!(line.trim_end() == line, "{}:{number}: spaces at the end", path.display());
            assert!(!line.contains('\t'), "{}:{number}: a tab", path.display());
        }
    }
}

#[test]
fn links_between_our_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in files().iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        let page = text(path);
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let folder = path.parent().unwrap_or(root);
            assert!(folder.join(target).exists(), "{}: {link}", path.display());
        }
    }
}

#[test]
fn pages_that_code_speaks_of_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in files().iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs")) {
        if path.ends_with("tests/house/tidy.rs") {
            continue;
        }
        for part in text(path).split(['`', ' ', '\n', '"', '(', ')']) {
            if part.starts_with("docs/") && part.ends_with(".md") {
                assert!(root.join(part).exists(), "{}: {part}", path.display());
            }
        }
    }
}

#[test]
fn every_key_of_scenarios_and_policies_is_described() {
    fn walk(value: &serde_json::Value, path: &str, missing: &mut Vec<String>) {
        if let Some(properties) = value.get("properties").and_then(|value| value.as_object()) {
            for (key, property) in properties {
                let described = property.get("description").and_then(|text| text.as_str());
                if described.is_none_or(str::is_empty) && property.get("const").is_none() {
                    missing.push(format!("{path}.{key}"));
                }
                walk(property, &format!("{path}.{key}"), missing);
            }
        }
        for list in ["items", "additionalProperties"] {
            if let Some(inner) = value.get(list) {
                walk(inner, path, missing);
            }
        }
    }
    let mut missing = Vec::new();
    walk(&scaletwin_scenarios::schema(), "", &mut missing);
    // Keys of distributions, latencies and one-key choices are described by what they stand in.
    missing.retain(|path| !path.contains(".slo.") && !path.ends_with("_tokens"));
    assert!(missing.is_empty(), "{missing:#?}");
}
