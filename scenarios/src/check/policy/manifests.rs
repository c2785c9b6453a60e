//! The files that controllers name.

use scaletwin_core::input::{At, Node, Place, Problem, Problems, parse_documents};
use scaletwin_policies::kubernetes::manifest::{self, Coverage, FieldCoverage};
use scaletwin_sim::world::settings::DeploymentModel;

use super::{Checking, PolicyText, Seen};

/// The manifest that a controller names, if it names one.
pub(super) struct Written<'s> {
    pub manifest: &'s Option<At<String>>,
    pub waive: &'s [String],
}

impl Checking<'_> {
    /// What the manifest says, or else our own keys. Where there is a manifest, `refuse` says which keys exclude it.
    pub(super) fn read<T>(
        &mut self,
        written: Written<'_>,
        refuse: impl FnOnce(&mut Problems),
        of_manifest: impl FnOnce(&[Node], &Place) -> Result<(T, FieldCoverage), Problems>,
        of_keys: impl FnOnce(&mut Problems) -> Option<T>,
    ) -> Option<T> {
        match written.manifest {
            Some(path) => {
                refuse(self.problems);
                let waived = &mut self.checked.waived;
                let read = |documents: &[Node]| of_manifest(documents, &path.place);
                manifest_of(path, self.policy, waived, self.problems, read)
            }
            None => {
                if !written.waive.is_empty() {
                    self.problems.error(self.place, "waive: is about a manifest, and there is none");
                }
                of_keys(self.problems)
            }
        }
    }
}

/// What `read` makes of the documents of the file at `path`. The fields that were waived in it are added to `waived`.
pub(super) fn manifest_of<T>(
    path: &At<String>,
    policy: &PolicyText<'_>,
    waived: &mut Vec<String>,
    problems: &mut Problems,
    read: impl FnOnce(&[Node]) -> Result<(T, FieldCoverage), Problems>,
) -> Option<T> {
    let (read, is_template) = match text(path, policy) {
        Ok((name, text)) => {
            let documents = parse_documents(&name, &text).map_err(Problems::from);
            (documents.and_then(|documents| read(&documents)), is_template(&text))
        }
        Err(problem) => (Err(problem.into()), false),
    };
    if read.is_err() && is_template {
        let problem = Problem::error(&path.place, "the file is a template and no manifest yet");
        problems.push(problem.hint("render it first, such as with helm template"));
    }
    match read {
        Ok((value, FieldCoverage { fields, warnings })) => {
            problems.extend(warnings);
            let fields = fields.into_iter().filter(|(_, coverage)| *coverage == Coverage::Waived);
            waived.extend(fields.map(|(field, _)| format!("{}: {field}", path.value)));
            Some(value)
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}

/// The name and the text of a file.
fn text(path: &At<String>, policy: &PolicyText<'_>) -> Result<(String, String), Problem> {
    let file = policy.folder.join(&path.value);
    let text =
        policy.files.read(&file).map_err(|problem| Problem { place: Some(path.place.clone()), ..problem })?;
    Ok((file.display().to_string(), text))
}

/// Whether a text has places that Helm fills in.
fn is_template(text: &str) -> bool {
    ["{{ .", "{{- ", "{{."].iter().any(|place| text.contains(place))
}

/// The one document of `kind`; of several, the one that scales the target as it is written.
pub(super) fn of_target<'a>(
    documents: &'a [Node],
    kind: &str,
    target: &str,
    seen: &Seen<'_>,
    place: &Place,
) -> Result<&'a Node, Problem> {
    let name = deployment(target, seen);
    let scales = |node: &&Node| {
        let spec = node.get("spec");
        // A VPA says targetRef.
        let target = ["scaleTargetRef", "targetRef"].into_iter().find_map(|key| spec?.get(key));
        let named = target.and_then(|target| target.get("name")?.as_text());
        node.get("kind").and_then(Node::as_text) == Some(kind) && named == Some(name)
    };
    let all = manifest::documents(documents);
    let found: Vec<&Node> = all.into_iter().filter(scales).collect();
    match found.as_slice() {
        [one] => Ok(one),
        _ => manifest::only(documents, kind, place),
    }
}

/// The deployment of a target as it is written: its own name, or that of the only one of its service.
fn deployment<'a>(written: &'a str, seen: &Seen<'a>) -> &'a str {
    let of_service = format!("{written}/");
    let is_of_service =
        |model: &&DeploymentModel| model.settings.target.as_str().starts_with(of_service.as_str());
    let found: Vec<&DeploymentModel> = seen.deployments.iter().filter(is_of_service).collect();
    match found.as_slice() {
        [one] => &one.settings.name,
        _ => written.rsplit('/').next().unwrap_or(written),
    }
}
