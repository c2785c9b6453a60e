//! Deployments as services.

use super::arguments::Arguments;
use super::containers::{CARRIED, amounts, arguments, engine, gpus, lifecycle, pod, request, sum};
use super::model::{Profile, profile};
use super::named;
use super::objects::{Object, Objects, scalar};
use super::page::{Keyed, Line, Origin, guessed, inferred, name, quoted};
use super::placement::{Around, Placement, Pods, classes, node_labels};
use super::pools::Pool;

/// A service with its one deployment.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// The object, for messages.
    pub object: String,
    /// The name of the Deployment, by which others refer to it.
    pub named: String,
    pub namespace: String,
    /// Its name in the scenario.
    pub name: String,
    pub care: Care,
    /// Whether what says where its pods run is taken.
    pub placed: bool,
    pub gpus: u32,
    pub replicas: u64,
    /// What it wants of its nodes.
    pub selector: Vec<(String, String)>,
    pub profile: Option<Profile>,
    /// What a replica requests together: thousandths of cores and of bytes.
    pub requests: (i64, i64),
    placement: Placement,
    head: Vec<Keyed>,
    cpu: Option<Keyed>,
    memory: Option<Keyed>,
    engine: Vec<Keyed>,
    model: Option<Keyed>,
    replicas_from: Option<Origin>,
    gpus_from: Option<Origin>,
}

/// How much of what was read of a Deployment is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Care {
    /// All of it.
    AsRead,
    /// With a shorter longest sequence.
    Shorter,
    /// All but what a replica requests of cores and memory.
    WithoutRequests,
    /// Neither of both.
    ShorterWithoutRequests,
    /// A common model on one GPU, without the arguments.
    Plain,
    /// Any server.
    Stub,
}

impl Care {
    /// From all to nearly nothing.
    pub(super) const ALL: [Care; 6] = [
        Care::AsRead,
        Care::Shorter,
        Care::WithoutRequests,
        Care::ShorterWithoutRequests,
        Care::Plain,
        Care::Stub,
    ];

    pub(super) const fn words(self) -> &'static str {
        match self {
            Care::AsRead => "as it is",
            Care::Shorter => "with max_model_len: 8192",
            Care::WithoutRequests => "without its requests of cores and memory",
            Care::ShorterWithoutRequests => "without its requests, with max_model_len: 8192",
            Care::Plain => "as a common model on one GPU",
            Care::Stub => "as a server of any kind",
        }
    }

    const fn is_shorter(self) -> bool {
        matches!(self, Care::Shorter | Care::ShorterWithoutRequests)
    }
}

/// The Deployments that serve requests: those with GPUs or a vLLM server, and those that something scales.
pub(super) fn servers(objects: &Objects<'_>, pools: &[Pool], left_out: &mut Vec<String>) -> Vec<Server> {
    let (mut servers, mut serving): (Vec<Server>, Vec<Object<'_>>) = (Vec::new(), Vec::new());
    let scaled = targets(objects);
    for object in objects.of_kind("Deployment") {
        let serves = gpus(&object) > 0 || arguments(&object).vllm;
        if !serves && !scaled.contains(&(object.namespace.to_owned(), object.name.to_owned())) {
            left_out.push(format!("{}: nothing scales it, and it has no GPU", named(&object)));
            continue;
        }
        let mut server = Server::of(&object, left_out);
        if servers.iter().any(|other| other.name == server.name) {
            server.name = name(&format!("{}-{}", object.namespace, object.name));
        }
        if servers.iter().any(|other| other.name == server.name) {
            left_out.push(format!("{}: a second one of this name", named(&object)));
            continue;
        }
        servers.push(server);
        serving.push(object);
    }
    let pods = serving.iter().zip(&servers).map(|(object, server)| Pods::of(object, server.target()));
    let around = Around { pods: pods.collect(), classes: classes(objects), pools };
    for (own, (server, object)) in servers.iter_mut().zip(&serving).enumerate() {
        server.placement = Placement::of(object, own, &around, left_out);
    }
    servers
}

/// Which Deployments are scaled, by namespace and name.
fn targets(objects: &Objects<'_>) -> Vec<(String, String)> {
    let scalers = objects.all().into_iter();
    let scalers = scalers.filter(|object| ["HorizontalPodAutoscaler", "ScaledObject"].contains(&object.kind));
    let target = |object: Object<'_>| {
        let name = object.at(&["spec", "scaleTargetRef", "name"])?.as_text()?.to_owned();
        Some((object.namespace.to_owned(), name))
    };
    scalers.filter_map(target).collect()
}

impl Server {
    /// A server for a scenario that would have none.
    pub(super) fn example() -> Server {
        Server {
            object: "an example".to_owned(),
            named: String::new(),
            namespace: String::new(),
            name: "example".to_owned(),
            care: Care::Stub,
            placed: false,
            placement: Placement::default(),
            gpus: 0,
            replicas: 1,
            selector: Vec::new(),
            profile: None,
            requests: (0, 0),
            head: Vec::new(),
            cpu: None,
            memory: None,
            engine: Vec::new(),
            model: None,
            replicas_from: guessed("an example"),
            gpus_from: None,
        }
    }

    fn of(object: &Object<'_>, left_out: &mut Vec<String>) -> Server {
        let arguments = arguments(object);
        let (gpus, vllm) = (gpus(object), arguments.vllm);
        let named_model = arguments.model().unwrap_or("");
        let profile = vllm.then(|| profile(named_model));
        let asked = arguments.count("tensor-parallel-size").unwrap_or(1).min(64);
        let written = object.at(&["spec", "replicas"]).and_then(scalar).and_then(|text| text.parse().ok());
        let server = Server {
            object: named(object),
            named: object.name.to_owned(),
            namespace: object.namespace.to_owned(),
            name: name(object.name),
            care: Care::AsRead,
            placed: true,
            placement: Placement::default(),
            gpus_from: match gpus >= asked {
                true => object.read("resources.limits nvidia.com/gpu"),
                false => inferred("--tensor-parallel-size, or a vLLM server at all"),
            },
            gpus: if vllm { gpus.max(asked) } else { gpus },
            replicas: written.unwrap_or(1),
            selector: node_labels(object),
            model: profile.as_ref().map(|profile| {
                let read = object.read("--model");
                (quoted(&profile.model.name), profile.origin(&format!("{named_model:?}"), read))
            }),
            requests: (sum(&amounts(object, "cpu")), sum(&amounts(object, "memory"))),
            head: lifecycle(object),
            cpu: request(object, "cpu"),
            memory: request(object, "memory"),
            engine: engine(object, &arguments, named_model),
            replicas_from: match written {
                Some(_) => object.read("spec.replicas"),
                None => inferred("the default of a Deployment"),
            },
            profile,
        };
        server.list(object, &arguments, left_out);
        server
    }

    /// Lists what is not carried over.
    fn list(&self, object: &Object<'_>, arguments: &Arguments, left_out: &mut Vec<String>) {
        let options = if arguments.vllm { arguments.besides(&CARRIED) } else { Vec::new() };
        if !options.is_empty() {
            left_out.push(format!("{}: --{}", named(object), options.join(", --")));
        }
        let Some(pod) = pod(object) else { return };
        if pod.get("initContainers").is_some_and(|node| !node.is_null()) {
            left_out.push(format!("{}: initContainers of its pods", named(object)));
        }
        for (label, value) in &self.selector {
            if !super::pools::is_known(label) {
                left_out.push(format!("{}: nodeSelector {label}: {value}", named(object)));
            }
        }
    }

    /// Replicas that the scenario begins with. A Deployment at 0 begins with 1: who wakes it may be left out.
    fn at_start(&self) -> (u64, Option<Origin>) {
        match self.replicas {
            0 => (1, guessed("the Deployment has 0, and a scenario needs somebody who adds the first")),
            more if more > 100 => (100, guessed(format!("the Deployment has {more}; raise it"))),
            more => (more, self.replicas_from.clone()),
        }
    }

    /// How many replicas the scenario begins with.
    pub(super) fn replicas_at_start(&self) -> u64 {
        self.at_start().0
    }

    /// Its name as a scale target.
    pub(super) fn target(&self) -> String {
        let named = if self.named.is_empty() { "main" } else { self.named.as_str() };
        format!("{}/{}", self.name, name(named))
    }

    /// The lines of its service in a scenario with these targets.
    pub(super) fn lines(&self, pools: &[Pool], several: bool, present: &[String]) -> Vec<Line> {
        let is_llm = self.profile.is_some() && self.care < Care::Stub;
        let origin = match self.named.is_empty() {
            true => guessed("an example; set it"),
            false => Some(Origin::Read(format!("{} metadata.name", self.object))),
        };
        let mut lines = vec![Line::of(1, format!("- name: {}", quoted(&self.name)), origin)];
        let slo = if is_llm { "{ttft: {p95: 2s}, tpot: {p95: 100ms}}" } else { "{e2e: {p95: 1s}}" };
        lines.push(Line::of(2, format!("slo: {slo}"), guessed("set your objectives")));
        lines.push(Line::of(
            2,
            "queue: {}",
            guessed("requests wait at the gateway; remove it if yours rejects them"),
        ));
        lines.push(Line::of(2, "deployments:", None));
        let named = if self.named.is_empty() { "main" } else { self.named.as_str() };
        lines.push(Line::of(3, format!("- name: {}", quoted(&name(named))), None));
        lines.extend(self.place(pools, several));
        let (replicas, origin) = self.at_start();
        lines.push(Line::of(4, format!("replicas: {replicas}"), origin));
        lines.extend(self.replica());
        lines.extend(match self.placed {
            true => self.placement.lines(present),
            false => self.placement.anywhere(pools),
        });
        lines.extend(self.head.iter().map(|(text, origin)| Line::of(4, text, origin.clone())));
        match is_llm {
            true => lines.extend(self.continuous()),
            false => lines.extend(stub()),
        }
        lines
    }

    /// The node pool, where it matters.
    fn place(&self, pools: &[Pool], several: bool) -> Option<Line> {
        if self.gpus == 0 || !several || self.care == Care::Stub {
            return None;
        }
        let gpus = if self.care == Care::Plain { 1 } else { self.gpus };
        let takes = |pool: &Pool| !self.placed || self.placement.tolerates(pool);
        let enough = |pool: &&Pool| pool.gpus >= gpus && takes(pool);
        let asked = pools.iter().filter(enough).find(|pool| pool.fits(&self.selector));
        let (pool, origin) = match asked {
            Some(pool) if !self.selector.is_empty() => (pool, inferred("its nodeSelector fits")),
            _ => (
                pools.iter().find(enough)?,
                guessed("the first with enough GPUs; a scenario has one accelerator for a deployment"),
            ),
        };
        Some(Line::of(4, format!("node_pool: {}", quoted(&pool.name)), origin))
    }

    /// What a replica requests.
    fn replica(&self) -> Vec<Line> {
        let mut keys = Vec::new();
        if self.gpus > 0 && self.care < Care::Stub {
            let gpus = if self.care == Care::Plain { 1 } else { self.gpus };
            let origin = if gpus == self.gpus { self.gpus_from.clone() } else { guessed("set it") };
            keys.push((format!("gpus: {gpus}"), origin));
        }
        if self.care <= Care::Shorter {
            keys.extend(self.cpu.iter().chain(&self.memory).cloned());
        }
        if keys.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![Line::of(4, "replica:", None)];
        lines.extend(keys.into_iter().map(|(text, origin)| Line::of(5, text, origin)));
        lines
    }

    /// A vLLM server.
    fn continuous(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let plain = self.care == Care::Plain;
        match &self.model {
            Some((model, origin)) if !plain => {
                lines.push(Line::of(4, format!("model: {model}"), origin.clone()));
            }
            _ => lines.push(Line::of(
                4,
                "model: mistral-7b",
                guessed("the one that is served does not fit; set it"),
            )),
        }
        lines.push(Line::of(
            4,
            "cold_start: 155s",
            guessed("from node to ready, as for any LLM server; measure yours, or write start_up: with its stages"),
        ));
        lines.push(Line::of(4, "engine:", None));
        lines.push(Line::of(5, "kind: continuous-batching", inferred("it is a vLLM server")));
        match plain {
            true => {
                lines.push(Line::of(5, "max_model_len: 4096", guessed("set it")));
                lines.push(Line::of(5, "weights: fp8", guessed("set it")));
            }
            false => {
                let shorter = |text: &str| self.care.is_shorter() && text.starts_with("max_model_len");
                let keys = self.engine.iter().filter(|(text, _)| !shorter(text));
                if self.care.is_shorter() {
                    let why = "longer sequences do not fit into the memory that is left for KV blocks";
                    lines.push(Line::of(5, "max_model_len: 8192", guessed(why)));
                }
                lines.extend(keys.map(|(text, origin)| Line::of(5, text, origin.clone())));
            }
        }
        lines
    }

    /// The lines of its traffic.
    pub(super) fn traffic(&self) -> Vec<Line> {
        let is_llm = self.profile.is_some() && self.care < Care::Stub;
        let rate = self.at_start().0;
        let mut lines = vec![
            Line::of(1, format!("- name: {}-users", self.name), None),
            Line::of(2, format!("service: {}", quoted(&self.name)), None),
            Line::of(
                2,
                format!("arrivals: {{poisson: {{rate: {rate}/s}}}}"),
                guessed("one a second for each replica; set it, or name a trace: instead"),
            ),
        ];
        if is_llm {
            let tokens = guessed("set it; a trace has its own");
            lines.push(Line::of(2, "prompt_tokens: {lognormal: {mean: 500, cv: 1.0}}", tokens.clone()));
            lines.push(Line::of(2, "output_tokens: {lognormal: {mean: 150, cv: 1.0}}", tokens));
        }
        lines
    }
}

/// Any server.
fn stub() -> Vec<Line> {
    let why = "nothing says how long a request takes; set it";
    vec![
        Line::of(4, "cold_start: 10s", guessed("set it")),
        Line::of(4, "engine:", None),
        Line::of(5, "kind: concurrency", guessed("a server that works on some requests at once")),
        Line::of(5, "limit: 8", guessed("set it")),
        Line::of(5, "service_time: {exponential: {mean: 200ms}}", guessed(why)),
    ]
}
