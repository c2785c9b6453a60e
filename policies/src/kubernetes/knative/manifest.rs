//! Manifests of Knative: a Service, Configuration or Revision of `serving.knative.dev/v1`, or the PodAutoscaler made of
//! one.
//!
//! The values of annotations are texts, read here as Go reads them.

use scaletwin_core::input::{At, Node, Place, Problem, Problems, Read, Value};
use scaletwin_core::units::Span;

use super::buckets::Aggregation;
use super::spec::{Annotations, Metric, Revision};
use crate::kubernetes::manifest::{FieldCoverage, Fields, Reader, documents, value};

/// The kinds that hold a revision, each with the group of its `apiVersion`.
const KINDS: [(&str, &str); 4] = [
    ("Service", "serving.knative.dev/"),
    ("Configuration", "serving.knative.dev/"),
    ("Revision", "serving.knative.dev/"),
    ("PodAutoscaler", "autoscaling.internal.knative.dev/"),
];

/// The domain of the annotations.
pub(in crate::kubernetes) const DOMAIN: &str = "autoscaling.knative.dev/";

/// A revision as a manifest gives it.
#[derive(Debug, Clone)]
pub struct ManifestRevision {
    /// `metadata.name`.
    pub name: String,
    /// The revision.
    pub revision: Revision,
}

/// The one document among `nodes` that holds a revision.
///
/// # Errors
/// When there is none, or more than one.
pub fn find<'a>(nodes: &'a [Node], place: &Place) -> Result<&'a Node, Problem> {
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::as_text).unwrap_or("").to_owned();
    let holds = |node: &&Node| {
        let (kind, version) = (text(node, "kind"), text(node, "apiVersion"));
        KINDS.iter().any(|(known, group)| *known == kind && version.starts_with(group))
    };
    let found: Vec<&Node> = documents(nodes).into_iter().filter(holds).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Problem::error(place, "the manifest holds no revision of Knative")
            .hint("a Service, Configuration or Revision of serving.knative.dev/v1, or a PodAutoscaler")),
        [_, second, ..] => Err(Problem::error(&second.place, "a second revision; one is expected")
            .hint("put each into a file of its own")),
    }
}

/// Reads the manifest `node` of a revision.
///
/// # Errors
/// All problems: a field that is wrong, or neither modelled nor waived.
pub fn read(node: &Node, waived: &[String]) -> Result<(ManifestRevision, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let revision = read_object(&mut reader, node);
    reader.finish(revision, &node.place)
}

fn read_object(reader: &mut Reader, node: &Node) -> Option<ManifestRevision> {
    let mut fields = reader.fields(node, "")?;
    fields.honour(reader, "apiVersion");
    let kind = fields.honour(reader, "kind").and_then(Node::as_text).unwrap_or("").to_owned();
    let metadata = fields.honour(reader, "metadata");
    let spec = fields.honour(reader, "spec");
    fields.without_effect(reader, &["status"]);
    fields.finish(reader);
    let (Some(metadata), Some(spec)) = (metadata, spec) else {
        reader.problems().error(&node.place, "metadata or spec is missing");
        return None;
    };
    let name = metadata.get("name").and_then(Node::as_text).unwrap_or("").to_owned();
    let template = matches!(kind.as_str(), "Service" | "Configuration");
    let revision = if template {
        refuse_annotations(reader, metadata);
        read_template(reader, spec)
    } else {
        let annotations = read_metadata(reader, metadata, "metadata");
        read_spec(reader, spec, "spec").map(|spec| Revision { annotations, ..spec })
    };
    Some(ManifestRevision { name, revision: revision? })
}

/// Annotations of the autoscaler belong to the template; Knative refuses them elsewhere.
fn refuse_annotations(reader: &mut Reader, metadata: &Node) {
    let Some(Value::Map(entries)) = metadata.get("annotations").map(|node| &node.value) else { return };
    for entry in entries.iter().filter(|entry| entry.key.starts_with(DOMAIN)) {
        let message = format!("{} belongs to spec.template.metadata.annotations", entry.key);
        reader.problems().error(&entry.key_place, message);
    }
}

/// `spec` of a Service or Configuration.
fn read_template(reader: &mut Reader, spec: &Node) -> Option<Revision> {
    let mut fields = reader.fields(spec, "spec")?;
    let template = fields.honour(reader, "template");
    let parts = spec.get("traffic").map(|traffic| &traffic.value);
    // Traffic to one revision alone is what is modelled.
    if !matches!(parts, Some(Value::List(parts)) if parts.len() > 1) {
        fields.without_effect(reader, &["traffic"]);
    }
    fields.finish(reader);
    let Some(template) = template else {
        reader.problems().error(&spec.place, "spec.template is missing");
        return None;
    };
    let mut fields = reader.fields(template, "spec.template")?;
    let metadata = fields.honour(reader, "metadata");
    let spec = fields.honour(reader, "spec");
    fields.finish(reader);
    let annotations = metadata.map_or_else(Annotations::default, |metadata| {
        read_metadata(reader, metadata, "spec.template.metadata")
    });
    let spec = spec.map_or(Some(Revision::default()), |spec| read_spec(reader, spec, "spec.template.spec"));
    spec.map(|spec| Revision { annotations, ..spec })
}

/// The `spec` of a revision: nothing but its concurrency and whether it can be reached matters here.
fn read_spec(reader: &mut Reader, spec: &Node, path: &str) -> Option<Revision> {
    let mut fields = reader.fields(spec, path)?;
    let container_concurrency = value::<u32>(&mut fields, reader, "containerConcurrency").unwrap_or(0);
    let reachability = value::<String>(&mut fields, reader, "reachability");
    fields.without_effect_where(reader, |_| true);
    fields.finish(reader);
    let unreachable = reachability.as_deref() == Some("Unreachable");
    Some(Revision { annotations: Annotations::default(), container_concurrency, unreachable })
}

fn read_metadata(reader: &mut Reader, metadata: &Node, path: &str) -> Annotations {
    match metadata.get("annotations").filter(|node| !node.is_null()) {
        Some(node) => {
            let fields = reader.fields(node, &format!("{path}.annotations"));
            fields.map(|fields| read_annotations(reader, fields)).unwrap_or_default()
        }
        None => Annotations::default(),
    }
}

/// The annotations of the autoscaler among these.
pub(in crate::kubernetes) fn read_annotations(reader: &mut Reader, mut fields: Fields<'_>) -> Annotations {
    fields.without_effect_where(reader, |key| !key.starts_with(DOMAIN));
    let mut read = Annotated { fields, reader };
    read.class();
    let annotations = Annotations {
        metric: read.one("autoscaling.knative.dev/metric", Metric::read).map(|at| at.value),
        metric_aggregation_algorithm: read
            .either(
                "autoscaling.knative.dev/metric-aggregation-algorithm",
                "autoscaling.knative.dev/metricAggregationAlgorithm",
                Aggregation::read,
            )
            .map(|at| at.value),
        target: read.one("autoscaling.knative.dev/target", number),
        target_utilization_percentage: read.either(
            "autoscaling.knative.dev/target-utilization-percentage",
            "autoscaling.knative.dev/targetUtilizationPercentage",
            number,
        ),
        target_burst_capacity: read.either(
            "autoscaling.knative.dev/target-burst-capacity",
            "autoscaling.knative.dev/targetBurstCapacity",
            number,
        ),
        min_scale: read.either(
            "autoscaling.knative.dev/min-scale",
            "autoscaling.knative.dev/minScale",
            whole,
        ),
        max_scale: read.either(
            "autoscaling.knative.dev/max-scale",
            "autoscaling.knative.dev/maxScale",
            whole,
        ),
        initial_scale: read.either(
            "autoscaling.knative.dev/initial-scale",
            "autoscaling.knative.dev/initialScale",
            whole,
        ),
        activation_scale: read.either(
            "autoscaling.knative.dev/activation-scale",
            "autoscaling.knative.dev/activationScale",
            whole,
        ),
        scale_down_delay: read.either(
            "autoscaling.knative.dev/scale-down-delay",
            "autoscaling.knative.dev/scaleDownDelay",
            duration,
        ),
        window: read.one("autoscaling.knative.dev/window", duration),
        panic_window_percentage: read.either(
            "autoscaling.knative.dev/panic-window-percentage",
            "autoscaling.knative.dev/panicWindowPercentage",
            number,
        ),
        panic_threshold_percentage: read.either(
            "autoscaling.knative.dev/panic-threshold-percentage",
            "autoscaling.knative.dev/panicThresholdPercentage",
            number,
        ),
        scale_to_zero_pod_retention_period: read.either(
            "autoscaling.knative.dev/scale-to-zero-pod-retention-period",
            "autoscaling.knative.dev/scaleToZeroPodRetentionPeriod",
            duration,
        ),
    };
    read.fields.finish(read.reader);
    annotations
}

/// Annotations while they are being read.
struct Annotated<'a, 'b> {
    fields: Fields<'a>,
    reader: &'b mut Reader,
}

/// Reads the text of an annotation; `None` when a problem was pushed.
type ReadText<T> = fn(&Node, &mut Problems) -> Option<T>;

impl Annotated<'_, '_> {
    /// Only the class KPA is modelled here.
    fn class(&mut self) {
        let class = self.one("autoscaling.knative.dev/class", String::read);
        if let Some(class) = class.filter(|class| class.value != "kpa.autoscaling.knative.dev") {
            let message = format!("the class {:?} is not Knative's pod autoscaler", class.value);
            let problem = Problem::error(&class.place, message);
            self.reader.problems().push(problem.hint("for hpa.autoscaling.knative.dev use kind: hpa"));
        }
    }

    fn one<T>(&mut self, key: &'static str, read: ReadText<T>) -> Option<At<T>> {
        let node = self.fields.honour(self.reader, key)?;
        let value = read(node, self.reader.problems())?;
        Some(At { value, place: node.place.clone() })
    }

    /// An annotation that has an older name; the newer one counts.
    fn either<T>(&mut self, key: &'static str, older: &'static str, read: ReadText<T>) -> Option<At<T>> {
        let (new, old) = (self.one(key, read), self.one(older, read));
        new.or(old)
    }
}

/// The text of an annotation. YAML without quotes gives numbers, which Kubernetes would refuse; they are read all the same.
fn text(node: &Node) -> &str {
    node.as_text().unwrap_or_else(|| node.place.text())
}

fn wrong<T>(node: &Node, expected: &str, problems: &mut Problems) -> Option<T> {
    problems.error(&node.place, format!("expected {expected}, found {}", node.kind()));
    None
}

/// `strconv.ParseFloat`, without its hexadecimal numbers and infinities.
fn number(node: &Node, problems: &mut Problems) -> Option<f64> {
    match text(node).parse::<f64>() {
        Ok(value) if value.is_finite() => Some(value),
        _ => wrong(node, "a number", problems),
    }
}

/// `strconv.ParseInt` to 32 bits.
fn whole(node: &Node, problems: &mut Problems) -> Option<i32> {
    text(node).parse().ok().or_else(|| wrong(node, "a whole number", problems))
}

/// `time.ParseDuration`, of at least 0.
fn duration(node: &Node, problems: &mut Problems) -> Option<Span> {
    text(node).parse().ok().or_else(|| wrong(node, "a length of time such as 60s", problems))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::knative::spec::{ConfigSpec, KpaSettings, resolve};
    use crate::kubernetes::manifest::Coverage;
    use scaletwin_core::input::parse_documents;

    fn service(annotations: &str, spec: &str) -> String {
        format!(
            "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: llm}}
spec:
  template:
    metadata:
      annotations: {{{annotations}}}
    spec:
      {spec}
      containers: [{{image: vllm}}]
  traffic: [{{latestRevision: true, percent: 100}}]
"
        )
    }

    fn settings(text: &str, waived: &[String]) -> Result<(KpaSettings, FieldCoverage), String> {
        let nodes = parse_documents("service.yaml", text).unwrap();
        let node = find(&nodes, &Place::nowhere()).map_err(|problem| problem.message)?;
        let (found, fields) = read(node, waived).map_err(|problems| problems.to_string())?;
        assert_eq!(found.name, "llm");
        let mut problems = Problems::default();
        let place = Place::nowhere();
        match resolve(&found.revision, &ConfigSpec::default(), &place, &mut problems) {
            Some(settings) => Ok((settings, fields)),
            None => Err(problems.to_string()),
        }
    }

    fn targets(annotations: &str, spec: &str) -> (f64, f64) {
        let (settings, _) = settings(&service(annotations, spec), &[]).unwrap();
        (settings.scaler.target_value, settings.scaler.total_value)
    }

    #[test]
    fn targets_come_from_annotation_limit_and_config_in_this_order() {
        assert_eq!(targets("", ""), (70.0, 100.0));
        assert_eq!(targets("", "containerConcurrency: 10"), (7.0, 10.0));
        let forty = "autoscaling.knative.dev/target: '40'";
        assert_eq!(targets(forty, ""), (28.0, 40.0));
        assert_eq!(targets(forty, "containerConcurrency: 10"), (7.0, 10.0));
        let rps = "autoscaling.knative.dev/metric: rps";
        assert_eq!(targets(rps, "containerConcurrency: 10"), (140.0, 200.0));
        let all = "autoscaling.knative.dev/targetUtilizationPercentage: '100'";
        assert_eq!(targets(all, "containerConcurrency: 10"), (10.0, 10.0));
    }

    #[test]
    fn windows_are_whole_seconds() {
        let window = "autoscaling.knative.dev/window: 25s";
        let (settings, _) = settings(&service(window, ""), &[]).unwrap();
        assert_eq!(settings.scaler.stable_window, Span::from_secs(25));
        assert_eq!(settings.scaler.panic_window, Span::from_secs(3), "2.5 s, rounded half away from zero");
    }

    #[test]
    fn what_is_out_of_range_or_not_modelled_is_named() {
        for (annotation, want) in [
            ("autoscaling.knative.dev/window: 5s", "6s to 1h"),
            ("autoscaling.knative.dev/panic-threshold-percentage: '100'", "110 to 1000"),
            ("autoscaling.knative.dev/min-scale: x", "a whole number"),
            ("autoscaling.knative.dev/min-scale: '3', autoscaling.knative.dev/max-scale: '2'", "fewer"),
            ("autoscaling.knative.dev/class: hpa.autoscaling.knative.dev", "kind: hpa"),
            ("autoscaling.knative.dev/new-thing: '1'", "new-thing is not modelled"),
        ] {
            let error = settings(&service(annotation, ""), &[]).unwrap_err();
            assert!(error.contains(want), "{annotation}: {error}");
        }
    }

    #[test]
    fn a_waived_field_is_noted_and_others_have_no_effect() {
        let path = "spec.template.metadata.annotations.autoscaling.knative.dev/new-thing".to_owned();
        let annotations = "autoscaling.knative.dev/new-thing: '1', example.com/team: a";
        let (_, fields) = settings(&service(annotations, ""), std::slice::from_ref(&path)).unwrap();
        assert!(fields.fields.contains(&(path, Coverage::Waived)));
        let without = |path: &str| fields.fields.contains(&(path.to_owned(), Coverage::WithoutEffect));
        assert!(without("spec.template.metadata.annotations.example.com/team"));
        assert!(without("spec.template.spec.containers"));
    }

    #[test]
    fn annotations_of_the_service_itself_are_refused_as_knative_does() {
        let text = service("", "").replace(
            "metadata: {name: llm}",
            "metadata: {name: llm, annotations: {autoscaling.knative.dev/min-scale: '1'}}",
        );
        assert!(settings(&text, &[]).unwrap_err().contains("belongs to spec.template.metadata"));
    }
}
