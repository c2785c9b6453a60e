//! The profile of a model by the name that a server is given.

use scaletwin_hardware::{Model, model, models};

use super::page::{Origin, guessed};

/// The profile that stands for a model.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    /// The profile.
    pub model: Model,
    /// Whether it is the model itself rather than one of about its size.
    pub exact: bool,
    /// Parameters of the model, 10^9, if its name says so.
    pub billions: f64,
}

/// The profile of the model that is named so.
pub(super) fn profile(named: &str) -> Profile {
    let all: Vec<Model> = models().into_iter().filter_map(model).collect();
    let wanted = last(named);
    let itself = all.iter().find(|known| wanted.contains(&last(&known.served_name)) || wanted == known.name);
    if let Some(found) = itself {
        let billions = found.parameters_billion.get();
        return Profile { model: found.clone(), exact: true, billions };
    }
    let size = billions(&wanted).unwrap_or(8.0);
    let distance = |known: &Model| libm::fabs(libm::log(known.parameters_billion.get() / size));
    let nearest = all.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    Profile { model: nearest.expect("there are profiles"), exact: false, billions: size }
}

impl Profile {
    /// Where it is from, if the name is.
    pub(super) fn origin(&self, named: &str, read: Option<Origin>) -> Option<Origin> {
        match self.exact {
            true => read,
            false => {
                guessed(format!("there is no profile of {named}; this is the one nearest in size; set it"))
            }
        }
    }
}

/// The name without its owner, in small letters.
fn last(name: &str) -> String {
    let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    name.trim_end_matches("-hf").trim_end_matches("-v0.3").to_owned()
}

/// Parameters, 10^9, as names tell them: `7b`, `0.5b`, `8x7b`.
fn billions(name: &str) -> Option<f64> {
    name.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).find_map(|word| {
        let digits = word.strip_suffix('b')?;
        let size: f64 = digits.split('x').map(|part| part.parse::<f64>().ok()).product::<Option<f64>>()?;
        (size.is_finite() && size > 0.0).then_some(size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_by_their_names_and_others_by_their_size() {
        for (named, expected, exact) in [
            ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b", true),
            ("meta-llama/Meta-Llama-3.1-70B-Instruct", "llama-3.1-70b", true),
            ("/models/Qwen3-32B-FP8", "qwen3-32b", true),
            ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b", true),
            ("mistralai/Mixtral-8x7B-v0.1", "llama-2-70b", false),
            ("Qwen/Qwen2.5-0.5B", "mistral-7b", false),
            ("", "llama-3.1-8b", false),
        ] {
            let found = profile(named);
            assert_eq!((found.model.name.as_str(), found.exact), (expected, exact), "{named}");
        }
    }
}
