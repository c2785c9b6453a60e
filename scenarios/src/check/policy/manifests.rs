//! The files that controllers name.

use scaletwin_core::input::{At, Node, Place, Problem, Problems, parse_documents};
use scaletwin_policies::kubernetes::manifest::{Coverage, FieldCoverage};

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

/// Refuses waivers where there is no manifest.
pub(super) fn refuse_waivers(waive: &[String], place: &Place, problems: &mut Problems) {
    if !waive.is_empty() {
        problems.error(place, "waive: is about a manifest, and there is none");
    }
}
