//! How much a cluster may have: `--max-nodes-total`, `--cores-total`, `--memory-total`, `--gpu-total`.

use scaletwin_core::control::{NodeView, Resources};
use serde::Serialize;

/// The fewest and the most of something, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// The fewest.
    pub min: i64,
    /// The most.
    pub max: i64,
}

/// How much a cluster may have, in the units of [`Resources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// The most nodes; 0: any number.
    pub max_nodes_total: u32,
    /// Thousandths of a core.
    pub cpu_milli: Bounds,
    /// Bytes.
    pub memory_bytes: Bounds,
    /// Thousandths of a GPU.
    pub gpu_milli: Bounds,
}

impl Limits {
    /// How many nodes more with so much each a cluster may have that has `total`.
    #[must_use]
    pub fn more(&self, total: &Resources, node: &Resources) -> u32 {
        let more = |bounds: &Bounds, total: i64, each: i64| {
            if each > 0 { bounds.max.saturating_sub(total).max(0) / each } else { i64::MAX }
        };
        let fewest = more(&self.cpu_milli, total.cpu_milli, node.cpu_milli)
            .min(more(&self.memory_bytes, total.memory_bytes, node.memory_bytes))
            .min(more(&self.gpu_milli, total.gpu_milli, node.gpu_milli));
        u32::try_from(fewest).unwrap_or(u32::MAX)
    }

    /// How many nodes more a cluster of so many may have.
    #[must_use]
    pub fn more_nodes(&self, nodes: usize) -> u32 {
        if self.max_nodes_total == 0 {
            return u32::MAX;
        }
        self.max_nodes_total.saturating_sub(u32::try_from(nodes).unwrap_or(u32::MAX))
    }

    /// Whether a cluster with `total` may lose so much.
    #[must_use]
    pub fn may_lose(&self, total: &Resources, node: &Resources) -> bool {
        let left = total.minus(node);
        let enough = |bounds: &Bounds, left: i64, lost: i64| lost == 0 || left >= bounds.min;
        enough(&self.cpu_milli, left.cpu_milli, node.cpu_milli)
            && enough(&self.memory_bytes, left.memory_bytes, node.memory_bytes)
            && enough(&self.gpu_milli, left.gpu_milli, node.gpu_milli)
    }
}

/// What all nodes have together.
pub fn total<'a>(nodes: impl IntoIterator<Item = &'a NodeView>) -> Resources {
    nodes.into_iter().fold(Resources::default(), |sum, node| sum.plus(&node.capacity))
}
