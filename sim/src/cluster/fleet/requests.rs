//! Requests that a controller changes: what replicas created from now on ask for, and which of the others are evicted for it.

use std::sync::Arc;

use scaletwin_core::control::{Resource, Resources};

use super::{Fleet, Refusal};
use crate::cluster::entities::{Deployment, Replica, ReplicaId, Requests};

impl Fleet {
    /// Sets what the container of a deployment requests, milli-units by resource, for replicas created from now on.
    ///
    /// # Errors
    /// When it has no such container.
    pub fn set_requests(
        &mut self,
        place: usize,
        container: &str,
        requests: &[(Resource, i64)],
    ) -> Result<(), Refusal> {
        let settings = self.deployment(place);
        let mut set = self.deployment_entity(place).requests.as_deref().cloned().unwrap_or_else(|| {
            Requests { pod: settings.requests, containers: Arc::clone(&settings.containers) }
        });
        let target = &settings.target;
        let mut containers = set.containers.to_vec();
        let found = containers.iter_mut().find(|known| *known.name == *container);
        let known = found.ok_or_else(|| format!("{target} has no container {container}"))?;
        for (resource, milli) in requests {
            let before = known.of(*resource).unwrap_or(0);
            set.pod = set.pod.minus(&amount(*resource, before)).plus(&amount(*resource, *milli));
            known.requests.retain(|(other, _)| other != resource);
            known.requests.push((*resource, *milli));
        }
        set.containers = containers.into();
        let entity = self.index().deployments[place];
        if let Some(mut deployment) = self.world.get_mut::<Deployment>(entity) {
            deployment.requests = Some(Arc::new(set));
        }
        Ok(())
    }

    /// The replica of a deployment with this name, unless it is gone or being deleted.
    #[must_use]
    pub fn find_replica(&self, place: usize, name: &str) -> Option<ReplicaId> {
        let settings = self.deployment(place);
        let named =
            |replica: &&&Replica| replica.deleted.is_none() && settings.pod_name(replica.ordinal) == name;
        self.replicas_of(place).iter().find(named).map(|replica| replica.id)
    }
}

/// So much of one resource, of which memory comes in whole bytes.
fn amount(resource: Resource, milli: i64) -> Resources {
    let none = Resources::default();
    match resource {
        Resource::Cpu => Resources { cpu_milli: milli, ..none },
        Resource::Memory => Resources {
            memory_bytes: milli.div_euclid(1_000) + i64::from(milli.rem_euclid(1_000) > 0),
            ..none
        },
        Resource::Gpu => Resources { gpu_milli: milli, ..none },
    }
}
