//! Figures over replications: the same run with different seeds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Summary;

/// Several runs of one scenario that differ in their seed alone, as `study.json` holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// The name of the scenario.
    pub scenario: String,
    /// The seeds, in the order in which they were asked for.
    pub seeds: Vec<u64>,
    /// The hashes of their records.
    pub record_hashes: Vec<String>,
    /// Every number of the summaries, by its path, such as `services.chat.ttft_seconds.p95`.
    pub figures: BTreeMap<String, Estimate>,
    /// Figures that are `null` because their model is not built.
    pub not_modelled: Vec<String>,
}

/// A figure over replications.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Replications that have the figure.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half the width of the interval that covers the true mean with a probability of 0.95, by Student's distribution:
    /// exact for normal figures, good for means of many requests. `null` for fewer than two replications.
    pub half_width_95: Option<f64>,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Study {
    /// The figures over these runs.
    ///
    /// # Panics
    /// Without any run.
    #[must_use]
    pub fn of(summaries: &[Summary]) -> Study {
        let first = summaries.first().expect("a study has at least one run");
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for summary in summaries {
            let value = serde_json::to_value(summary).expect("a summary is plain data");
            collect("", &value, &mut values);
        }
        values.retain(|path, _| path != "seed");
        Study {
            scenario: first.scenario.clone(),
            seeds: summaries.iter().map(|summary| summary.seed).collect(),
            record_hashes: summaries.iter().map(|summary| summary.record_hash.clone()).collect(),
            figures: values.into_iter().map(|(path, values)| (path, Estimate::of(&values))).collect(),
            not_modelled: first.not_modelled.clone(),
        }
    }
}

/// Adds the numbers of a summary under their paths. Entries of a list go by their name, or by what tells them apart.
fn collect(path: &str, value: &Value, values: &mut BTreeMap<String, Vec<f64>>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Number(number) => {
            values.entry(path.to_owned()).or_default().extend(number.as_f64());
        }
        Value::Bool(holds) => values.entry(path.to_owned()).or_default().push(f64::from(u8::from(*holds))),
        Value::Object(map) => map.iter().for_each(|(key, value)| collect(&below(key), value, values)),
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                collect(&below(&name_of(value, place)), value, values);
            }
        }
        Value::Null | Value::String(_) => {}
    }
}

fn name_of(value: &Value, place: usize) -> String {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    match (text("cluster"), text("name"), text("metric"), value.get("quantile")) {
        (_, _, Some(metric), Some(quantile)) => format!("{metric}-{quantile}"),
        (Some(cluster), Some(name), ..) if !cluster.is_empty() => format!("{cluster}/{name}"),
        (_, Some(name), ..) => name.to_owned(),
        _ => value.get("priority").map_or_else(|| place.to_string(), Value::to_string),
    }
}

impl Estimate {
    /// The estimate from these values.
    ///
    /// ```
    /// let estimate = scaletwin_core::record::Estimate::of(&[1.0, 2.0, 3.0]);
    /// assert_eq!(estimate.mean, 2.0);
    /// assert!((estimate.half_width_95.unwrap() - 4.302652729749464 / 3f64.sqrt()).abs() < 1e-9);
    /// ```
    #[must_use]
    pub fn of(values: &[f64]) -> Estimate {
        let count = values.len() as f64;
        let (min, max) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(*value), max.max(*value)));
        // Rounding neither moves the mean of equal values nor spreads them.
        let mean = (values.iter().sum::<f64>() / count).clamp(min, max);
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let half_width = (values.len() > 1).then(|| {
            let freedom = values.len() as u64 - 1;
            student_quantile(0.975, freedom) * (squares / freedom as f64 / count).sqrt()
        });
        Estimate { count: values.len() as u64, mean, half_width_95: half_width, min, max }
    }
}

/// The `p`-quantile of Student's distribution with `freedom` degrees of freedom, for p from 0.5 to below 1, by bisection.
///
/// # Panics
/// Outside that range, and without any degree of freedom.
#[must_use]
pub fn student_quantile(p: f64, freedom: u64) -> f64 {
    assert!((0.5..1.0).contains(&p) && freedom > 0, "p from 0.5 to below 1, and a degree of freedom");
    let wanted = 2.0 * p - 1.0;
    let (mut low, mut high) = (0.0, 1.0);
    while within(high, freedom) < wanted {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if within(middle, freedom) < wanted { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The probability that a variable with Student's distribution lies within ±`t`: Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn within(t: f64, freedom: u64) -> f64 {
    let angle = libm::atan(t / (freedom as f64).sqrt());
    let (sin, cos) = (libm::sin(angle), libm::cos(angle));
    let odd = freedom % 2 == 1;
    // The terms are products of (2/3)(4/5)… or (1/2)(3/4)… with growing powers of the squared cosine.
    let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
    let mut next = if odd { 2 } else { 1 };
    while next < freedom {
        sum += term;
        term *= cos * cos * next as f64 / (next + 1) as f64;
        next += 2;
    }
    if odd { (angle + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Fisher and Yates, to the digits that tables print.
        let known = [
            (0.975, 1, 12.706),
            (0.975, 2, 4.303),
            (0.975, 9, 2.262),
            (0.975, 30, 2.042),
            (0.995, 19, 2.861),
        ];
        for (p, freedom, expected) in known {
            let quantile = student_quantile(p, freedom);
            assert!((quantile - expected).abs() < 6e-4, "{p} {freedom}: {quantile}");
        }
        assert!((student_quantile(0.975, 1_000_000) - 1.959_966).abs() < 1e-5, "nearly normal");
    }

    #[test]
    fn equal_values_have_their_mean_and_no_width() {
        let estimate = Estimate::of(&[0.1; 3]);
        assert_eq!((estimate.mean, estimate.half_width_95), (0.1, Some(0.0)));
    }

    #[test]
    fn entries_of_lists_go_by_their_names() {
        let chat = serde_json::json!({"name": "chat", "slo": {"met": true}, "priorities": [{"priority": 5, "arrived": 2}]});
        let value = serde_json::json!({"services": [chat], "seed": 1});
        let mut values = BTreeMap::new();
        collect("", &value, &mut values);
        assert_eq!(
            values.keys().collect::<Vec<_>>(),
            [
                "seed",
                "services.chat.priorities.5.arrived",
                "services.chat.priorities.5.priority",
                "services.chat.slo.met"
            ]
        );
    }
}
