//! The seam between policies and the world they scale.
//!
//! A [`Policy`] sees an [`Observation`] and returns a [`Decision`] with its reasons; it cannot tell a simulated
//! [`Plant`] from a live one. [`Controllers::tick`] runs the controllers that are due, on either: observe, decide, check, merge,
//! guard, apply. The [`Agenda`] says who is due next; the simulator asks it for an instant, a live loop
//! ([`drive`]) waits for that instant on a [`Clock`].
//!
//! ```text
//! agenda ─► observe ─► decide ─► check ─┬─► merge ─► guards ─► apply ─► report
//!              ▲                        │                        │
//!            plant ◄────────────────────┴── all or nothing ──────┘
//! ```

mod agenda;
mod catalogue;
mod decision;
mod layering;
mod nodes;
mod observation;
mod plant;
mod policy;
mod reading;
mod tick;
mod topology;

pub use agenda::{Agenda, Clock, Schedule};
pub use catalogue::{CATALOGUE, Kind, Scope as SignalScope, Signal, signal};
pub use decision::{Action, Admission, Aspect, Decision, InvalidAction, Launch, Reason};
pub use layering::{Layering, LayeringError};
pub use nodes::{CapacityType, NodeView, NodesView, Offer, PendingPod, PlacedPod, Resources};
pub use observation::{
    Bounds, Cause, ConditionStatus, ContainerRequests, Observation, PodPhase, PodView, Poke, ReadyCondition,
    Resource, TargetName, TargetView,
};
pub use plant::{Applied, Plant};
pub use policy::{Guard, Needs, PokeKind, Policy, Scope, State, StateMismatch};
pub use reading::{
    Load, LoadReport, LoadSample, MetricName, MetricQuery, Missing, ObjectName, PodValues, Point, Reading,
    Sample, Values,
};
pub use tick::{Controller, Controllers, Guarded, SavedControllers, Taken, TickError, TickReport, drive};
pub use topology::{AffinityTerm, Census, Filter, PodTerms, Pods, SpreadTerm, TopologyKey, are_about};
