//! Label sets.

use std::fmt;
use std::sync::Arc;

/// The label that holds a series' name.
pub(super) const NAME: &str = "__name__";

/// A set of labels in the order of their names. A label without a value is no label.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Vec<(Arc<str>, Arc<str>)>);

impl Labels {
    /// The set of these labels; of labels with one name the last counts.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(labels: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut set = Labels::default();
        for (name, value) in labels {
            set.put(name.into(), value.into());
        }
        set
    }

    /// The value of a label, empty if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.place(name).map_or("", |place| &self.0[place].1)
    }

    /// The labels with their values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    fn put(&mut self, name: Arc<str>, value: Arc<str>) {
        match self.place(&name) {
            Ok(place) if value.is_empty() => drop(self.0.remove(place)),
            Ok(place) => self.0[place].1 = value,
            Err(_) if value.is_empty() => {}
            Err(place) => self.0.insert(place, (name, value)),
        }
    }

    /// The same set with another value of one label; an empty one removes it.
    pub(super) fn with(mut self, name: &str, value: &str) -> Labels {
        self.put(name.into(), value.into());
        self
    }

    /// Only the labels of these names.
    pub(super) fn only(&self, names: &[String]) -> Labels {
        let kept = self.0.iter().filter(|(name, _)| names.iter().any(|known| **known == **name));
        Labels(kept.cloned().collect())
    }

    /// All labels but those of these names.
    pub(super) fn without(&self, names: &[String]) -> Labels {
        let kept = self.0.iter().filter(|(name, _)| !names.iter().any(|known| **known == **name));
        Labels(kept.cloned().collect())
    }

    /// All labels but the series' name.
    pub(super) fn without_name(mut self) -> Labels {
        self.0.retain(|(name, _)| &**name != NAME);
        self
    }
}

/// As Prometheus writes it: `name{label="value"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.iter().filter(|(name, _)| *name != NAME);
        let list: Vec<String> = others.map(|(name, value)| format!("{name}={value:?}")).collect();
        f.write_str(self.get(NAME))?;
        if list.is_empty() && !self.0.is_empty() { Ok(()) } else { write!(f, "{{{}}}", list.join(", ")) }
    }
}
