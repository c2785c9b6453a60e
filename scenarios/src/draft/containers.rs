//! What is read of a Deployment's containers: requests, the arguments of vLLM, how a pod begins and ends.

use scaletwin_core::input::Node;
use scaletwin_core::units::{Bytes, Quantity};

use super::arguments::Arguments;
use super::objects::{Object, at, elements, scalar};
use super::page::{Keyed, guessed, inferred, plain, quoted};

/// The options of vLLM that are carried over.
pub(super) const CARRIED: [&str; 14] = [
    "model",
    "max-num-seqs",
    "max-num-batched-tokens",
    "max-model-len",
    "block-size",
    "tensor-parallel-size",
    "gpu-memory-utilization",
    "enable-prefix-caching",
    "enable-chunked-prefill",
    "served-model-name",
    "kv-cache-dtype",
    "quantization",
    "dtype",
    "num-gpu-blocks-override",
];

pub(super) fn pod<'a>(object: &Object<'a>) -> Option<&'a Node> {
    object.at(&["spec", "template", "spec"])
}

fn containers<'a>(object: &Object<'a>) -> &'a [Node] {
    elements(pod(object).and_then(|pod| pod.get("containers")))
}

/// The container that serves: the one with a vLLM server, else with GPUs, else the first.
fn container<'a>(object: &Object<'a>) -> Option<&'a Node> {
    let all = containers(object);
    let vllm = all.iter().find(|container| Arguments::of(container).vllm);
    vllm.or_else(|| all.iter().find(|container| gpus_of(container) > 0)).or(all.first())
}

pub(super) fn arguments(object: &Object<'_>) -> Arguments {
    container(object).map(Arguments::of).unwrap_or_default()
}

/// GPUs that a container asks for.
fn gpus_of(container: &Node) -> u32 {
    let asked = ["limits", "requests"]
        .into_iter()
        .find_map(|kind| at(container, &["resources", kind, "nvidia.com/gpu"]).and_then(scalar));
    asked.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0).min(64)
}

pub(super) fn gpus(object: &Object<'_>) -> u32 {
    containers(object).iter().map(gpus_of).max().unwrap_or(0)
}

/// How long a pod may finish, its readiness probe, and how a rollout goes.
pub(super) fn lifecycle(object: &Object<'_>) -> Vec<Keyed> {
    let mut keys = Vec::new();
    let seconds = |node: Option<&Node>| {
        node.and_then(scalar).and_then(|text| text.parse::<u64>().ok()).map(|seconds| seconds.min(86_400))
    };
    let grace = pod(object).and_then(|pod| pod.get("terminationGracePeriodSeconds"));
    if let Some(grace) = seconds(grace) {
        keys.push((format!("grace: {grace}s"), object.read("terminationGracePeriodSeconds")));
    }
    if let Some(probe) = container(object).and_then(|container| container.get("readinessProbe")) {
        let delay = seconds(probe.get("initialDelaySeconds")).unwrap_or(0);
        let period = seconds(probe.get("periodSeconds")).unwrap_or(10).max(1);
        let text = format!("readiness: {{initial_delay: {delay}s, period: {period}s}}");
        keys.push((text, object.read("readinessProbe")));
    }
    let amount = |key| {
        let text = object.at(&["spec", "strategy", "rollingUpdate", key]).and_then(scalar)?;
        let digits = text.strip_suffix('%').unwrap_or(&text);
        digits.parse::<u16>().is_ok_and(|number| number <= 100).then_some(text)
    };
    if let (Some(surge), Some(unavailable)) = (amount("maxSurge"), amount("maxUnavailable")) {
        let text = format!("update: {{max_surge: {surge}, max_unavailable: {unavailable}}}");
        keys.push((text, object.read("spec.strategy.rollingUpdate")));
    }
    keys
}

/// What each container requests that requests any; nothing if one of them cannot be read.
pub(super) fn amounts(object: &Object<'_>, resource: &str) -> Vec<Quantity> {
    let asked = |container: &Node| {
        let of = |kind| at(container, &["resources", kind, resource]).and_then(scalar);
        of("requests").or_else(|| of("limits"))
    };
    let texts: Vec<String> = containers(object).iter().filter_map(asked).collect();
    texts.iter().map(|text| text.parse().ok()).collect::<Option<_>>().unwrap_or_default()
}

/// Thousandths of all together.
pub(super) fn sum(amounts: &[Quantity]) -> i64 {
    amounts.iter().map(|amount| amount.milli_value()).fold(0, i64::saturating_add)
}

/// What all containers request together.
pub(super) fn request(object: &Object<'_>, resource: &str) -> Option<Keyed> {
    let amounts = amounts(object, resource);
    let field = format!("resources.requests.{resource}");
    let (total, origin) = match amounts.as_slice() {
        [] => return None,
        [one] => (*one, object.read(&field)),
        several => {
            (Quantity::from_milli(sum(several)), inferred(format!("the sum of {field} of its containers")))
        }
    };
    let text = match resource {
        "memory" => Bytes(u64::try_from(total.value()).ok()?).to_string(),
        _ => format!("{}m", total.milli_value()),
    };
    Some((format!("{resource}: {text}"), origin))
}

/// The arguments of vLLM that are keys of its engine here.
pub(super) fn engine(object: &Object<'_>, arguments: &Arguments, model: &str) -> Vec<Keyed> {
    let mut keys = Vec::new();
    let counts =
        ["max-num-seqs", "max-num-batched-tokens", "max-model-len", "block-size", "tensor-parallel-size"];
    for option in counts {
        if let Some(count) = arguments.count(option) {
            keys.push((
                format!("{}: {count}", option.replace('-', "_")),
                object.read(&format!("--{option}")),
            ));
        }
    }
    if let Some(blocks) = arguments.count("num-gpu-blocks-override") {
        keys.push((format!("num_gpu_blocks: {blocks}"), object.read("--num-gpu-blocks-override")));
    }
    if let Some(share) = arguments.share("gpu-memory-utilization") {
        let origin = object.read("--gpu-memory-utilization");
        keys.push((format!("gpu_memory_utilization: {share}"), origin));
    }
    for option in ["enable-prefix-caching", "enable-chunked-prefill"] {
        if let Some(on) = arguments.switch(option) {
            keys.push((format!("{}: {on}", option.replace('-', "_")), object.read(&format!("--{option}"))));
        }
    }
    keys.extend(precision(object, arguments, model));
    let served = arguments.get("served-model-name").or(arguments.model());
    if let Some(served) = served {
        let origin = object.read("--served-model-name or --model");
        keys.push((format!("served_model_name: {}", quoted(&plain(served))), origin));
    }
    keys
}

/// How weights and KV cache are kept.
fn precision(object: &Object<'_>, arguments: &Arguments, model: &str) -> Vec<Keyed> {
    let mut keys = Vec::new();
    let small = model.to_ascii_lowercase();
    match arguments.get("quantization") {
        Some("fp8") => keys.push(("weights: fp8".to_owned(), object.read("--quantization"))),
        Some(other) => {
            let why = format!("{} is not modelled; this is the nearest", plain(other));
            keys.push(("weights: fp8".to_owned(), guessed(why)));
        }
        None if small.contains("fp8") => {
            keys.push(("weights: fp8".to_owned(), inferred("the name of the model says so")));
        }
        None if ["awq", "gptq", "int4", "int8", "w4a16", "w8a8"].iter().any(|how| small.contains(how)) => {
            let why = "the model's own precision is not modelled; this is the nearest";
            keys.push(("weights: fp8".to_owned(), guessed(why)));
        }
        None => {}
    }
    if arguments.get("kv-cache-dtype").is_some_and(|kind| kind.starts_with("fp8")) {
        keys.push(("kv_cache: fp8".to_owned(), object.read("--kv-cache-dtype")));
    }
    keys
}
