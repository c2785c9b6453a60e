//! Models.

use crate::figure::{Figure, load};

scaletwin_core::keys! {
    /// A dense decoder model, as far as the cost of a step depends on it.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Model {
        /// Its name in scenarios.
        pub name: String,
        /// The name that a server shows for it.
        pub served_name: String,
        /// Parameters, 10^9.
        pub parameters_billion: Figure,
        /// Layers.
        pub layers: Figure,
        /// The width of what goes from layer to layer.
        pub hidden_size: Figure,
        /// Heads of attention.
        pub attention_heads: Figure,
        /// Heads of keys and values.
        pub kv_heads: Figure,
        /// The width of a head.
        pub head_dim: Figure,
        /// The longest sequence that it was made for, tokens.
        pub max_position_embeddings: Figure,
    }
}

impl Model {
    /// Bytes of keys and values of one token, with so many bytes an element.
    #[must_use]
    pub fn kv_bytes_per_token(&self, bytes_per_element: f64) -> f64 {
        2.0 * self.layers.get() * self.kv_heads.get() * self.head_dim.get() * bytes_per_element
    }

    /// Operations of attention of one token to one other: two products of a multiply and an add, in every head.
    #[must_use]
    pub fn attention_flops(&self) -> f64 {
        4.0 * self.layers.get() * self.attention_heads.get() * self.head_dim.get()
    }
}

/// The files of the folder `models/`.
const FILES: [(&str, &str); 5] = [
    ("llama-3.1-8b", include_str!("../models/llama-3.1-8b.yaml")),
    ("llama-3.1-70b", include_str!("../models/llama-3.1-70b.yaml")),
    ("llama-2-70b", include_str!("../models/llama-2-70b.yaml")),
    ("mistral-7b", include_str!("../models/mistral-7b.yaml")),
    ("qwen3-32b", include_str!("../models/qwen3-32b.yaml")),
];

/// The names of all models.
#[must_use]
pub fn models() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

/// The model of this name.
///
/// ```
/// let llama = scaletwin_hardware::model("llama-3.1-8b").unwrap();
/// assert_eq!(llama.kv_bytes_per_token(2.0), 131_072.0);
/// ```
#[must_use]
pub fn model(name: &str) -> Option<Model> {
    let (name, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(load(&format!("models/{name}.yaml"), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_loads_under_its_name() {
        assert!(models().into_iter().all(|name| model(name).unwrap().name == name));
    }
}
