//! What one replica of a deployment can serve within its objectives.
//!
//! One replica alone gets the requests of its service, faster and faster: a probe of about ten thousand requests says
//! whether the objectives are met, and bisection finds the rate at which they just are.

use std::sync::Arc;

use scaletwin_core::control::Controllers;
use scaletwin_core::input::Problem;
use scaletwin_core::random::Law;
use scaletwin_core::units::{Span, Time};
use scaletwin_sim::cluster::routing::{Across, Balance, RoutingSettings};
use scaletwin_sim::cluster::settings::DeploymentSettings;
use scaletwin_sim::traffic::arrivals::Process;
use scaletwin_sim::traffic::clients::ClientSettings;
use scaletwin_sim::traffic::stream::{SourceSettings, StreamSettings};
use scaletwin_sim::world::run::Run;
use scaletwin_sim::world::settings::{DeploymentModel, RunSettings, ServiceModel};
use serde::Serialize;

/// Requests of a probe.
const REQUESTS: f64 = 10_000.0;
/// The traffic is made at most so many times as fast, or as slow.
const FARTHEST: f64 = 4_096.0;
/// Bisection ends when the rates differ by less than this.
const CLOSE: f64 = 1.01;

/// What one replica of a deployment can serve, as `capacity.json` holds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    /// The scale target.
    pub target: String,
    /// The highest rate at which a probe met all objectives; `null` if there is none.
    pub requests_per_second: Option<f64>,
    /// Why there is none.
    pub why: Option<String>,
    /// The probes, in their order.
    pub probes: Vec<Probe>,
}

/// A probe: one replica at one rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Probe {
    /// By what the traffic was faster than in the scenario.
    pub speed: f64,
    /// The rate of arrivals.
    pub requests_per_second: f64,
    /// Whether all objectives were met.
    pub met: bool,
}

/// The capacity of each deployment, in their order.
///
/// # Errors
/// When a probe cannot run.
pub(crate) fn capacities(settings: &RunSettings) -> Result<Vec<Capacity>, Problem> {
    (0..settings.deployments.len()).map(|place| capacity(settings, place)).collect()
}

fn capacity(settings: &RunSettings, place: usize) -> Result<Capacity, Problem> {
    let target = settings.deployments[place].settings.target.to_string();
    if let Some(why) = obstacle(settings, place) {
        return Ok(Capacity {
            target,
            requests_per_second: None,
            why: Some(why.to_owned()),
            probes: Vec::new(),
        });
    }
    let mut probes: Vec<Probe> = Vec::new();
    let (mut met, mut missed): (Option<Probe>, Option<f64>) = (None, None);
    let mut speed = 1.0;
    while (1.0 / FARTHEST..=FARTHEST).contains(&speed) {
        let probe = probe(settings, place, speed)?;
        probes.push(probe);
        if probe.met {
            met = Some(probe);
        } else {
            missed = Some(speed);
        }
        speed = match (met.map(|probe| probe.speed), missed) {
            (Some(low), Some(high)) if high / low < CLOSE => break,
            (Some(low), Some(high)) => (low * high).sqrt(),
            (Some(low), None) => low * 2.0,
            (None, _) => speed / 2.0,
        };
    }
    let bounded = met.filter(|_| missed.is_some());
    let why = match (met, missed) {
        (None, _) => Some("no rate meets the objectives"),
        (_, None) => Some("every rate meets the objectives"),
        _ => None,
    };
    Ok(Capacity {
        target,
        requests_per_second: bounded.map(|probe| probe.requests_per_second),
        why: why.map(str::to_owned),
        probes,
    })
}

/// Why a deployment has no capacity.
fn obstacle(settings: &RunSettings, place: usize) -> Option<&'static str> {
    let service = settings.deployments[place].settings.service;
    let mut streams = settings.streams.iter().filter(|stream| stream.service == service).peekable();
    let others = settings.deployments.iter().filter(|other| other.settings.service == service).count();
    if settings.services[service].slo.objectives.is_empty() {
        Some("its service has no slo")
    } else if others > 1 {
        Some("its service has several deployments, and their shares of the demand are not known")
    } else if streams.peek().is_none() {
        Some("its service has no traffic")
    } else if streams
        .any(|stream| matches!(stream.source, SourceSettings::ClosedLoop(_) | SourceSettings::Sessions(_)))
    {
        Some("clients that wait for their answers have no rate")
    } else {
        None
    }
}

fn probe(settings: &RunSettings, place: usize, speed: f64) -> Result<Probe, Problem> {
    let failed = |error: &dyn std::error::Error| {
        Problem::without_place(format!(
            "a probe of {} failed: {error}",
            settings.deployments[place].settings.target
        ))
    };
    let settings = Arc::new(alone(settings, place, speed));
    let mut run = Run::new(settings, Controllers::none()).map_err(|error| failed(&error))?;
    run.keep_requests();
    while !run.run_until(Time::NEVER).map_err(|error| failed(&error))? {}
    let mut requests = run.take_requests();
    let (record, rest) = run.close();
    requests.extend(rest);
    let last = requests.iter().map(|(_, request)| request.arrived).max().unwrap_or(Time::ZERO);
    Ok(Probe {
        speed,
        requests_per_second: requests.len() as f64 / last.as_secs_f64().max(1e-9),
        met: record.summary.services[0].slo.met == Some(true),
    })
}

/// The settings of a run of one replica alone, with the traffic of its service so many times as fast.
fn alone(settings: &RunSettings, place: usize, speed: f64) -> RunSettings {
    let model = &settings.deployments[place];
    let service = model.settings.service;
    let streams: Vec<&StreamSettings> =
        settings.streams.iter().filter(|stream| stream.service == service).collect();
    let rates: f64 = streams.iter().map(|stream| rate(stream)).sum();
    let routing = RoutingSettings {
        balance: Balance::LeastOutstanding,
        across: Across::Together,
        weights: vec![1],
        prefers_zone: false,
        min_ready_milli: None,
    };
    RunSettings {
        warm_up: Span::ZERO,
        ends_when_done: true,
        cut: Time::NEVER,
        // Nobody looks at windows and usage of a probe.
        window: Span::CENTURY,
        metrics_resolution: Span::CENTURY,
        clusters: Vec::new(),
        outages: Vec::new(),
        services: vec![ServiceModel { routing, ..settings.services[service].clone() }],
        deployments: vec![DeploymentModel {
            settings: DeploymentSettings {
                service: 0,
                cluster: None,
                pool: None,
                replicas: 1,
                standby: None,
                ..model.settings.clone()
            },
            ..model.clone()
        }],
        streams: streams.into_iter().map(|stream| faster(stream, speed, rates)).collect(),
        signals: Vec::new(),
        waived: Vec::new(),
        capacities: Vec::new(),
        ..settings.clone()
    }
}

/// The mean rate of a process; 0 of a trace.
fn rate(stream: &StreamSettings) -> f64 {
    match &stream.source {
        SourceSettings::Generator(generator) => generator.process.mean_rate(),
        SourceSettings::Trace(_) | SourceSettings::ClosedLoop(_) | SourceSettings::Sessions(_) => 0.0,
    }
}

/// A stream so many times as fast, without tries and from the start: a process as Poisson's with its part of the requests,
/// a trace with its own gaps.
fn faster(stream: &StreamSettings, speed: f64, rates: f64) -> StreamSettings {
    let source = match stream.source.clone() {
        SourceSettings::Generator(mut generator) => {
            let part = (REQUESTS * rate(stream) / rates).ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a part of ten thousand"
            )]
            let requests = part as u64;
            let mean = 1.0 / (generator.process.mean_rate() * speed).max(1e-9);
            generator.process = Process::Renewal { gaps: Law::Exponential { mean } };
            generator.requests = Some(requests);
            SourceSettings::Generator(generator)
        }
        SourceSettings::Trace(mut trace) => {
            trace.speed *= speed;
            trace.requests = Some(10_000);
            SourceSettings::Trace(trace)
        }
        other @ (SourceSettings::ClosedLoop(_) | SourceSettings::Sessions(_)) => other,
    };
    StreamSettings {
        service: 0,
        source,
        client: ClientSettings { retries: None, ..stream.client.clone() },
        zone: None,
        from: Time::ZERO,
        until: Time::NEVER,
        ..stream.clone()
    }
}
