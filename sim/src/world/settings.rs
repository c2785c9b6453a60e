//! All that a run is built from.

use scaletwin_core::random::{Law, Seed};
use scaletwin_core::record::Slo;
use scaletwin_core::units::{Civil, Span, Time};
use scaletwin_hardware::step_time::StepTimeModel;
use serde::Serialize;

use super::cross_zone::CrossZone;
use crate::cluster::routing::RoutingSettings;
use crate::cluster::settings::{ClusterSettings, DeploymentSettings, Lost, Outage};
use crate::scrape::exporter::LlmServer;
use crate::scrape::queries::QuerySignal;
use crate::scrape::signals::{ScrapeSettings, SignalSettings};
use crate::serving::concurrency::ConcurrencyConfig;
use crate::serving::continuous::config::SchedulerConfig;
use crate::serving::dynamic::{BatchTime, DynamicConfig};
use crate::traffic::stream::StreamSettings;

/// All that a run is built from, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSettings {
    /// The name of the scenario.
    pub name: String,
    /// A digest of everything that the run depends on besides seed and policy: a snapshot of another scenario does not
    /// fit.
    #[serde(skip)]
    pub fingerprint: String,
    /// A digest of the policy.
    #[serde(skip)]
    pub policy: String,
    /// The seed.
    #[serde(skip)]
    pub seed: Seed,
    /// The civil instant of t = 0.
    pub start: Civil,
    /// What does not count at the start.
    pub warm_up: Span,
    /// Whether the run ends when all requests have ended; otherwise it ends at `cut`.
    pub ends_when_done: bool,
    /// When the run is cut, at the latest.
    pub cut: Time,
    /// The length of a window of the timeline.
    pub window: Span,
    /// The clusters.
    pub clusters: Vec<ClusterSettings>,
    /// Outages of zones.
    pub outages: Vec<Outage>,
    /// The services.
    pub services: Vec<ServiceModel>,
    /// The deployments of all services.
    pub deployments: Vec<DeploymentModel>,
    /// The streams of traffic.
    pub streams: Vec<StreamSettings>,
    /// The signals by the names that controllers use.
    pub signals: Vec<SignalSettings>,
    /// The signals that are PromQL queries.
    pub queries: Vec<QuerySignal>,
    /// How exporters are scraped.
    pub scrape: ScrapeSettings,
    /// The resolution of the metrics-server.
    pub metrics_resolution: Span,
    /// What a replica of each deployment can serve, requests per second, where that was asked for and is known: what
    /// demand is measured with. Nothing that happens in a run depends on it.
    #[serde(skip)]
    pub capacities: Vec<Option<f64>>,
    /// Manifest fields that were waived.
    #[serde(skip)]
    pub waived: Vec<String>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceModel {
    /// Its name.
    pub name: String,
    /// Its objectives.
    pub slo: Slo,
    /// How its requests are spread over its ready replicas.
    pub routing: RoutingSettings,
    /// How its gateway finds out that a replica does not answer; `None`: only by the cluster.
    pub health_check: Option<HealthCheck>,
    /// How its gateway ejects replicas that fail requests; `None`: it does not.
    pub outlier_detection: Option<OutlierDetection>,
    /// What traffic between zones costs; `None`: nothing, and it is not counted.
    pub cross_zone: Option<CrossZone>,
    /// Requests that may wait before the replicas; `None`: any number.
    pub queue: Option<u32>,
    /// Whether its engines produce tokens.
    pub has_tokens: bool,
}

/// A gateway's own probes of its replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    /// From one probe of a replica to the next, above zero; the first when it is ready.
    pub interval: Span,
    /// How long an answer may take.
    pub timeout: Span,
    /// Probes in a row without an answer that take a replica out, at least 1.
    pub unhealthy_threshold: u32,
}

/// A gateway's ejection of replicas that fail requests one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OutlierDetection {
    /// Failures in a row that eject a replica, at least 1.
    pub consecutive_failures: u32,
    /// How long the first ejection lasts; the n-th lasts n times as long, at most [`OutlierDetection::LONGEST`].
    pub ejection: Span,
}

impl OutlierDetection {
    /// The longest ejection: Envoy's `max_ejection_time`.
    pub const LONGEST: Span = Span::from_secs(300);

    /// How long the ejection number `number`, from 1 on, lasts.
    #[must_use]
    pub fn lasts(&self, number: u32) -> Span {
        (self.ejection * u64::from(number)).min(OutlierDetection::LONGEST.max(self.ejection))
    }
}

impl HealthCheck {
    /// When a replica that was ready at `ready` and failed at `failed` is taken out. One that refuses connections answers
    /// a probe at once.
    #[must_use]
    pub fn taken_out(&self, ready: Time, failed: Time, lost: Lost) -> Time {
        let probes = failed.since(ready).as_nanos().div_ceil(self.interval.as_nanos());
        let last = self.interval * (probes + u64::from(self.unhealthy_threshold) - 1);
        let answer = match lost {
            Lost::Hang => self.timeout,
            Lost::Fail => Span::ZERO,
        };
        ready.saturating_add(last).saturating_add(answer)
    }
}

/// A deployment with what its replicas do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeploymentModel {
    /// Its place in the fleet.
    pub settings: DeploymentSettings,
    /// Its engine.
    pub engine: EngineSettings,
    /// What its replicas use.
    pub usage: UsageSettings,
}

/// The engine of a deployment's replicas.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineSettings {
    /// Continuous batching.
    Continuous {
        /// The scheduler's settings.
        config: SchedulerConfig,
        /// How long a step takes.
        step_time: StepTimeModel,
        /// Requests that may wait in a replica; `None`: any number.
        queue: Option<u32>,
        /// The name of the model that it serves.
        model: String,
        /// Whose metrics it shows.
        #[serde(skip_serializing_if = "is_vllm")]
        server: LlmServer,
    },
    /// Concurrency slots.
    Concurrency {
        /// The server's settings.
        config: ConcurrencyConfig,
        /// The service time at full speed, seconds.
        service: Law,
        /// The set-up of a server that stops when it is empty, seconds.
        set_up: Option<Law>,
    },
    /// Dynamic batching.
    Dynamic {
        /// The server's settings.
        config: DynamicConfig,
        /// How long a batch takes.
        time: BatchTime,
        /// The name of the model that it serves.
        model: String,
    },
}

/// What a replica uses. `docs/models/usage.md` has the equations and their basis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageSettings {
    /// CPU of an idle replica, thousandths of a core.
    pub cpu_idle_milli: u64,
    /// CPU of a replica whose engine works all the time, or whose slots are all in use, thousandths of a core.
    pub cpu_busy_milli: u64,
    /// Memory of a replica without requests, bytes.
    pub memory_bytes: u64,
    /// Memory of each request in it, bytes.
    pub memory_per_request_bytes: u64,
    /// Its GPUs, if it has any.
    pub gpu: Option<GpuSettings>,
}

/// The GPUs of a replica.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GpuSettings {
    /// How many.
    pub gpus: u32,
    /// Memory of each, MiB.
    pub memory_mib: f64,
    /// Memory that the server reserves of each, MiB.
    pub reserved_mib: f64,
    /// What a step costs in operations and bytes, if it is known.
    pub cost: Option<StepCost>,
}

/// What a step costs, and what the GPUs could do, all of a replica together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepCost {
    /// Operations for each token.
    pub flops_per_token: f64,
    /// Operations for each pair of a token and one that it attends to.
    pub flops_per_attended: f64,
    /// Operations per second at most.
    pub peak_flops: f64,
    /// Bytes of weights read in each step.
    pub bytes_per_step: f64,
    /// Bytes read for each token in a context.
    pub bytes_per_context_token: f64,
    /// Bytes per second at most.
    pub peak_bytes: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands on a reference")]
fn is_vllm(server: &LlmServer) -> bool {
    *server == LlmServer::Vllm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_taken_out_after_so_many_probes_without_an_answer() {
        let at = |secs| Time::ZERO + Span::from_secs(secs);
        let secs = Span::from_secs;
        let check = HealthCheck { interval: secs(5), timeout: secs(2), unhealthy_threshold: 3 };
        // Ready at 1 s, so probes are at 1, 6, 11, ... s. Failed at 12 s: 16, 21 and 26 s get no answer.
        assert_eq!(check.taken_out(at(1), at(12), Lost::Hang), at(28));
        assert_eq!(check.taken_out(at(1), at(12), Lost::Fail), at(26));
        assert_eq!(
            check.taken_out(at(1), at(16), Lost::Fail),
            at(26),
            "a probe at the instant of the failure fails"
        );
        assert_eq!(
            HealthCheck { unhealthy_threshold: 1, ..check }.taken_out(at(1), at(1), Lost::Hang),
            at(3)
        );
    }
}
