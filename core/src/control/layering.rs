//! Who may write what: one writer an aspect, or declared layers.

use std::collections::BTreeMap;

use super::{Aspect, Needs};

/// Which controllers stand above which on the same aspect, by name, the lowest first.
///
/// A KEDA ScaledObject is two controllers on one number of replicas: an activation controller that moves between
/// zero and one, and an HPA that moves above one. That is fine because it is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layering {
    stacks: Vec<Vec<String>>,
}

impl Layering {
    /// Declares that the controllers of these names work on the same aspects by design.
    pub fn declare(&mut self, names: impl IntoIterator<Item = String>) {
        self.stacks.push(names.into_iter().collect());
    }

    /// Checks that no two controllers write the same aspect without a declaration.
    ///
    /// # Errors
    /// The first two that do.
    pub fn check<'a>(
        &self,
        controllers: impl Iterator<Item = (&'a str, &'a Needs)>,
    ) -> Result<(), LayeringError> {
        let mut writers: BTreeMap<&Aspect, Vec<&str>> = BTreeMap::new();
        for (name, needs) in controllers {
            for aspect in &needs.writes {
                let others = writers.entry(aspect).or_default();
                if let Some(other) = others.iter().find(|other| !self.declared(other, name)) {
                    return Err(LayeringError {
                        aspect: aspect.clone(),
                        first: (*other).to_owned(),
                        second: name.to_owned(),
                    });
                }
                others.push(name);
            }
        }
        Ok(())
    }

    fn declared(&self, one: &str, other: &str) -> bool {
        self.stacks
            .iter()
            .any(|stack| stack.iter().any(|name| name == one) && stack.iter().any(|name| name == other))
    }
}

/// Two controllers that write the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} both write {aspect}, and no layering is declared")]
pub struct LayeringError {
    /// What both write.
    pub aspect: Aspect,
    /// The first controller.
    pub first: String,
    /// The second controller.
    pub second: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::TargetName;

    #[test]
    fn two_writers_need_a_declaration() {
        let needs = Needs { writes: vec![Aspect::Replicas(TargetName::new("a/b"))], ..Needs::default() };
        let both = || [("keda", &needs), ("hpa", &needs)].into_iter();
        let mut layering = Layering::default();
        let error = layering.check(both()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "keda and hpa both write the replicas of a/b, and no layering is declared"
        );
        layering.declare(["keda".to_owned(), "hpa".to_owned()]);
        assert_eq!(layering.check(both()), Ok(()));
    }
}
