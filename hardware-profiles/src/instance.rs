//! Instance types with their list prices.

use std::sync::OnceLock;

/// An instance type of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceType {
    /// The provider.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory, 2^30 bytes.
    pub memory_gib: u32,
    /// Its accelerator, if it has one.
    pub accelerator: Option<String>,
    /// How many of them.
    pub gpus: u32,
    /// List price on demand, dollars per hour.
    pub on_demand_usd_per_hour: f64,
    /// Spot price, dollars per hour, if known.
    pub spot_usd_per_hour: Option<f64>,
    /// The region of the prices.
    pub region: String,
    /// Where the prices come from.
    pub source: String,
}

const FILE: &str = include_str!("../instance-types/catalogue.csv");

/// All instance types.
///
/// # Panics
/// When the catalogue is wrong: the tests load it.
#[must_use]
pub fn instance_types() -> &'static [InstanceType] {
    static LOADED: OnceLock<Vec<InstanceType>> = OnceLock::new();
    LOADED.get_or_init(|| {
        FILE.lines().skip(1).map(|line| read(line).expect("the catalogue is right")).collect()
    })
}

fn read(line: &str) -> Option<InstanceType> {
    let mut fields = line.split(',');
    let mut next = || fields.next().map(str::to_owned);
    Some(InstanceType {
        provider: next()?,
        name: next()?,
        vcpus: next()?.parse().ok()?,
        memory_gib: next()?.parse().ok()?,
        accelerator: next().filter(|name| !name.is_empty()),
        gpus: next()?.parse().ok()?,
        on_demand_usd_per_hour: next()?.parse().ok()?,
        spot_usd_per_hour: next()?.parse().ok(),
        region: next()?,
        source: next()?,
    })
}

/// The instance type of this name.
///
/// ```
/// let g6e = scaletwin_hardware::instance_type("g6e.xlarge").unwrap();
/// assert_eq!((g6e.accelerator.as_deref(), g6e.gpus), (Some("l40s"), 1));
/// ```
#[must_use]
pub fn instance_type(name: &str) -> Option<&'static InstanceType> {
    instance_types().iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_whole_and_names_a_known_accelerator() {
        assert_eq!(instance_types().len(), FILE.lines().count() - 1);
        for instance in instance_types() {
            assert_eq!(instance.accelerator.is_some(), instance.gpus > 0, "{}", instance.name);
            let known = |name: &String| crate::accelerator(name).is_some();
            assert!(instance.accelerator.as_ref().is_none_or(known), "{}", instance.name);
            assert!(
                instance.on_demand_usd_per_hour > 0.0 && !instance.source.is_empty(),
                "{}",
                instance.name
            );
        }
    }
}
