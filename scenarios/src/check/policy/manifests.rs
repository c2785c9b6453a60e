//! The files that controllers name.

use scaletwin_core::input::{At, Node, Place, Problem, Problems, parse_documents};
use scaletwin_policies::kubernetes::manifest::{self, Coverage, FieldCoverage};

use super::PolicyText;

/// What `read` makes of the documents of the file at `path`. The fields that were waived in it are added to `waived`.
pub(super) fn manifest_of<T>(
    path: &At<String>,
    policy: &PolicyText<'_>,
    waived: &mut Vec<String>,
    problems: &mut Problems,
    read: impl FnOnce(&[Node]) -> Result<(T, FieldCoverage), Problems>,
) -> Option<T> {
    match documents(path, policy).and_then(|documents| read(&documents)) {
        Ok((value, fields)) => {
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

fn documents(path: &At<String>, policy: &PolicyText<'_>) -> Result<Vec<Node>, Problems> {
    let file = policy.folder.join(&path.value);
    let text =
        policy.files.read(&file).map_err(|problem| Problem { place: Some(path.place.clone()), ..problem })?;
    Ok(parse_documents(&file.display().to_string(), &text)?)
}

/// The one document of `kind`; of several, the one that scales the target.
pub(super) fn of_target<'a>(
    documents: &'a [Node],
    kind: &str,
    target: &str,
    place: &Place,
) -> Result<&'a Node, Problem> {
    let name = target.rsplit('/').next();
    let scales = |node: &&Node| {
        let spec = node.get("spec");
        // A VPA says targetRef.
        let target = ["scaleTargetRef", "targetRef"].into_iter().find_map(|key| spec?.get(key));
        let named = target.and_then(|target| target.get("name")?.as_text());
        node.get("kind").and_then(Node::as_text) == Some(kind) && named == name
    };
    let all = manifest::documents(documents);
    let found: Vec<&Node> = all.into_iter().filter(scales).collect();
    match found.as_slice() {
        [one] => Ok(one),
        _ => manifest::only(documents, kind, place),
    }
}

/// Refuses waivers where there is no manifest.
pub(super) fn refuse_waivers(waive: &[String], place: &Place, problems: &mut Problems) {
    if !waive.is_empty() {
        problems.error(place, "waive: is about a manifest, and there is none");
    }
}
