//! Elasticity: how well supply follows demand, with the metrics of SPEC's Research Group.
//!
//! Source: Herbst et al., "Ready for Rain? A View from SPEC Research on the Future of Cloud Metrics", SPEC-RG-2016-01,
//! as shares instead of percentages. `docs/models/record.md` says what demand and supply are here.

use serde::{Deserialize, Serialize};

/// Demand and supply during one stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Provision {
    /// Its length.
    pub seconds: f64,
    /// Replicas needed.
    pub demand: f64,
    /// Replicas ready, on average.
    pub supply: f64,
}

/// How well supply followed demand. All are at least 0, and the last three at most 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Elasticity {
    /// What one replica can serve within the objectives, requests per second.
    pub capacity_per_second: f64,
    /// What was missing, relative to demand, on average over time.
    pub theta_u: f64,
    /// What was too much, relative to demand, on average over time.
    pub theta_o: f64,
    /// The share of time in which there was too little.
    pub tau_u: f64,
    /// The share of time in which there was too much.
    pub tau_o: f64,
    /// The share of time in which supply and demand changed in different directions.
    pub instability: f64,
}

impl Elasticity {
    /// The metrics over these stretches, one after the other; `None` without time. Demand below one replica counts as
    /// one where something is relative to it.
    #[must_use]
    pub fn of(stretches: &[Provision], capacity_per_second: f64) -> Option<Elasticity> {
        let over = |of: &[Provision], value: fn(&Provision) -> f64| -> f64 {
            of.iter().map(|stretch| value(stretch) * stretch.seconds).sum()
        };
        let time = over(stretches, |_| 1.0);
        if time <= 0.0 {
            return None;
        }
        let mean = |value: fn(&Provision) -> f64| over(stretches, value) / time;
        let opposed: f64 = stretches.windows(2).map(opposed_seconds).sum();
        let later = over(stretches.get(1..).unwrap_or_default(), |_| 1.0);
        Some(Elasticity {
            capacity_per_second,
            theta_u: mean(|stretch| (stretch.demand - stretch.supply).max(0.0) / stretch.demand.max(1.0)),
            theta_o: mean(|stretch| (stretch.supply - stretch.demand).max(0.0) / stretch.demand.max(1.0)),
            tau_u: mean(|stretch| f64::from(u8::from(stretch.supply < stretch.demand))),
            tau_o: mean(|stretch| f64::from(u8::from(stretch.supply > stretch.demand))),
            instability: if later > 0.0 { opposed / later } else { 0.0 },
        })
    }
}

/// The length of the second of two stretches if supply and demand did not change in the same direction.
fn opposed_seconds(pair: &[Provision]) -> f64 {
    let (before, after) = (&pair[0], &pair[1]);
    let alike = after.supply.total_cmp(&before.supply) == after.demand.total_cmp(&before.demand);
    if alike { 0.0 } else { after.seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_computed_by_hand() {
        let stretch = |seconds, demand, supply| Provision { seconds, demand, supply };
        let stretches = [
            stretch(60.0, 2.0, 2.0), // as needed
            stretch(60.0, 4.0, 2.0), // half is missing, and demand alone has changed
            stretch(60.0, 4.0, 5.0), // a quarter too much, and supply alone has changed
            stretch(60.0, 2.0, 4.0), // as much again too much, both went down
            stretch(60.0, 0.0, 2.0), // two too many against none, which counts as one; both went down
        ];
        let of = Elasticity::of(&stretches, 7.0).unwrap();
        let close = |value: f64, want: f64| assert!((value - want).abs() < 1e-12, "{value} is not {want}");
        close(of.theta_u, 0.5 / 5.0);
        close(of.theta_o, (0.25 + 1.0 + 2.0) / 5.0);
        close(of.tau_u, 1.0 / 5.0);
        close(of.tau_o, 3.0 / 5.0);
        close(of.instability, 2.0 / 4.0);
        close(of.capacity_per_second, 7.0);
        assert_eq!(Elasticity::of(&[], 7.0), None);
    }

    #[test]
    fn long_stretches_weigh_more() {
        let stretch = |seconds, supply| Provision { seconds, demand: 2.0, supply };
        let of = Elasticity::of(&[stretch(30.0, 1.0), stretch(90.0, 2.0)], 1.0).unwrap();
        let close = |value: f64, want: f64| assert!((value - want).abs() < 1e-12, "{value} is not {want}");
        close(of.theta_u, 0.125);
        close(of.tau_u, 0.25);
        close(of.instability, 1.0);
    }
}
