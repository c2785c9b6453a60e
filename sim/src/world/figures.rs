//! Figures of the fleet at the end of a run.

use scaletwin_core::record::{
    ColdStarts, DeploymentSummary, Elasticity, Extent, FleetFigures, LatencySummary, NodePoolSummary,
};
use scaletwin_core::units::Time;

use super::World;
use super::settings::EngineSettings;

impl World {
    /// What the fleet adds to the summary of a run that ends at `now`, after its last window.
    pub(super) fn figures(&mut self, now: Time) -> FleetFigures {
        if !self.state.measuring {
            self.begin_to_count(now);
        }
        for slot in self.state.replicas.slots() {
            let serving = self.state.replicas.at(slot).clone();
            self.note_departure(&serving, now);
        }
        let priced = self.priced();
        let services = (0..self.settings.services.len()).map(|service| {
            let deployments: Vec<DeploymentSummary> = (0..self.settings.deployments.len())
                .filter(|place| self.settings.deployments[*place].settings.service == service)
                .map(|place| self.deployment_summary(place, now, priced))
                .collect();
            let cost = deployments.iter().map(|deployment| deployment.cost_usd).sum::<Option<f64>>();
            (deployments, cost.filter(|_| priced))
        });
        let services = services.collect();
        let cross_zone = (0..self.settings.services.len()).map(|service| self.cross_zone(service)).collect();
        let node_pools: Vec<NodePoolSummary> =
            (0..self.fleet.accounts().len()).map(|place| self.pool_summary(place, now)).collect();
        let total: Option<f64> = node_pools.iter().map(|pool| pool.cost_usd).sum();
        let energy_kwh: Option<f64> = node_pools.iter().map(|pool| pool.energy_kwh).sum();
        let energy_kwh = energy_kwh.filter(|_| !node_pools.is_empty());
        let held: f64 = (0..self.settings.deployments.len()).map(|place| self.held_cost(place, now)).sum();
        FleetFigures {
            services,
            cross_zone,
            node_pools,
            cost: total.filter(|_| priced).map(|total| (total, (total - held).max(0.0))),
            not_modelled: self.not_modelled(priced, energy_kwh.is_some()),
            energy_kwh,
        }
    }

    fn not_modelled(&self, priced: bool, powered: bool) -> Vec<String> {
        let mut names = Vec::new();
        if !powered {
            names.push("energy_kwh");
        }
        let capacities = &self.settings.capacities;
        if capacities.is_empty() || capacities.iter().any(Option::is_none) {
            names.push("services[].deployments[].elasticity");
        }
        if (0..self.fleet.accounts().len()).any(|place| self.fleet.pool(place).1.spot.is_none()) {
            names.push("node_pools[].interruptions");
        }
        if !priced {
            names.push("cost");
        }
        names.into_iter().map(str::to_owned).collect()
    }

    /// How well the replicas of a deployment followed demand, if its capacity is known.
    fn elasticity(&self, place: usize, now: Time) -> Option<Elasticity> {
        let capacity = self.settings.capacities.get(place).copied().flatten()?;
        let service = self.settings.deployments[place].settings.service;
        Elasticity::of(&self.state.recorder.provisions(service, capacity, now), capacity)
    }

    fn deployment_summary(&self, place: usize, now: Time, priced: bool) -> DeploymentSummary {
        let model = &self.settings.deployments[place];
        let meter = &self.state.deployments[place];
        let seconds = |value: Option<u64>| value.map(|value| value as f64 / 1e9);
        let batches = matches!(model.engine, EngineSettings::Continuous { .. });
        DeploymentSummary {
            name: model.settings.name.clone(),
            cluster: model
                .settings
                .cluster
                .map_or(String::new(), |cluster| self.settings.clusters[cluster].name.clone()),
            role: model.settings.role.clone(),
            replicas: Extent { mean: meter.ready.mean(now), min: meter.ready.min(), max: meter.ready.max() },
            cold_starts: ColdStarts {
                count: meter.cold_starts.count(),
                mean_seconds: meter.cold_starts.mean().map(|mean| mean / 1e9),
                p95_seconds: seconds(meter.cold_starts.quantile(0.95)),
                stages: meter.stages.summary(),
            },
            scale_ups: meter.scale_ups,
            scale_downs: meter.scale_downs,
            scale_up_latency_seconds: LatencySummary::of(&meter.scale_up_latency, 1e9, 0),
            preemptions: batches.then_some(meter.preemptions),
            restarts: model.settings.crashes.as_ref().map(|_| meter.restarts),
            replicas_preempted: self.fleet.has_priorities().then_some(meter.preempted),
            standby: model.settings.standby.as_ref().map(|_| meter.standby.summary(now)),
            elasticity: self.elasticity(place, now),
            cost_usd: priced.then(|| self.held_cost(place, now)),
        }
    }

    fn pool_summary(&self, place: usize, now: Time) -> NodePoolSummary {
        let (cluster, pool) = self.fleet.pool(place);
        let billed = self.fleet.accounts()[place].billed_nanos(now) as f64;
        let hours = billed / 3.6e12;
        let gpus = pool.allocatable.gpu_milli as f64 / 1e3;
        NodePoolSummary {
            cluster: cluster.to_owned(),
            name: pool.name.clone(),
            instance_type: pool.instance_type.clone(),
            capacity_type: pool.capacity_type,
            node_hours: hours,
            gpu_hours: hours * gpus,
            cost_usd: self.fleet.accounts()[place].cost(now),
            failures: self.may_fail(place).then(|| self.fleet.accounts()[place].failures()),
            interruptions: pool.spot.as_ref().map(|_| self.fleet.accounts()[place].interruptions()),
            energy_kwh: pool.power.map(|power| {
                let cores = pool.whole().cpu_milli as f64 / 1e3;
                let (cpu, gpu) = (self.state.cpu_used[place] as f64, self.state.gpu_busy[place] as f64);
                power.energy_kwh(billed / 1e9, (cpu / 1e9, cores), (gpu / 1e9, gpus))
            }),
            gpu_busy_share: (billed * gpus > 0.0)
                .then(|| self.state.gpu_busy[place] as f64 / (billed * gpus)),
        }
    }
}
