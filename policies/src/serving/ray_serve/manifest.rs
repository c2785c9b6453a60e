//! Serve config files as `serve deploy` takes them, and the manifest of a RayService that holds one.

use scaletwin_core::input::{At, Node, Place, Problem, Problems, Read, Value, parse};

use super::spec::{AutoscalingConfig, RaySettings};
use crate::kubernetes::manifest::{FieldCoverage, Fields, Reader, documents, value};

/// The most replicas of a deployment with `num_replicas: auto` that does not say it.
const AUTO_MAX: &str = "max_replicas: 100";

/// Reads the settings of `deployment`, or of the only one that scales, out of the document `node`.
///
/// # Errors
/// All problems: a field that is wrong, or neither modelled nor waived, or a deployment that is not there.
pub fn read(
    node: &Node,
    deployment: Option<&At<String>>,
    waived: &[String],
    place: &Place,
) -> Result<(RaySettings, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let settings = match inner_config(&mut reader, node) {
        Inner::None => read_config(&mut reader, node, deployment, place),
        Inner::Config(config) => read_config(&mut reader, &config, deployment, place),
        Inner::Wrong => None,
    };
    reader.finish(settings, &node.place)
}

/// The one RayService or Serve config among a file's documents.
///
/// # Errors
/// When there is none, or there are several.
pub fn config_among<'a>(nodes: &'a [Node], place: &Place) -> Result<&'a Node, Problem> {
    let is_one = |node: &&Node| {
        node.get("kind").and_then(Node::as_text) == Some("RayService") || node.get("applications").is_some()
    };
    let all = documents(nodes);
    let found: Vec<&Node> = all.iter().copied().filter(is_one).collect();
    match (found.as_slice(), all.as_slice()) {
        ([one], _) | ([], [one]) => Ok(one),
        ([], _) => Err(Problem::error(place, "no document of the file is a RayService or a Serve config")),
        _ => {
            let problem =
                Problem::error(&found[1].place, "the file holds several RayServices or Serve configs");
            Err(problem.hint("keep one of them in a file of its own"))
        }
    }
}

/// The Serve config within a RayService.
enum Inner {
    /// It is no RayService.
    None,
    /// The config.
    Config(Box<Node>),
    /// There is none, or it does not read.
    Wrong,
}

fn inner_config(reader: &mut Reader, node: &Node) -> Inner {
    if node.get("kind").and_then(Node::as_text) != Some("RayService") {
        return Inner::None;
    }
    let Some(inner) = node.get("spec").and_then(|spec| spec.get("serveConfigV2")) else {
        reader.problems().error(&node.place, "spec.serveConfigV2 is missing");
        return Inner::Wrong;
    };
    match parse("serveConfigV2", inner.as_text().unwrap_or("")) {
        Ok(config) => Inner::Config(Box::new(config)),
        Err(problem) => {
            let message = format!("spec.serveConfigV2 is no YAML: {}", problem.message);
            reader.problems().error(&inner.place, message);
            Inner::Wrong
        }
    }
}

fn read_config(
    reader: &mut Reader,
    node: &Node,
    deployment: Option<&At<String>>,
    place: &Place,
) -> Option<RaySettings> {
    let capacity = node.get("target_capacity").filter(|node| !node.is_null());
    let capacity = capacity.and_then(|node| At::<f64>::read(node, reader.problems()));
    let (path, found) = find(reader, node, deployment, place)?;
    let mut fields = reader.fields(found, &path)?;
    let replicas = fields.honour(reader, "num_replicas");
    let written = fields.honour(reader, "autoscaling_config");
    fields.without_effect_where(reader, |_| true);
    fields.finish(reader);
    let auto = replicas.and_then(Node::as_text) == Some("auto");
    if let (Some(replicas), Some(_), false) = (replicas, written, auto) {
        let message = format!("{path}: num_replicas and autoscaling_config exclude each other in Ray Serve");
        reader.problems().push(Problem::error(&replicas.place, message).hint("remove num_replicas"));
    }
    let mut config = match written {
        Some(node) => read_autoscaling(reader, node, &format!("{path}.autoscaling_config"))?,
        None => read_autoscaling(reader, &empty(&found.place), &path)?,
    };
    if auto && config.max_replicas.is_none() {
        let most = parse("num_replicas: auto", AUTO_MAX).ok();
        let most = most.as_ref().and_then(|node| node.get("max_replicas"));
        config.max_replicas = most.and_then(|node| At::read(node, reader.problems()));
    }
    config.check(capacity.as_ref(), reader.problems())
}

fn empty(place: &Place) -> Node {
    Node { value: Value::Map(Vec::new()), place: place.clone() }
}

/// The list under `key`, each with its path.
fn list<'a>(node: &'a Node, key: &str, path: &str) -> Vec<(String, &'a Node)> {
    match node.get(key).map(|node| &node.value) {
        Some(Value::List(nodes)) => {
            nodes.iter().enumerate().map(|(at, node)| (format!("{path}{key}[{at}]"), node)).collect()
        }
        _ => Vec::new(),
    }
}

/// The deployment that is meant, with its path.
fn find<'a>(
    reader: &mut Reader,
    node: &'a Node,
    deployment: Option<&At<String>>,
    place: &Place,
) -> Option<(String, &'a Node)> {
    let applications = list(node, "applications", "").into_iter();
    let all = applications.flat_map(|(path, node)| list(node, "deployments", &format!("{path}.")));
    let name = |node: &Node| node.get("name").and_then(Node::as_text).unwrap_or("").to_owned();
    let scales = |node: &Node| {
        node.get("autoscaling_config").is_some_and(|node| !node.is_null())
            || node.get("num_replicas").and_then(Node::as_text) == Some("auto")
    };
    let (found, names): (Vec<_>, Vec<_>) =
        all.filter(|(_, node)| scales(node)).map(|(path, node)| ((path, node), name(node))).unzip();
    let meant: Vec<_> = found
        .into_iter()
        .zip(&names)
        .filter(|(_, name)| deployment.is_none_or(|deployment| deployment.value == **name))
        .map(|(found, _)| found)
        .collect();
    match <[_; 1]>::try_from(meant) {
        Ok([one]) => Some(one),
        Err(meant) => {
            let place = deployment.map_or(place, |at| &at.place);
            let built = |(_, node): (String, &Node)| node.get("args").is_some_and(|node| !node.is_null());
            let problem = if names.is_empty() && list(node, "applications", "").into_iter().any(built) {
                let message = "no deployment of the file has an autoscaling_config, and what its applications build \
                               from their args is not read";
                let hint = "write the autoscaling_config that the args hold as that key, without manifest:";
                Problem::error(place, message).hint(hint)
            } else if names.is_empty() {
                let problem = Problem::error(place, "no deployment of the file has an autoscaling_config");
                problem.hint("Ray Serve keeps num_replicas as they are: write {kind: static, replicas: …}")
            } else {
                let message = match (deployment, meant.len()) {
                    (None, _) => format!("{} deployments of the file scale", names.len()),
                    (Some(name), 0) => {
                        format!("no deployment of the file that scales is called {}", name.value)
                    }
                    (Some(name), count) => {
                        format!("{count} deployments of the file are called {}", name.value)
                    }
                };
                let hint = format!("set deployment: to one of {}", names.join(", "));
                Problem::error(place, message).hint(hint)
            };
            reader.problems().push(problem);
            None
        }
    }
}

fn read_autoscaling(reader: &mut Reader, node: &Node, path: &str) -> Option<AutoscalingConfig> {
    let mut fields = reader.fields(node, path)?;
    let mut config: AutoscalingConfig = Read::read(&empty(&node.place), reader.problems())?;
    config.initial_replicas = value(&mut fields, reader, "initial_replicas");
    config.max_replicas = value(&mut fields, reader, "max_replicas");
    config.upscale_smoothing_factor = value(&mut fields, reader, "upscale_smoothing_factor");
    config.downscale_smoothing_factor = value(&mut fields, reader, "downscale_smoothing_factor");
    config.upscaling_factor = value(&mut fields, reader, "upscaling_factor");
    config.downscaling_factor = value(&mut fields, reader, "downscaling_factor");
    config.downscale_to_zero_delay_s = value(&mut fields, reader, "downscale_to_zero_delay_s");
    set(&mut config.min_replicas, &mut fields, reader, "min_replicas");
    set(&mut config.target_ongoing_requests, &mut fields, reader, "target_ongoing_requests");
    set(&mut config.metrics_interval_s, &mut fields, reader, "metrics_interval_s");
    set(&mut config.look_back_period_s, &mut fields, reader, "look_back_period_s");
    set(&mut config.smoothing_factor, &mut fields, reader, "smoothing_factor");
    set(&mut config.upscale_delay_s, &mut fields, reader, "upscale_delay_s");
    set(&mut config.downscale_delay_s, &mut fields, reader, "downscale_delay_s");
    set(&mut config.aggregation_function, &mut fields, reader, "aggregation_function");
    fields.finish(reader);
    Some(config)
}

/// Sets `place` to what is written, if it is.
fn set<T: Read>(place: &mut T, fields: &mut Fields<'_>, reader: &mut Reader, key: &'static str) {
    if let Some(written) = value(fields, reader, key) {
        *place = written;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str, deployment: Option<&str>) -> Result<RaySettings, String> {
        let node = parse("serve.yaml", text).unwrap();
        let place = Place::nowhere();
        let deployment = deployment.map(|name| At { value: name.to_owned(), place: place.clone() });
        let read = read(&node, deployment.as_ref(), &[], &place);
        read.map(|(settings, _)| settings).map_err(|problems| problems.to_string())
    }

    const TWO: &str = "
applications:
- name: app
  import_path: app:app
  deployments:
  - {name: front, num_replicas: 2}
  - name: llm
    max_ongoing_requests: 64
    autoscaling_config: {min_replicas: 2, max_replicas: 20, target_ongoing_requests: 16}
  - {name: embed, num_replicas: auto}
target_capacity: 50
";

    #[test]
    fn the_deployment_that_is_meant_is_read_with_the_capacity() {
        let llm = settings(TWO, Some("llm")).unwrap();
        assert_eq!((llm.lower, llm.upper), (1, 10));
        assert!((llm.target_ongoing_requests - 16.0).abs() < f64::EPSILON);
        let embed = settings(TWO, Some("embed")).unwrap();
        assert_eq!((embed.lower, embed.upper), (1, 50), "auto goes to 100");
    }

    #[test]
    fn a_choice_is_asked_for_and_a_custom_policy_refused() {
        let error = settings(TWO, None).unwrap_err();
        assert!(error.contains("one of llm, embed"), "{error}");
        let custom = "applications: [{deployments: [{name: d, autoscaling_config: {policy: {policy_function: 'a:b'}}}]}]";
        assert!(settings(custom, None).unwrap_err().contains("policy is not modelled"));
    }

    #[test]
    fn a_config_is_found_among_others_and_a_fixed_number_of_replicas_is_refused_beside_it() {
        let parse = |text: &str| scaletwin_core::input::parse_documents("serve.yaml", text).unwrap();
        let place = Place::nowhere();
        let beside = parse("kind: ConfigMap\n---\nkind: RayService\nspec: {}\n");
        assert!(config_among(&beside, &place).unwrap().get("spec").is_some());
        let listed = parse("kind: List\nitems: [{kind: ConfigMap}, {applications: []}]\n");
        assert!(config_among(&listed, &place).unwrap().get("applications").is_some());
        assert!(config_among(&parse("applications: []\n---\napplications: []\n"), &place).is_err());
        let both = "applications: [{deployments: [{name: d, num_replicas: 3, autoscaling_config: {max_replicas: 4}}]}]";
        assert!(settings(both, None).unwrap_err().contains("exclude each other"));
    }

    #[test]
    fn a_ray_service_holds_its_config_as_a_text() {
        let text = "
kind: RayService
spec:
  serveConfigV2: |
    applications:
    - deployments:
      - {name: d, autoscaling_config: {max_replicas: 3, min_replicas: 4}}
";
        assert!(settings(text, None).unwrap_err().contains("max_replicas is 3, and min_replicas 4"));
    }
}
