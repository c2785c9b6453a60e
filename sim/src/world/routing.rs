//! What the router of a service knows of requests and replicas.

use super::World;
use crate::cluster::routing::{Ask, Balance, Member, block_hashes};
use crate::cluster::settings::zones;
use crate::serving::continuous::content::mix;
use crate::traffic::clients::client_of;
use crate::traffic::stream::SourceSettings;

impl World {
    /// What the router may know of a request.
    #[inline]
    pub(super) fn ask(&mut self, service: usize, place: u32) -> Ask {
        let inflight = self.state.requests.at(place);
        let stream = usize::from(inflight.request.stream);
        let zone = self.traffic.streams()[stream].settings().zone;
        let ask = Ask { number: inflight.serial, zone, ..Ask::default() };
        match self.settings.services[service].routing.balance.knows_requests() {
            true => self.ask_more(service, place, ask),
            false => ask,
        }
    }

    /// The session and the prompt of a request as well.
    fn ask_more(&mut self, service: usize, place: u32, ask: Ask) -> Ask {
        let request = &self.state.requests.at(place).request;
        let place = usize::from(request.stream);
        let stream = self.traffic.streams()[place].settings();
        let balance = &self.settings.services[service].routing.balance;
        let session = || match (&stream.source, stream.users) {
            (SourceSettings::ClosedLoop(_), _) => u64::from(client_of(request.number)),
            (SourceSettings::Sessions(_), _) => request.number >> 32,
            (_, None) => request.number,
            (_, Some(most)) => self.luck.session[place].entity(request.number).below(u64::from(most)),
        };
        let session = match balance.knows_sessions() {
            true => mix(mix(!u64::from(request.stream)) ^ session()),
            false => 0,
        };
        let prefix = match (balance, &request.prefix) {
            (Balance::PrefixAffinity { block_tokens, blocks, .. }, Some(runs)) => {
                block_hashes(request.stream, runs, *block_tokens, *blocks)
            }
            _ => Vec::new(),
        };
        Ask { session, prefix, ..ask }
    }

    /// Tells the router of a service which of its deployments have enough replicas ready.
    pub(super) fn judge_deployments(&mut self, service: usize) {
        let Some(least) = self.settings.services[service].routing.min_ready_milli else { return };
        let mut within = 0;
        for (place, model) in self.settings.deployments.iter().enumerate() {
            if model.settings.service == service {
                let wanted = u64::try_from(self.fleet.wanted(place)).unwrap_or(0);
                let ready = self.state.deployments[place].ready.value();
                let strong = ready * 1_000 >= wanted * u64::from(least);
                self.state.services[service].router.judge(within, strong);
                within += 1;
            }
        }
    }

    /// A replica as the router of its service knows it.
    pub(super) fn member(&mut self, slot: u32) -> Member {
        let serving = self.state.replicas.at(slot);
        let (id, deployment) = (serving.id, serving.deployment as usize);
        let service = self.settings.deployments[deployment].settings.service;
        let before = &self.settings.deployments[..deployment];
        let before = before.iter().filter(|other| other.settings.service == service).count();
        let zone = self.fleet.pool_of_replica(id).and_then(|pool| {
            let names = zones(&self.settings.clusters);
            let place = names.binary_search(&self.fleet.pool(pool).1.zone.as_str()).ok()?;
            u16::try_from(place).ok()
        });
        let deployment = u32::try_from(before).expect("deployments are few");
        Member { slot, id: id.0, deployment, zone }
    }
}
