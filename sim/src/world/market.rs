//! The market for nodes: the provider takes them back, has more or less of them, and changes its prices.

use scaletwin_core::units::{Span, Time};

use super::World;
use super::event::Event;
use crate::cluster::entities::NodeId;
use crate::engine::{Calendar, Phase};

/// The shortest time from one shock to the next: a law may give 0, and instants go on.
const SHORTEST_GAP: Span = Span::from_millis(1);

impl World {
    /// Plans when the provider takes a node back that is ready now. It never does so without its notice.
    pub(super) fn plan_reclaim(
        &mut self,
        node: NodeId,
        pool: usize,
        ordinal: u32,
        calendar: &mut Calendar<Event>,
    ) {
        let Some(spot) = &self.fleet.pool(pool).1.spot else { return };
        let Some(lifetime) = &spot.lifetime else { return };
        let seconds = lifetime.draw(&mut self.luck.reclaim[pool].entity(u64::from(ordinal)));
        let life = Span::from_secs_f64(seconds).map_or(Span::CENTURY, |span| span.min(Span::CENTURY));
        let notice = spot.notice;
        if let Some(rebalance) = spot.rebalance {
            let advised = life.saturating_sub(notice).saturating_sub(rebalance);
            calendar.at(calendar.now().saturating_add(advised), Phase::Fail, Event::NodeAtRisk(node));
        }
        let told = calendar.now().saturating_add(life.saturating_sub(notice));
        calendar.at(told, Phase::Fail, Event::NodeTold(node));
    }

    /// The provider recommends to move from a node that it will take back: it is drained before it is told.
    pub(super) fn node_is_at_risk(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        let Some(name) = self.fleet.node_name(node) else { return };
        // It was found by its name.
        let _ = self.drain_node(&name, calendar);
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// Plans a pool's shock number `number`. Shocks move nothing forward, so they are planned with what only looks.
    pub(super) fn plan_shock(&mut self, pool: u32, number: u32, calendar: &mut Calendar<Event>) {
        let spot = self.fleet.pool(pool as usize).1.spot.as_ref();
        let Some(shocks) = spot.and_then(|spot| spot.shocks.as_ref()) else { return };
        let gap = shocks.every.draw(&mut self.luck.shock[pool as usize].entity(u64::from(number)));
        let gap =
            Span::from_secs_f64(gap).map_or(Span::CENTURY, |span| span.clamp(SHORTEST_GAP, Span::CENTURY));
        calendar.at(calendar.now().saturating_add(gap), Phase::Scrape, Event::Shock { pool, number });
    }

    /// A shock: the provider takes back each node of a pool with the same probability.
    pub(super) fn shock_comes(&mut self, pool: u32, number: u32, calendar: &mut Calendar<Event>) {
        let spot = self.fleet.pool(pool as usize).1.spot.as_ref();
        let Some(share) = spot.and_then(|spot| spot.shocks.as_ref()).map(|shocks| shocks.share) else {
            return;
        };
        let luck = self.luck.shock[pool as usize];
        for (node, ordinal) in self.fleet.open_to_shocks(pool as usize) {
            let draw = u64::from(number + 1) << 32 | u64::from(ordinal);
            if luck.entity(draw).uniform() < share {
                self.node_is_told(node, calendar);
            }
        }
        self.plan_shock(pool, number + 1, calendar);
    }

    /// Plans the changes of a pool's capacity from `step` on.
    pub(super) fn plan_market(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        let spot = self.fleet.pool(pool as usize).1.spot.as_ref();
        if let Some((from, _)) = spot.and_then(|spot| spot.available.get(step as usize)) {
            let at = Time::ZERO + *from;
            calendar.at(at.max(calendar.now()), Phase::Fail, Event::Market { pool, step });
        }
    }

    /// Plans the changes of a pool's price from `step` on.
    pub(super) fn plan_price(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        if let Some((from, _)) = self.fleet.pool(pool as usize).1.prices.get(step as usize) {
            let at = Time::ZERO + *from;
            calendar.at(at.max(calendar.now()), Phase::Fail, Event::Price { pool, step });
        }
    }

    /// The price of a pool changes.
    pub(super) fn price_changes(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        if let Some((_, price)) = self.fleet.pool(pool as usize).1.prices.get(step as usize).copied() {
            self.fleet.reprice(pool as usize, calendar.now(), price);
        }
        self.plan_price(pool, step + 1, calendar);
    }

    /// The provider has more or less capacity: what is too much, it takes back.
    pub(super) fn capacity_changes(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        for node in self.fleet.beyond_capacity(pool as usize, calendar.now()) {
            self.node_is_told(node, calendar);
        }
        self.plan_market(pool, step + 1, calendar);
    }

    /// The provider says that it takes a node back: its replicas go, and others take their place elsewhere.
    pub(super) fn node_is_told(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some((pool, _)) = self.fleet.place_of_node(node) else { return };
        let notice = self.fleet.pool(pool).1.spot.as_ref().map_or(Span::ZERO, |spot| spot.notice);
        let Some(name) = self.fleet.tell(node, now.saturating_add(notice)) else { return };
        calendar.at(now.saturating_add(notice), Phase::Fail, Event::NodeReclaimed(node));
        self.replacements_without();
        self.evict_from(&name, calendar);
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// The provider takes a node back, with whatever still runs on it.
    pub(super) fn node_is_reclaimed(
        &mut self,
        node: NodeId,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), super::WorldError> {
        let Some(name) = self.fleet.interrupt(node) else { return Ok(()) };
        let at = calendar.now();
        self.state.recorder.node_reclaimed(node.0);
        self.delete_node(&name, calendar).map_err(|why| super::WorldError::Node { at, why })?;
        calendar.soon(Phase::Place, Event::Lifecycle);
        Ok(())
    }
}
