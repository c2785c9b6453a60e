//! Replicas that stand by are loaded, and called.

use scaletwin_core::record::{StandbySummary, TimeAverage};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::World;
use super::event::Event;
use crate::cluster::entities::ReplicaId;
use crate::engine::Calendar;

/// What is counted of the replicas of a deployment that stand by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StandbyMeter {
    /// Those that are loaded.
    loaded: TimeAverage,
    /// How many were called that were loaded.
    called: u64,
    /// How many were called that were not.
    called_early: u64,
}

impl StandbyMeter {
    pub(super) fn start(now: Time, loaded: u64) -> StandbyMeter {
        StandbyMeter { loaded: TimeAverage::start(now, loaded), called: 0, called_early: 0 }
    }

    /// The same from `now` on.
    pub(super) fn restarted(&self, now: Time) -> StandbyMeter {
        StandbyMeter::start(now, self.loaded.value())
    }

    pub(super) fn summary(&self, now: Time) -> StandbySummary {
        StandbySummary {
            loaded_mean: self.loaded.mean(now),
            called: self.called,
            called_early: self.called_early,
        }
    }
}

impl World {
    /// Counts the replicas of each deployment that stand by and are loaded.
    pub(super) fn note_standby(&mut self, now: Time) {
        for (place, model) in self.settings.deployments.iter().enumerate() {
            if model.settings.standby.is_some() {
                let meter = &mut self.state.deployments[place].standby;
                let loaded = self.fleet.loaded_standby(place) as u64;
                if meter.loaded.value() != loaded {
                    meter.loaded.set(now, loaded);
                }
            }
        }
    }

    /// A replica that stands by has started: nobody knows but whoever calls it.
    pub(super) fn replica_is_loaded(&mut self, id: ReplicaId, now: Time) {
        self.end_start(id);
        self.state.last_progress = now;
        self.note_standby(now);
    }

    /// A replica that stood by is wanted. One that is loaded wakes, another one goes on with its start.
    pub(super) fn standby_is_called(
        &mut self,
        id: ReplicaId,
        deployment: usize,
        loaded: bool,
        calendar: &mut Calendar<Event>,
    ) {
        let now = calendar.now();
        let meter = &mut self.state.deployments[deployment].standby;
        meter.called += u64::from(loaded);
        meter.called_early += u64::from(!loaded);
        if !loaded {
            return self.start_counts_from(id, now);
        }
        let Some(standby) = &self.settings.deployments[deployment].settings.standby else { return };
        let ordinal = self.fleet.replica(id).map_or(0, |replica| replica.ordinal);
        // A number that no stage of a start has.
        let draw = self.start_draw(id, ordinal, 6);
        let wake = standby.wake.draw(&mut self.luck.start_up[deployment].entity(draw));
        let wake = Span::from_secs_f64(wake).map_or(Span::CENTURY, |span| span.min(Span::CENTURY));
        self.will_be_ready(id, now.saturating_add(wake), calendar);
    }

    /// Checks that replicas that stand by have no requests and are not more than they should be.
    pub(super) fn check_standby(&self) {
        for serving in self.state.replicas.iter() {
            let stands_by = self.fleet.replica(serving.id).is_some_and(|replica| replica.standby.is_some());
            assert!(
                !stands_by || (serving.outstanding == 0 && !serving.ready),
                "who stands by takes no requests"
            );
        }
        for (place, model) in self.settings.deployments.iter().enumerate() {
            let most = model.settings.standby.as_ref().map_or(0, |standby| standby.replicas as usize);
            assert!(self.fleet.standby(place) <= most, "no more stand by than were asked for");
        }
    }
}
