//! What goes between zones, and what the provider bills for it. `docs/models/routing.md`.

use scaletwin_core::record::CrossZoneSummary;
use serde::{Deserialize, Serialize};

use super::World;

/// How much a request is, and what it costs where it crosses from one zone to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CrossZone {
    /// Dollars per 10^9 bytes, both directions together.
    pub usd_per_gb: f64,
    /// Bytes of a request without its prompt.
    pub request: u64,
    /// Bytes of an answer without its tokens.
    pub response: u64,
    /// Bytes of a token of a prompt.
    pub prompt_token: u64,
    /// Bytes of a token of an answer.
    pub output_token: u64,
}

/// What has crossed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Crossing {
    /// Requests given to a replica.
    given: u64,
    /// Those of them that were given to one of another zone.
    requests: u64,
    bytes: u128,
}

impl World {
    /// Whether a request and its replica are in different zones, as far as both are in one.
    fn crosses(&mut self, slot: u32, place: u32) -> bool {
        let stream = usize::from(self.state.requests.at(place).request.stream);
        let from = self.traffic.streams()[stream].settings().zone;
        from.zip(self.member(slot).zone).is_some_and(|(from, to)| from != to)
    }

    /// A request is given to a replica.
    pub(super) fn count_request(&mut self, service: usize, slot: u32, place: u32) {
        let Some(prices) = self.settings.services[service].cross_zone.filter(|_| self.state.measuring) else {
            return;
        };
        let crosses = self.crosses(slot, place);
        let prompt = u128::from(self.state.requests.at(place).request.prompt_tokens);
        let crossing = &mut self.state.services[service].crossing;
        crossing.given += 1;
        if crosses {
            crossing.requests += 1;
            crossing.bytes += u128::from(prices.request) + prompt * u128::from(prices.prompt_token);
        }
    }

    /// A replica has answered a request with so many tokens.
    #[inline]
    pub(super) fn count_answer(&mut self, service: usize, slot: u32, place: u32, outputs: u32) {
        if self.settings.services[service].cross_zone.is_some() && self.state.measuring {
            self.count_priced_answer(service, slot, place, outputs);
        }
    }

    fn count_priced_answer(&mut self, service: usize, slot: u32, place: u32, outputs: u32) {
        let Some(prices) = self.settings.services[service].cross_zone else { return };
        if self.crosses(slot, place) {
            let tokens = u128::from(outputs) * u128::from(prices.output_token);
            self.state.services[service].crossing.bytes += u128::from(prices.response) + tokens;
        }
    }

    /// Forgets what has crossed.
    pub(super) fn forget_crossings(&mut self) {
        self.state.services.iter_mut().for_each(|service| service.crossing = Crossing::default());
    }

    /// What has crossed for a service; `None` where nothing says what that costs.
    ///
    /// # Panics
    /// When more has crossed than was given to replicas.
    pub(super) fn cross_zone(&self, service: usize) -> Option<CrossZoneSummary> {
        let prices = self.settings.services[service].cross_zone?;
        let Crossing { given, requests, bytes } = self.state.services[service].crossing;
        assert!(requests <= given, "only what is given to a replica crosses");
        let gigabytes = bytes as f64 / 1e9;
        Some(CrossZoneSummary { requests, gigabytes, cost_usd: gigabytes * prices.usd_per_gb })
    }
}
