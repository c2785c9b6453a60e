//! The modelled fleet: clusters, node pools, nodes, deployments and replicas, as entities with relations.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | what is known of clusters and deployments beforehand |
//! | [`entities`] | the components and relations |
//! | [`lifecycle`] | the systems that create and delete replicas |
//! | [`placement`] | which node a replica gets |
//! | `preemption` | who goes for a more important one |
//! | [`preferences`] | which of those that it may get it would rather have |
//! | [`ledger`] | billed time and who held it |
//! | [`rollout`] | rolling updates |
//! | [`budgets`] | disruption budgets |
//! | [`standby`] | replicas that wait to be wanted |
//! | [`transfers`] | downloads that share bandwidth |
//! | [`routing`] | which replica gets a request |
//! | [`fleet`] | all of it behind one door |
//!
//! The structure changes rarely, and the systems run only then. What replicas do with requests is in
//! [`serving`](crate::serving), in dense arrays. `docs/models/cluster.md` has the rules and what is left out.

pub mod budgets;
pub mod entities;
pub mod fleet;
pub mod ledger;
pub mod lifecycle;
pub mod placement;
mod preemption;
pub mod preferences;
pub mod rollout;
pub mod routing;
pub mod settings;
pub mod standby;
pub mod transfers;
