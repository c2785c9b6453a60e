//! Labels, and selectors of them.

use std::collections::BTreeMap;

use scaletwin_core::input::{Node, Value};

use super::objects::{elements, scalar};

/// Labels by their keys.
pub(super) type Labels = BTreeMap<String, String>;

/// The labels of a map; none of anything else.
pub(super) fn labels(node: Option<&Node>) -> Labels {
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => {
            entries.iter().filter_map(|entry| Some((entry.key.clone(), scalar(&entry.node)?))).collect()
        }
        _ => Labels::new(),
    }
}

/// Whether a `LabelSelector` selects what has these labels. One that is not there selects nothing, an empty one everything.
pub(super) fn selects(selector: Option<&Node>, of: &Labels) -> bool {
    let Some(selector) = selector.filter(|node| matches!(node.value, Value::Map(_))) else { return false };
    let same = |(key, value): (&String, &String)| of.get(key) == Some(value);
    labels(selector.get("matchLabels")).iter().all(same)
        && elements(selector.get("matchExpressions")).iter().all(|expression| holds(expression, of))
}

/// Whether an expression holds of labels. One that cannot be read does not.
fn holds(expression: &Node, of: &Labels) -> bool {
    let text = |key| expression.get(key).and_then(scalar);
    let (Some(key), Some(operator)) = (text("key"), text("operator")) else { return false };
    let values: Vec<String> = elements(expression.get("values")).iter().filter_map(scalar).collect();
    let found = of.get(&key);
    match operator.as_str() {
        "In" => found.is_some_and(|value| values.contains(value)),
        "NotIn" => found.is_none_or(|value| !values.contains(value)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}

/// The labels that expressions ask for, if each asks for one value of one label.
pub(super) fn single_values(expressions: &[Node]) -> Option<Vec<(String, String)>> {
    let single = |expression: &Node| {
        let text = |key| expression.get(key).and_then(scalar);
        match (text("operator")?.as_str(), elements(expression.get("values"))) {
            ("In", [value]) => Some((text("key")?, scalar(value)?)),
            _ => None,
        }
    };
    expressions.iter().map(single).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::input::parse;

    #[test]
    fn a_selector_selects_by_all_its_parts() {
        let of = labels(Some(&parse("labels", "{app: chat, tier: gold}").expect("it parses")));
        let selects = |text: &str| selects(Some(&parse("selector", text).expect("it parses")), &of);
        assert!(selects("{}"));
        assert!(selects("{matchLabels: {app: chat}}"));
        assert!(!selects("{matchLabels: {app: code}}"));
        for (operator, values, holds) in [
            ("In", "[gold, silver]", true),
            ("In", "[silver]", false),
            ("NotIn", "[silver]", true),
            ("Exists", "[]", true),
            ("DoesNotExist", "[]", false),
            ("Gt", "[1]", false),
        ] {
            let expression = format!("{{key: tier, operator: {operator}, values: {values}}}");
            let text = format!("{{matchLabels: {{app: chat}}, matchExpressions: [{expression}]}}");
            assert_eq!(selects(&text), holds, "{text}");
        }
        assert!(!super::selects(None, &of));
    }
}
