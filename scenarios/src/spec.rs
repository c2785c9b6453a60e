//! A scenario as written. `scaletwin schema scenario` prints these keys as JSON Schema.

pub mod cluster;
pub mod engine;
pub mod failures;
pub mod policy;
pub mod routing;
pub mod scheduling;
pub mod service;
pub mod start_up;
pub mod traffic;

use std::collections::BTreeMap;

use scaletwin_core::input::{At, Period};
use scaletwin_core::units::{Civil, Span};
use scaletwin_sim::scrape::promql::PrometheusVersion;
use scaletwin_sim::scrape::signals::{Per, Reduce};

use cluster::ClusterSpec;
use failures::OutageSpec;
use policy::PolicySource;
use service::ServiceSpec;
use traffic::TrafficSpec;

scaletwin_core::keys! {
    /// A scenario: a fleet, the services on it, their traffic, and the policy that scales them.
    #[derive(Debug, Clone)]
    pub struct ScenarioSpec {
        /// Its name.
        pub name: String,
        /// What it shows, for people.
        pub description: Option<String> = None,
        /// The seed of all luck. `--seed` replaces it.
        pub seed: u64 = 1,
        /// The civil instant of t = 0. Default: the first instant of the traffic's traces, or 2024-01-01T00:00:00Z where
        /// there is none.
        pub start: Option<Civil> = None,
        /// What does not count at the start: no figure covers it.
        pub warm_up: Span = Span::ZERO,
        /// When the run ends.
        pub end: End = End::Drain,
        /// How long requests arrive; with `end: cut`, how long the run lasts.
        pub duration: Option<At<Span>> = None,
        /// The length of a window of the timeline.
        pub window: Period = Period(Span::from_secs(60)),
        /// The clusters. Without any, replicas run on unlimited capacity at no price.
        pub clusters: Vec<At<ClusterSpec>> = Vec::new(),
        /// Outages of zones.
        pub outages: Vec<At<OutageSpec>> = Vec::new(),
        /// The services, each with its deployments: the scale targets.
        pub services: At<Vec<At<ServiceSpec>>>,
        /// The streams of requests.
        pub traffic: At<Vec<At<TrafficSpec>>>,
        /// The metrics that controllers ask for by name, and the series behind them.
        pub signals: BTreeMap<String, At<SignalSpec>> = BTreeMap::new(),
        /// How exporters are scraped.
        pub scrape: ScrapeSpec = ScrapeSpec::default(),
        /// The Prometheus that signals come from.
        pub prometheus: PrometheusSpec = PrometheusSpec::default(),
        /// The metrics-server, which CPU and memory of pods come from.
        pub metrics_server: MetricsServerSpec = MetricsServerSpec::default(),
        /// What scales: here, or the name of a policy file. `--policy` replaces it. Default: nothing does.
        pub policy: Option<PolicySource> = None,
    }
}

scaletwin_core::names! {
    /// When a run ends.
    pub enum End {
        /// When the last request has ended.
        Drain = "drain",
        /// After `duration`, whatever is still under way.
        Cut = "cut",
    }
}

scaletwin_core::keys! {
    /// How exporters are scraped.
    #[derive(Debug, Clone)]
    pub struct ScrapeSpec {
        /// From one scrape of a target to the next. Prometheus' own default is 1m; most installations scrape every 15s.
        pub interval: Period = Period(Span::from_secs(15)),
        /// How old what controllers see is besides.
        pub lag: Span = Span::ZERO,
    }
}

impl Default for ScrapeSpec {
    fn default() -> ScrapeSpec {
        ScrapeSpec { interval: Period(Span::from_secs(15)), lag: Span::ZERO }
    }
}

scaletwin_core::keys! {
    /// The Prometheus that signals come from.
    #[derive(Debug, Clone)]
    pub struct PrometheusSpec {
        /// Its major version, 2 or 3: queries under `promql:` follow its rules.
        pub version: PrometheusVersion = PrometheusVersion::V3,
    }
}

impl Default for PrometheusSpec {
    fn default() -> PrometheusSpec {
        PrometheusSpec { version: PrometheusVersion::V3 }
    }
}

scaletwin_core::keys! {
    /// The metrics-server.
    #[derive(Debug, Clone)]
    pub struct MetricsServerSpec {
        /// From one look at the kubelets to the next (`--metric-resolution`).
        pub resolution: Period = Period(Span::from_secs(15)),
    }
}

impl Default for MetricsServerSpec {
    fn default() -> MetricsServerSpec {
        MetricsServerSpec { resolution: Period(Span::from_secs(15)) }
    }
}

scaletwin_core::keys! {
    /// A metric that controllers ask for by name.
    #[derive(Debug, Clone)]
    pub struct SignalSpec {
        /// The series, by its real name, such as `vllm:num_requests_waiting`. This or `promql`.
        pub series: Option<At<String>> = None,
        /// A PromQL query over all series that exporters show, such as `sum(rate(http_requests_total[2m]))`.
        pub promql: Option<At<String>> = None,
        /// Labels that must match: those of the series, and `pod`, `deployment`, `service`, `namespace`.
        pub r#match: BTreeMap<String, At<String>> = BTreeMap::new(),
        /// One value for each pod, or one for all series that match.
        pub per: Per = Per::Deployment,
        /// How several series become one value. Default: their sum; the series of a query's answer stay several.
        pub reduce: Option<Reduce> = None,
        /// The rate per second over this time, as PromQL's `rate`, instead of the value.
        pub rate_over: Option<At<Period>> = None,
    }
}
