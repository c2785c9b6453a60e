//! What a scenario says of the triggers of a manifest: the signals that stand for them, partitions and targets.

use std::collections::BTreeMap;

use scaletwin_core::input::{At, Count, Place, Problem};
use scaletwin_core::units::Quantity;

use crate::kubernetes::manifest::Reader;

/// What a scenario says of the triggers of a manifest, by a trigger's name or that of its metric, such as `s0-prometheus`.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    /// The signal that stands for it.
    pub signals: BTreeMap<String, At<String>>,
    /// How many partitions its topic has.
    pub partitions: BTreeMap<String, At<Count>>,
    /// What one replica is to have of it, where only its scaler knows.
    pub targets: BTreeMap<String, At<Quantity>>,
}

/// What a trigger measures, for which a signal of the scenario stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StandsFor {
    /// The query of a Prometheus trigger.
    Query(String),
    /// The one number of a scaler of this type.
    Scaler(String),
}

/// The names that stand for triggers, and what they stand for.
#[derive(Debug)]
pub(in crate::kubernetes) struct Names<'a> {
    bindings: &'a Bindings,
    /// The names that were needed, each with its place among the maps.
    used: Vec<(u8, String)>,
    stands_for: BTreeMap<String, StandsFor>,
}

impl<'a> Names<'a> {
    /// Nothing is named yet.
    pub(in crate::kubernetes) fn new(bindings: &'a Bindings) -> Names<'a> {
        Names { bindings, used: Vec::new(), stands_for: BTreeMap::new() }
    }

    /// What a map says of a trigger. The map is the one at this place.
    fn find<T>(
        &mut self,
        map: (u8, &'a BTreeMap<String, At<T>>),
        name: Option<&str>,
        metric: &str,
    ) -> Option<&'a At<T>> {
        let found = name.into_iter().chain([metric]).find_map(|key| Some((key, map.1.get(key)?)));
        self.used.extend(found.map(|(key, _)| (map.0, key.to_owned())));
        found.map(|(_, said)| said)
    }

    /// How many partitions the topic of a trigger has.
    pub(super) fn partitions(&mut self, name: Option<&str>, metric: &str) -> Option<u32> {
        self.find((1, &self.bindings.partitions), name, metric).map(|count| count.value.0)
    }

    /// What one replica is to have of a trigger.
    pub(super) fn target(&mut self, name: Option<&str>, metric: &str) -> Option<At<Quantity>> {
        self.find((2, &self.bindings.targets), name, metric).cloned()
    }

    /// The signal of a trigger: the bound one, or that of its own name.
    pub(in crate::kubernetes) fn signal(
        &mut self,
        name: Option<&str>,
        metric: &str,
        stands_for: StandsFor,
    ) -> String {
        let bound = self.find((0, &self.bindings.signals), name, metric);
        let signal = bound.map_or(name.unwrap_or(metric), |signal| &signal.value).to_owned();
        self.stands_for.insert(signal.clone(), stands_for);
        signal
    }

    /// What the signals stand for. A name that was not needed is a problem.
    pub(in crate::kubernetes) fn finish(self, reader: &mut Reader) -> BTreeMap<String, StandsFor> {
        let Bindings { signals, partitions, targets } = self.bindings;
        let names: [Vec<(&String, &Place)>; 3] = [places(signals), places(partitions), places(targets)];
        let all = (0u8..).zip(names).flat_map(|(map, names)| {
            names.into_iter().map(move |(name, place)| ((map, name.clone()), place))
        });
        for ((map, name), place) in all.filter(|(key, _)| !self.used.contains(key)) {
            let what = ["is", "with partitions is", "without a target of its own is"][usize::from(map)];
            let problem = Problem::error(place, format!("no trigger of the manifest {what} named {name:?}"));
            reader.problems().push(
                problem.hint("a trigger goes by its name, or by that of its metric, such as s0-prometheus"),
            );
        }
        self.stands_for
    }
}

/// The names of a map with their places.
fn places<T>(map: &BTreeMap<String, At<T>>) -> Vec<(&String, &Place)> {
    map.iter().map(|(name, said)| (name, &said.place)).collect()
}
