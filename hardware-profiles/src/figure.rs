//! Figures with their basis.

use scaletwin_core::input::{NonNegative, Problems, Read, parse};

scaletwin_core::names! {
    /// How a figure is known.
    pub enum Basis {
        /// We measured it.
        Measured = "measured",
        /// Its maker says so.
        Datasheet = "datasheet",
        /// Somebody else has published it.
        Published = "published",
        /// It is a guess with a reason.
        Assumed = "assumed",
    }
}

scaletwin_core::keys! {
    /// A figure with its basis. The unit ends the name of its key.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Figure {
        /// The value.
        pub value: NonNegative,
        /// How it is known.
        pub basis: Basis,
        /// Where it comes from, or why it is assumed.
        pub source: String,
    }
}

impl Figure {
    /// The value.
    #[must_use]
    pub fn get(&self) -> f64 {
        self.value.0
    }

    /// So many times the figure, known as it is.
    #[must_use]
    pub fn times(self, factor: f64) -> Figure {
        Figure { value: NonNegative(self.value.0 * factor), ..self }
    }
}

/// Reads a file of this crate.
///
/// # Panics
/// When it is wrong: the tests load them all.
pub(crate) fn load<T: Read>(name: &str, text: &str) -> T {
    let mut problems = Problems::default();
    let value = parse(name, text).ok().and_then(|node| T::read(&node, &mut problems));
    match problems.none_or(value) {
        Ok(value) => value,
        Err(problems) => panic!("{name} is part of this program and wrong: {problems}"),
    }
}
