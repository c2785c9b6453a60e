//! Numbers of things as people write them.

/// `1 node`, `2 nodes`: a number with a noun whose plural ends in s.
///
/// ```
/// use scaletwin_core::units::number_of;
///
/// assert_eq!([0, 1, 2].map(|count| number_of(count, "node")), ["0 nodes", "1 node", "2 nodes"]);
/// ```
#[must_use]
pub fn number_of(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
